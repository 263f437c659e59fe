"""Moments of rows in float64: measured of a block of rows, and of two blocks combined.

Blocks of rows are measured by the corrected two-pass rule and combined by the pairwise update, both of Chan, Golub and
LeVeque, "Algorithms for computing the sample variance" (The American Statistician 37, 1983). float16 holds only 65,536
values, so rows of float16 are counted instead, and measured by their counts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16)
_BLOCK_ROWS = 8_192  # so that the float64 copies of a block stay in a core's cache

Floats = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]


class Moments(NamedTuple):
    """Moments of `rows` > 0 rows in float64: `low` and `high` are (dim,), `mean` and `squares` (2, dim).

    `squares` are sums of squared deviations from `mean`. Index 0 is of the values, 1 of sign(x) * log1p(abs(x)).
    """

    rows: int
    mean: Floats
    squares: Floats
    low: Floats
    high: Floats


def measure_values(values: np.ndarray[Any, Any]) -> Moments | None:
    """Return the moments of (N, dim) real numbers, None for no rows.

    Raises ValueError for NaN or inf, and for values whose squares leave the float64 range.
    """
    total = None
    for first in range(0, len(values), _BLOCK_ROWS):
        with np.errstate(over="ignore", invalid="ignore"):
            block = _with_logs(values[first : first + _BLOCK_ROWS].T)
            rows = block.shape[-1]
            # Adding zero turns -0.0 into 0.0, so that the order of the rows does not show.
            low, high = block[0].min(axis=-1) + 0.0, block[0].max(axis=-1) + 0.0
            part = _check_finite(Moments(rows, *_center(block, rows), low, high))
        total = part if total is None else combine(total, part)
    return total


def count_halves(values: np.ndarray[Any, Any]) -> Counts:
    """Return how often each float16 bit pattern occurs in each component of (N, dim): (dim, 65536) int64.

    Raises ValueError for NaN or inf.
    """
    columns = values.view(np.uint16).T
    counts = np.stack([np.bincount(column, minlength=len(_HALVES)) for column in columns])
    if counts[:, ~np.isfinite(_HALVES)].any():
        raise ValueError("they hold NaN or inf")
    return counts


def measure_counts(counts: Counts) -> Moments | None:
    """Return the moments of the float16 values that `count_halves` counted, None for no rows."""
    rows = int(counts[0].sum())
    if not rows:
        return None
    components = []
    for column in counts:
        found = np.flatnonzero(column)
        values = _with_logs(_HALVES[found])
        components.append((*_center(values, rows, column[found]), values[0].min(), values[0].max()))
    return Moments(rows, *(np.stack(each, axis=-1) + 0.0 for each in zip(*components, strict=True)))


def _with_logs(values: np.ndarray[Any, Any]) -> Floats:
    """Return float64 of shape (2, *values.shape): the values, and sign(x) * log1p(abs(x)) of them."""
    both = np.empty((2, *values.shape))
    both[0] = values
    np.copysign(np.log1p(np.abs(both[0])), both[0], out=both[1])
    return both


def _center(values: Floats, rows: int, times: Counts | None = None) -> tuple[Floats, Floats]:
    """Return mean and sum of squared deviations along the last axis, each value counted `times` times."""
    guess = (values if times is None else values * times).sum(axis=-1) / rows
    deviations = values - guess[..., None]
    weighted = deviations if times is None else deviations * times
    # The deviations would sum to 0 if the guess had no rounding error; what they sum to corrects it.
    residue = weighted.sum(axis=-1)
    squares = (weighted * deviations).sum(axis=-1) - residue * (residue / rows)
    return guess + residue / rows, np.maximum(squares, 0.0)


def combine(first: Moments, second: Moments) -> Moments:
    """Return the moments of the rows of both."""
    rows = first.rows + second.rows
    share, weight = second.rows / rows, first.rows * (second.rows / rows)
    with np.errstate(over="ignore", invalid="ignore"):
        delta = second.mean - first.mean
        mean = first.mean + delta * share
        squares = first.squares + second.squares + delta * delta * weight
    low, high = np.minimum(first.low, second.low), np.maximum(first.high, second.high)
    return _check_finite(Moments(rows, mean, squares, low, high))


def _check_finite(moments: Moments) -> Moments:
    if not (np.isfinite(moments.low).all() and np.isfinite(moments.high).all()):
        raise ValueError("they hold NaN or inf")
    if not (np.isfinite(moments.mean).all() and np.isfinite(moments.squares).all()):
        raise ValueError("they are so large that their squares leave the float64 range")
    return moments
