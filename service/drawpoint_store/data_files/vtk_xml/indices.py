"""Arrays of indices in a VTK XML file: read as int64, and refused where they lead nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample

if TYPE_CHECKING:
    from drawpoint_store.data_files.vtk_xml.structure import DataArray

    Integers = np.ndarray[Any, np.dtype[np.int64]]


def read_integers(array: DataArray, first: int, stop: int) -> Integers:
    """Return the values `first` to `stop`; those beyond int64 are negative, which no index is."""
    if array.dtype.kind not in "iu":
        raise InvalidSample(f"{array.where} is damaged: {array.dtype} values where indices belong.")
    if stop > array.n_values:
        raise InvalidSample(f"{array.where} is damaged: it has {array.n_values:,} values where {stop:,} are needed.")
    return array.read(first, stop).astype(np.int64, copy=False)


def read_ends(array: DataArray, first: int, stop: int, of: DataArray) -> Integers:
    """Return where the rows `first` to `stop` begin in the values of another array, and where the last one ends.

    A file holds where each row ends, so that row 0 begins at 0.
    """
    ends = read_integers(array, max(first - 1, 0), stop)
    if not first:
        ends = np.concatenate((np.zeros(1, np.int64), ends))
    if (np.diff(ends) < 0).any() or ends[0] < 0 or ends[-1] > of.n_values:
        raise InvalidSample(
            f"{array.where} is damaged: in {first:,} to {stop:,} its values do not ascend, or go beyond the "
            f"{of.n_values:,} of array {of.name!r}."
        )
    return ends


def require_points(array: DataArray, points: Integers, n_points: int, first: int, stop: int) -> None:
    """Refuse point numbers of the cells `first` to `stop` that are not among `n_points`."""
    if points.size and (points.min() < 0 or points.max() >= n_points):
        raise InvalidSample(
            f"{array.where} is damaged: cells {first:,} to {stop:,} name points from {points.min():,} to "
            f"{points.max():,} of a piece with {n_points:,}."
        )
