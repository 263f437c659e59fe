"""A sample's field arrays: checked against the layout, and cast to the dtype that they are stored in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from drawpoint.errors import InvalidSample, ValueOverflow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import ArrayLike

    from drawpoint.format.manifest import ArrayLayout, DomainLayout


class NonFinite(NamedTuple):
    """How many NaN and infinities there are among `values` numbers, and the first row that has one."""

    nans: int = 0
    infinities: int = 0
    values: int = 0
    first_row: int | None = None

    @classmethod
    def among(cls, rows: np.ndarray[Any, Any]) -> NonFinite:
        """Count those of an array (N, dim)."""
        finite = np.isfinite(rows)
        if finite.all():
            return cls(values=rows.size)
        nans = int(np.isnan(rows).sum())
        infinities = rows.size - int(finite.sum()) - nans
        return cls(nans, infinities, rows.size, int(np.argmin(finite.all(axis=1))))

    def followed_by(self, rows: NonFinite, first: int) -> NonFinite:
        """Return the count of these and of the rows that follow, from row `first` on."""
        later = None if rows.first_row is None else first + rows.first_row
        return NonFinite(
            self.nans + rows.nans,
            self.infinities + rows.infinities,
            self.values + rows.values,
            later if self.first_row is None else self.first_row,
        )

    def __str__(self) -> str:
        kinds = ((self.nans, "NaN"), (self.infinities, "infinite"))
        counts = " and ".join(f"{count} {what}" for count, what in kinds if count)
        return f"{counts} of {self.values} values, the first in row {self.first_row}"


def as_rows(sample_id: str, layout: ArrayLayout, values: ArrayLike) -> np.ndarray[Any, Any]:
    """Return one field's values as (N, dim); raises InvalidSample for other shapes and for values that are not real."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors that need a gradient
        raise InvalidSample(
            f"sample {sample_id!r}: {layout.field} is no array: {str(error).rstrip('.')}; give one array of numbers, a "
            "tensor as tensor.detach().float().",
            sample=sample_id,
            field=layout.field,
        ) from error
    allowed = f"(N, {layout.dim})" if layout.dim > 1 else "(N,) or (N, 1)"
    rows = array[:, None] if layout.dim == 1 and array.ndim == 1 else array
    if rows.ndim != 2 or rows.shape[1] != layout.dim:  # noqa: PLR2004  rows and components
        problem = f"must have shape {allowed}, has {array.shape}"
    elif np.ma.isMaskedArray(values):
        problem = "is masked, and a store has no place for a mask; fill it, or leave its points out"
    elif array.dtype.kind not in "fiu":
        problem = f"must hold real numbers, holds {array.dtype}"
    elif not len(array):
        problem = f"has no points (shape {array.shape}); leave the whole domain out instead"
    else:
        return rows
    raise InvalidSample(f"sample {sample_id!r}: {layout.field} {problem}.", sample=sample_id, field=layout.field)


def check_fields(sample_id: str, layouts: Mapping[str, DomainLayout], names: Collection[str]) -> dict[str, list[str]]:
    """Return the fields of each domain that a sample of these fields has, in the order in which they are to be read.

    The position comes first: its count is that of the domain. Raises InvalidSample for unknown fields, for domains that
    lack some of theirs, and where there are none.
    """
    known = [field for layout in layouts.values() for field in layout.arrays]
    unknown = sorted(set(names).difference(known))
    if unknown:
        raise InvalidSample(
            f"sample {sample_id!r}: {', '.join(unknown)} is not in the FileMap or `fields`, which have: "
            f"{', '.join(known)}.",
            sample=sample_id,
            field=unknown[0],
        )
    by_domain = {}
    for domain, layout in layouts.items():
        given = [field for field in layout.arrays if field in names]
        missing = [field for field in layout.arrays if field not in names]
        if given and missing:
            raise InvalidSample(
                f"sample {sample_id!r} has {', '.join(given)} but lacks {', '.join(missing)}; "
                f"give all fields of {domain!r} or none.",
                sample=sample_id,
                field=missing[0],
            )
        if given:
            by_domain[domain] = sorted(given, key=lambda field: field != layout.position)
    if not by_domain:
        raise InvalidSample(f"sample {sample_id!r} has no fields; give all fields of a domain.", sample=sample_id)
    return by_domain


