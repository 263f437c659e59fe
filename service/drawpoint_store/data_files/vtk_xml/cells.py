"""The cells of one section of a piece, read in blocks and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.cell_shapes import POLYHEDRON
from drawpoint_store.data_files.data_file import CellBlock
from drawpoint_store.data_files.polydata_types import polydata_types
from drawpoint_store.data_files.vtk_xml.indices import read_ends, read_integers, require_points
from drawpoint_store.data_files.vtk_xml.polyhedra import FaceReader, face_reader

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
    for array_name in needed[1:]:
        array = arrays[array_name]
        if array.n_values != n_cells:
            raise InvalidSample(f"{array.where} of <{name}> has {array.n_values:,} values for {n_cells:,} cells.")
    faces: FaceReader | None = None
    last = 0
    for first in range(0, n_cells, cells):
        stop = min(first + cells, n_cells)
        offsets = read_ends(ends, first, stop, connectivity)
        last = int(offsets[-1])
        points = read_integers(connectivity, int(offsets[0]), last)
        require_points(connectivity, points, n_points, first, stop)
        offsets -= offsets[0]
        if name != "Cells":
            yield CellBlock(first, offsets, points, polydata_types(name, np.diff(offsets)))
            continue
        types = _types(arrays["types"], first, stop)
        if (types == POLYHEDRON).any():
            faces = faces or face_reader(arrays, n_points, file)
            yield CellBlock(first, offsets, points, types, faces.read(first, stop, types))
        else:
            yield CellBlock(first, offsets, points, types)
    if last != connectivity.n_values:
        raise InvalidSample(f"{connectivity.where} of <{name}> has {connectivity.n_values:,} values for {last:,}.")


def _types(array: DataArray, first: int, stop: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    types = read_integers(array, first, stop)
    narrow = types.astype(np.uint8)
    if (narrow != types).any():
        raise InvalidSample(f"{array.where} is damaged: cells {first:,} to {stop:,} have types that VTK does not have.")
    return narrow
