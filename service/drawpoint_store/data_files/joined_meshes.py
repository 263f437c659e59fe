"""Several meshes, one after the other, as one: the pieces of a .pvtu, the blocks of a .vtm."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.data_file import Closing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drawpoint_store.data_files.data_file import ArrayInfo, CellBlock, MeshFile


class JoinedMeshes(Closing):
    """Meshes in order as one MeshFile: points, cells and rows of the first, then of the next. `name` is for errors.

    An array is that of the first mesh with such rows. Reading it raises InvalidSample if another has it not, or of
    another type.
    """

    def __init__(self, name: str, meshes: Sequence[MeshFile]) -> None:
        self._name = name
        self._meshes = meshes
        self.n_points = sum(mesh.n_points for mesh in meshes)
        self.n_cells = sum(mesh.n_cells for mesh in meshes)
        self._counts = {
            "point": [mesh.n_points for mesh in meshes],
            "cell": [mesh.n_cells for mesh in meshes],
        }
        found: dict[tuple[str, str], ArrayInfo] = {}
        for number, mesh in enumerate(meshes):
            for array in mesh.arrays:
                n_rows = sum(self._counts[array.place])
                if self._counts[array.place][number] or not n_rows:
                    found.setdefault((array.place, array.name), replace(array, n_rows=n_rows))
        self.arrays = sorted(found.values(), key=lambda array: array.place == "cell")

    def read(self, array: ArrayInfo, first: int = 0, stop: int | None = None) -> np.ndarray[Any, Any]:
        """Return rows `first` to `stop` of an array, shape (n, components), in its dtype."""
        stop = array.stop_of(first, stop)
        parts = [np.empty((0, array.components), np.dtype(array.dtype))]
        begin = 0
        for mesh, count in zip(self._meshes, self._counts[array.place], strict=True):
            low, high = max(first - begin, 0), min(stop - begin, count)
            if low < high:
                own = next((each for each in mesh.arrays if (each.place, each.name) == (array.place, array.name)), None)
                if own is None or (own.dtype, own.components) != (array.dtype, array.components):
                    raise InvalidSample(
                        f"{self._name} has a piece without the {array.place} array {array.name!r} of "
                        f"{array.components} components of {array.dtype}."
                    )
                parts.append(mesh.read(own, low, high))
            begin += count
        return np.concatenate(parts)

    def points(self) -> np.ndarray[Any, Any]:
        """Return the points, shape (n_points, 3), in the file's dtype."""
        parts = [mesh.points() for mesh in self._meshes if mesh.n_points]
        return np.concatenate(parts) if parts else np.empty((0, 3), np.float32)

    def cell_blocks(self, cells: int) -> Iterator[CellBlock]:
        """Yield all cells in blocks of at most `cells`, mesh by mesh."""
        first = first_point = 0
        for mesh in self._meshes:
            for block in mesh.cell_blocks(cells):
                yield block.moved(first, first_point)
            first += mesh.n_cells
            first_point += mesh.n_points

    def close(self) -> None:
        """Close all files."""
        for mesh in self._meshes:
            mesh.close()
