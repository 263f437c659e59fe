"""An open VTK XML file as a mesh with arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.data_file import ArrayInfo, CellBlock, Closing, Place
from drawpoint_store.data_files.joined_file import FilePath, JoinedFile
from drawpoint_store.data_files.vtk_xml.cells import read_cells
from drawpoint_store.data_files.vtk_xml.structure import DataArray, Piece, Section, read_structure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drawpoint_store.data_files.needed_parts import Needed

_NO_SECTION = Section()
_SECTIONS: dict[Place, str] = {"point": "PointData", "cell": "CellData"}


@dataclass(frozen=True, slots=True)
class _Span:
    """Rows that follow each other in a piece's arrays: `count` from `begin` on."""

    piece: Piece
    begin: int
    count: int


class VtkXmlFile(Closing):
    """A .vtp or .vtu file, or its parts in order: a MeshFile that reads only what is asked for.

    Cells are numbered as VTK does: of PolyData first all verts, then lines, polygons and strips, of all pieces each.
    The memory needed is that of the rows that are returned, and what few blocks of them need. Raises InvalidSample for
    damage, NotReadHere (on opening) for what is left to VTK.
    """

    def __init__(self, *paths: FilePath) -> None:
        self._file = JoinedFile(*paths)
        try:
            self._structure = read_structure(self._file)
        except BaseException:
            self._file.close()
            raise
        pieces, sections = self._structure.pieces, self._structure.cell_sections
        self._spans = {
            "point": [_Span(piece, 0, piece.n_points) for piece in pieces],
            "cell": [_Span(piece, *_place(piece, section)) for section in sections for piece in pieces],
        }
        self.n_points = sum(piece.n_points for piece in pieces)
        self.n_cells = sum(span.count for span in self._spans["cell"])
        self.arrays = [*self._infos("point", self.n_points), *self._infos("cell", self.n_cells)]

    def _infos(self, place: Place, n_rows: int) -> Iterator[ArrayInfo]:
        seen = set()
        for span in self._spans[place]:
            section = span.piece.sections.get(_SECTIONS[place], _NO_SECTION)
            for array in section.arrays:
                # A piece without rows need not have the arrays, or not of their type.
                if array.name not in seen and (span.count or not n_rows):
                    seen.add(array.name)
                    active = array.name in section.active
                    yield ArrayInfo(array.name, place, array.dtype.name, n_rows, array.components, active)

    def read(self, array: ArrayInfo, first: int = 0, stop: int | None = None) -> np.ndarray[Any, Any]:
        """Return rows `first` to `stop` of an array, shape (n, components), in its dtype."""
        return self._read(_SECTIONS[array.place], self._spans[array.place], array, first, stop)

    def points(self) -> np.ndarray[Any, Any]:
        """Return the points, shape (n_points, 3), in the file's dtype."""
        for span in self._spans["point"]:
            arrays = span.piece.sections.get("Points", _NO_SECTION).arrays
            if span.count and arrays:
                array = ArrayInfo(arrays[0].name, "point", arrays[0].dtype.name, self.n_points, 3)
                return self._read("Points", self._spans["point"], array, 0, None)
        if self.n_points:
            raise InvalidSample(f"{self._file} has no coordinates for its {self.n_points:,} points.")
        return np.empty((0, 3), np.float32)

    def cell_blocks(self, cells: int) -> Iterator[CellBlock]:
        """Yield all cells in blocks of at most `cells`, in VTK's order."""
        first = 0
        for section in self._structure.cell_sections:
            first_point = 0
            for piece in self._structure.pieces:
                count = piece.counts[section]
                arrays = piece.sections.get(section, _NO_SECTION)
                for block in read_cells(section, arrays, count, piece.n_points, cells, str(self._file)):
                    yield block.moved(first, first_point)
                first += count
                first_point += piece.n_points

    def spans(self, needed: Needed) -> list[tuple[int, int]]:
        """Return where the data of the arrays lie that are needed, each from a byte to another; nothing is read."""
        sections = {("Points", needed.points), *((name, needed.cells) for name in self._structure.cell_sections)}
        whole = {name for name, is_needed in sections if is_needed}
        held = [
            (
                array.stream.position,
                array.known_end,
                name in whole or needed.has(array.name, array.name in section.active),
            )
            for piece in self._structure.pieces
            for name, section in piece.sections.items()
            for array in section.arrays
            if array.stream is not None
        ]
        # Of appended data only the last has a known end: each goes on to the next.
        begins = sorted({begin for begin, _, _ in held})
        following = dict(zip(begins, [*begins[1:], self._file.size], strict=True))
        return sorted({(begin, end or following[begin]) for begin, end, is_needed in held if is_needed})

    def _read(
        self, section: str, spans: list[_Span], array: ArrayInfo, first: int, stop: int | None
    ) -> np.ndarray[Any, Any]:
        stop = array.stop_of(first, stop)
        found = []
        begin = 0
        for span in spans:
            low, high = max(first - begin, 0), min(stop - begin, span.count)
            if low < high:
                found.append((self._find(section, span.piece, array), span.begin + low, span.begin + high))
            begin += span.count
        # Only now is it known that the file can hold so many.
        rows = np.empty((stop - first, array.components), np.dtype(array.dtype))
        done = 0
        for source, low, high in found:
            part = rows[done : done + high - low]
            if source.dtype == np.bool_:
                part[:] = source.read(low * array.components, high * array.components).reshape(part.shape)
            else:
                source.read_into(low * array.components, part)
            done += high - low
        return rows

    def _find(self, section: str, piece: Piece, array: ArrayInfo) -> DataArray:
        """Return a piece's own array, with as many values as it must have."""
        arrays = piece.sections.get(section, _NO_SECTION).arrays
        found = next((own for own in arrays if section == "Points" or own.name == array.name), None)
        if found is None:
            raise InvalidSample(f"{self._file} has a piece without the {array.place} array {array.name!r}.")
        if (found.dtype.name, found.components) != (array.dtype, array.components):
            raise InvalidSample(
                f"{found.where} has {found.components} components of {found.dtype.name} in one piece of the file and "
                f"{array.components} of {array.dtype} in another."
            )
        n_rows = piece.n_points if array.place == "point" else sum(piece.counts.values())
        found.require_rows(n_rows, array.place)
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _place(piece: Piece, section: str) -> tuple[int, int]:
    """Return where a section's cells begin in the piece's cell arrays, and how many there are."""
    names = list(piece.counts)
    return sum(piece.counts[name] for name in names[: names.index(section)]), piece.counts[section]