def check_count(
    sample_id: str, domain: str, layout: DomainLayout, field: str, shape: tuple[int, ...], n_points: int
) -> None:
    """Raise InvalidSample unless a field of shape (N, dim) has as many rows as its domain's position."""
    if shape[0] != n_points:
        raise InvalidSample(
            f"sample {sample_id!r}: the fields of {domain!r} disagree on the number of points: {layout.position} "
            f"{(n_points, layout.arrays[layout.position].dim)}, {field} {shape}; give each the same points.",
            sample=sample_id,
            field=field,
        )


_BLOCK_ROWS = 2**15
"""Rows that are cast and looked at together: what is done to them stays in the CPU's cache."""

_NOISE = 0.05
"""The share of a field's values that may be stored as zero without a warning; all are counted."""


def wider_dtype(dtype: str) -> str:
    """Return the dtype to store a field in that loses too much as `dtype`."""
    return "float32" if dtype == "float16" else "float64"


class UnderflowWarning(UserWarning):
    """Values were too small for the dtype that they are stored in."""


class Underflow(NamedTuple):
    """How many numbers that are not zero are stored as zero, `lost` of `values` that are not zero."""

    lost: int
    values: int

    @property
    def matters(self) -> bool:
        """Whether more is lost than numerical noise, such as the component of a normal that should be zero."""
        return self.lost > _NOISE * self.values

    def explain(self, field: str, dtype: str) -> str:
        """Return the sentence that says how many values of a field are lost, and how to keep them."""
        wider = wider_dtype(dtype)
        return (
            f"{self.lost:,} of the {self.values:,} values of {field} that are not zero are too small for {dtype} and "
            f"are stored as zero; keep them with field_dtypes={{{field!r}: {wider!r}}} "
            f"(--field-dtype {field}={wider}), or scale the field"
        )


def cast(sample_id: str, field: str, rows: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """Return (N, dim) rows in the dtype they are stored in, little-endian.

    Beside the result, it takes the memory of a block of rows. Raises InvalidSample for NaN and infinities, with how
    many, and for values beyond the range of `dtype`.
    """
    target = np.dtype(dtype).newbyteorder("<")
    stored = rows if rows.dtype == target else np.empty(rows.shape, target)
    for block in _blocks(rows):
        if stored is not rows:
            with np.errstate(over="ignore"):
                stored[block] = rows[block]
        # Values that are not finite stay so in any dtype, so that the check of the cast array finds them too.
        if not np.isfinite(stored[block]).all():
            raise _refusal(sample_id, field, rows, dtype)
    return stored


def _blocks(rows: np.ndarray[Any, Any]) -> Iterator[slice]:
    return (slice(first, first + _BLOCK_ROWS) for first in range(0, len(rows), _BLOCK_ROWS))


def _refusal(sample_id: str, field: str, rows: np.ndarray[Any, Any], dtype: str) -> InvalidSample:
    """Return the error that says why rows cannot be stored as `dtype`."""
    found, peak = NonFinite(), 0.0
    for block in _blocks(rows):
        found = found.followed_by(NonFinite.among(rows[block]), block.start)
        peak = max(peak, float(np.abs(rows[block].astype(np.float64)).max()))
    if found.first_row is not None:
        return InvalidSample(
            f"sample {sample_id!r}: {field} holds {found}; leave these points out of the whole domain.",
            sample=sample_id,
            field=field,
        )
    wider = "float32" if dtype == "float16" and peak <= float(np.finfo(np.float32).max) else "float64"
    error = ValueOverflow(
        f"sample {sample_id!r} exceeds the {dtype} range: {field} peaks at {peak:.6g}, {dtype} ends at "
        f"{float(np.finfo(dtype).max):.6g}; store it wider, with field_dtypes={{{field!r}: {wider!r}}} "
        f"(--field-dtype {field}={wider}).",
        sample=sample_id,
        field=field,
    )
    error.wider = wider
    return error
