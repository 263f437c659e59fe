"""What the cast of a field's values to the dtype that they are stored in rounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from drawpoint.format.precision import SHIFT, FieldPrecision

_BLOCK_ROWS = 2**15
"""Rows that are compared together: what is done to them stays in the CPU's cache."""

_BINS = 1024
_RESOLVED = 16
"""Errors below the dtype's epsilon divided by this are counted together: a stored value has about that many at most."""


def measure_precision(rows: np.ndarray[Any, Any], stored: np.ndarray[Any, Any]) -> FieldPrecision | None:
    """Return the relative errors of `stored`, the cast of `rows` (N, dim); None if no cast rounds."""
    if np.can_cast(rows.dtype, stored.dtype, "safe"):
        return None
    wide: Any = np.float32 if rows.dtype.itemsize <= 4 and rows.dtype.kind == "f" else np.float64  # noqa: PLR2004  bytes
    counts = np.zeros(_BINS, np.int64)
    n_zeros = n_stored_zeros = 0
    largest = 0.0
    for first in range(0, len(rows), _BLOCK_ROWS):
        values = rows[first : first + _BLOCK_ROWS].astype(wide, copy=False)
        errors: np.ndarray[Any, Any] = stored[first : first + _BLOCK_ROWS].astype(wide)
        zeros = errors == 0
        n_stored_zeros += int(np.count_nonzero(zeros))  # of bools, which are counted faster than numbers
        sizes = np.abs(values)
        n_zeros += int(np.count_nonzero(sizes == 0))
        with np.errstate(invalid="ignore"):
            errors -= values
            np.abs(errors, out=errors)
            errors /= sizes
        np.copyto(errors, 0, where=zeros)  # those are counted apart
        narrow = errors.astype(np.float32, order="C", copy=False).reshape(-1)
        np.fmin(narrow, 1, out=narrow)  # what is not finite counts as lost
        largest = max(largest, float(narrow.max()))
        counts += np.bincount(narrow.view(np.int32) >> SHIFT, minlength=_BINS)
    counts[0] -= n_stored_zeros
    smallest = np.float32(np.finfo(stored.dtype).eps / _RESOLVED)
    floor = int(smallest.view(np.int32)) >> SHIFT
    counts[floor] += counts[1:floor].sum()
    counts[1:floor] = 0
    bins = {int(key): int(counts[key]) for key in np.flatnonzero(counts)}
    return FieldPrecision(n_values=rows.size - n_zeros, n_zeroed=n_stored_zeros - n_zeros, largest=largest, bins=bins)
