"""VTK's data sets as files with a mesh, which geometry is tested on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import pyvista as pv

from drawpoint_store.data_files.data_file import ArrayInfo, CellBlock, PolyhedronFaces


class VtkMesh:
    """A mesh in memory, without arrays."""

    arrays: Sequence[ArrayInfo] = ()

    def __init__(self, data: pv.DataSet) -> None:
        grid = data.cast_to_unstructured_grid()
        self._points = np.asarray(grid.points)
        self._offsets, self._connectivity = grid.cell_offsets.astype(np.int64), grid.cell_connectivity.astype(np.int64)
        self._types = grid.celltypes
        self._faces: list[np.ndarray[Any, Any]] = []
        if (self._types == 42).any():
            for cells in (grid.GetPolyhedronFaceLocations(), grid.GetPolyhedronFaces()):
                for array in (cells.GetOffsetsArray(), cells.GetConnectivityArray()):
                    self._faces.append(pv.convert_array(array).astype(np.int64))

    def set_cells(self, points: Any, offsets: Any, connectivity: Any, types: Any) -> None:
        """Take cells that VTK itself would not hold."""
        self._points, self._offsets, self._connectivity, self._types = points, offsets, connectivity, types

    def drop_face(self) -> None:
        """Lose the last face of the last polyhedron."""
        self._faces[0][-1] -= 1

    @property
    def n_points(self) -> int:
        return len(self._points)

    @property
    def n_cells(self) -> int:
        return len(self._types)

    def points(self) -> np.ndarray[Any, Any]:
        return self._points

    def read(self, array: ArrayInfo, first: int = 0, stop: int | None = None) -> np.ndarray[Any, Any]:
        raise KeyError(array, first, stop)

    def cell_blocks(self, cells: int) -> Iterator[CellBlock]:
        for first in range(0, self.n_cells, cells):
            stop = min(first + cells, self.n_cells)
            offsets = self._offsets[first : stop + 1]
            points = self._connectivity[offsets[0] : offsets[-1]]
            yield CellBlock(first, offsets - offsets[0], points, self._types[first:stop], self._faces_of(first, stop))

    def _faces_of(self, first: int, stop: int) -> PolyhedronFaces | None:
        if not self._faces:
            return None
        cells, numbers, offsets, points = self._faces
        cells = cells[first : stop + 1]
        chosen = [points[offsets[face] : offsets[face + 1]] for face in numbers[cells[0] : cells[-1]]]
        ends = np.cumsum([0, *map(len, chosen)], dtype=np.int64)
        return PolyhedronFaces(cells - cells[0], ends, np.concatenate([np.zeros(0, np.int64), *chosen]))

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass
