"""The cells of one section of a piece, read in blocks and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.data_file import CellBlock
from drawpoint_store.data_files.polydata_types import polydata_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drawpoint_store.data_files.vtk_xml.structure import DataArray, Section


def read_cells(name: str, section: Section, n_cells: int, n_points: int, cells: int, file: str) -> Iterator[CellBlock]:
    """Yield the `n_cells` cells of the section `name` in blocks of at most `cells`, numbered from 0.

    Raises InvalidSample for offsets that do not ascend or do not match the connectivity, and for points that are not
    among the `n_points` of the piece.
    """
    if not n_cells:
        return
    arrays = {array.name: array for array in section.arrays}
    needed = ("connectivity", "offsets", "types") if name == "Cells" else ("connectivity", "offsets")
    for array_name in needed:
        if array_name not in arrays:
            raise InvalidSample(f"{file} has {n_cells:,} cells in <{name}> without an array {array_name!r}.")
    connectivity, ends = arrays["connectivity"], arrays["offsets"]
    for array in needed[1:]:
        if arrays[array].n_values != n_cells:
            raise InvalidSample(f"{arrays[array].where} has {arrays[array].n_values:,} values for {n_cells:,} cells.")
    offset = 0
    for first in range(0, n_cells, cells):
        stop = min(first + cells, n_cells)
        offsets = np.concatenate(([offset], _integers(ends, first, stop)))
        if offsets[0] > offsets[1] or (np.diff(offsets) < 0).any() or offsets[-1] > connectivity.n_values:
            raise InvalidSample(
                f"{ends.where} of <{name}> is damaged: its values do not ascend, or go beyond the connectivity's "
                f"{connectivity.n_values:,}, in cells {first:,} to {stop:,}."
            )
        points = _integers(connectivity, offset, int(offsets[-1]))
        if points.size and (points.min() < 0 or points.max() >= n_points):
            raise InvalidSample(
                f"{connectivity.where} of <{name}> is damaged: cells {first:,} to {stop:,} name points from "
                f"{points.min():,} to {points.max():,} of a piece with {n_points:,}."
            )
        sizes = np.diff(offsets)
        types = _types(arrays["types"], first, stop) if name == "Cells" else polydata_types(name, sizes)
        yield CellBlock(first, offsets - offset, points, types)
        offset = int(offsets[-1])
    if offset != connectivity.n_values:
        raise InvalidSample(f"{connectivity.where} of <{name}> has {connectivity.n_values:,} values for {offset:,}.")


def _integers(array: DataArray, first: int, stop: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    if array.dtype.kind not in "iu":
        raise InvalidSample(f"{array.where} is damaged: {array.dtype} values where indices belong.")
    # Values beyond int64 become negative, which no index is.
    return array.read(first, stop).astype(np.int64, copy=False)


def _types(array: DataArray, first: int, stop: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    types = _integers(array, first, stop)
    narrow = types.astype(np.uint8)
    if (narrow != types).any():
        raise InvalidSample(f"{array.where} is damaged: cells {first:,} to {stop:,} have types that VTK does not have.")
    return narrow
