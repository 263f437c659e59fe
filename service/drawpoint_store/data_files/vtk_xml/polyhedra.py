"""The faces of polyhedra, in both forms that VTK has written them in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.cell_shapes import POLYHEDRON, gather
from drawpoint_store.data_files.data_file import PolyhedronFaces
from drawpoint_store.data_files.vtk_xml.indices import read_ends, read_integers, require_points

if TYPE_CHECKING:
    from drawpoint_store.data_files.vtk_xml.structure import DataArray

    Integers = np.ndarray[Any, np.dtype[np.int64]]


class FaceReader(Protocol):
    """Reads the faces of cells, which are asked for in order."""

    def read(self, first: int, stop: int, types: np.ndarray[Any, Any]) -> PolyhedronFaces:
        """Return the faces of the cells from `first` to `stop`, of these types."""


def face_reader(arrays: dict[str, DataArray], n_points: int, where: str) -> FaceReader:
    """Return what reads the faces of a section's cells, by the arrays that it has."""
    if arrays.keys() >= Linked.NEEDED:
        return Linked(arrays, n_points)
    if arrays.keys() >= Stream.NEEDED:
        return Stream(arrays, n_points)
    raise InvalidSample(f"{where} has polyhedra without the arrays of their faces, {', '.join(sorted(Linked.NEEDED))}.")


class Linked:
    """Faces as VTK writes them since version 2.3 of the format: each once, and for each cell the numbers of its own."""

    NEEDED = frozenset({"polyhedron_offsets", "polyhedron_to_faces", "face_offsets", "face_connectivity"})

    def __init__(self, arrays: dict[str, DataArray], n_points: int) -> None:
        self._arrays = arrays
        self._n_points = n_points

    def read(self, first: int, stop: int, types: np.ndarray[Any, Any]) -> PolyhedronFaces:
        """Return the faces of the cells from `first` to `stop`, of these types."""
        of_cells, numbers, of_faces, points = (
            self._arrays[name]
            for name in ("polyhedron_offsets", "polyhedron_to_faces", "face_offsets", "face_connectivity")
        )
        cells = read_ends(of_cells, first, stop, numbers)
        _require_faces_of(types, cells, of_cells)
        chosen = read_integers(numbers, int(cells[0]), int(cells[-1]))
        if not chosen.size:
            return PolyhedronFaces(cells - cells[0], np.zeros(1, np.int64), np.zeros(0, np.int64))
        if chosen.min() < 0 or chosen.max() >= of_faces.n_values:
            raise InvalidSample(f"{numbers.where} is damaged: it names faces beyond the file's {of_faces.n_values:,}.")
        lowest = int(chosen.min())
        ends = read_ends(of_faces, lowest, int(chosen.max()) + 1, points)
        found = read_integers(points, int(ends[0]), int(ends[-1]))
        require_points(points, found, self._n_points, first, stop)
        begins = ends[chosen - lowest] - ends[0]
        sizes = ends[chosen - lowest + 1] - ends[chosen - lowest]
        return PolyhedronFaces(cells - cells[0], *gather(found, begins, sizes))


class Stream:
    """Faces as VTK wrote them before: of a polyhedron `[faces][points of a face][point]...[points of the next]...`."""

    NEEDED = frozenset({"faces", "faceoffsets"})

    def __init__(self, arrays: dict[str, DataArray], n_points: int) -> None:
        self._stream, self._ends = arrays["faces"], arrays["faceoffsets"]
        self._n_points = n_points
        self._done = 0

    def read(self, first: int, stop: int, types: np.ndarray[Any, Any]) -> PolyhedronFaces:
        """Return the faces of the cells from `first` to `stop`, of these types."""
        ends = read_integers(self._ends, first, stop)
        is_polyhedron = ends >= 0  # other cells have -1
        bounds = np.concatenate(([self._done], ends[is_polyhedron]))
        if (np.diff(bounds) <= 0).any() or bounds[-1] > self._stream.n_values:
            raise InvalidSample(f"{self._ends.where} is damaged in cells {first:,} to {stop:,}.")
        stream = read_integers(self._stream, self._done, int(bounds[-1]))
        begins, ends = bounds[:-1] - self._done, bounds[1:] - self._done
        self._done = int(bounds[-1])
        counts = stream[begins]
        owners, places, sizes = self._walk(stream, begins, ends, counts)
        n_faces = np.zeros(stop - first, np.int64)
        n_faces[is_polyhedron] = counts
        cells = np.concatenate(([0], np.cumsum(n_faces)))
        _require_faces_of(types, cells, self._ends)
        order = np.argsort(owners, kind="stable")
        offsets, points = gather(stream, places[order], sizes[order])
        require_points(self._stream, points, self._n_points, first, stop)
        return PolyhedronFaces(cells, offsets, points)

    def _walk(
        self, stream: Integers, begins: Integers, ends: Integers, counts: Integers
    ) -> tuple[Integers, Integers, Integers]:
        """Return of each face its polyhedron, where its points begin, and how many they are.

        Where a face begins is known only from the one before it, so that one step takes the next face of all polyhedra.
        """
        steps = [np.zeros((3, 0), np.int64)]
        owners, at, left = np.arange(len(begins)), begins + 1, counts.copy()
        while owners.size:
            if ((left < 0) | (at > ends[owners]) | ((at == ends[owners]) & (left > 0))).any():
                raise InvalidSample(f"{self._stream.where} is damaged: its faces are not as long as they claim.")
            ended = left == 0
            if (at[ended] != ends[owners[ended]]).any():
                raise InvalidSample(f"{self._stream.where} is damaged: it has more than the faces that it claims.")
            owners, at, left = owners[~ended], at[~ended], left[~ended]
            sizes = stream[at]
            if (sizes < 1).any():
                raise InvalidSample(f"{self._stream.where} is damaged: it has a face without points.")
            steps.append(np.stack((owners, at + 1, sizes)))
            at, left = at + 1 + sizes, left - 1
        found_owners, places, sizes = np.concatenate(steps, axis=1)
        return found_owners, places, sizes


def _require_faces_of(types: np.ndarray[Any, Any], cells: Integers, array: DataArray) -> None:
    if ((types == POLYHEDRON) != (np.diff(cells) > 0)).any():
        raise InvalidSample(f"{array.where} is damaged: not all polyhedra have faces, or other cells have.")
