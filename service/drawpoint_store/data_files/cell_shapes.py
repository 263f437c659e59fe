"""Shapes of cells: the polygons that a cell is, or that bound it, in VTK's order of its points.

The types and the order of a cell's points are those of https://docs.vtk.org/en/latest/vtk_file_formats/ (linear cells).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drawpoint_store.data_files.data_file import CellBlock, PolyhedronFaces

    Polygons = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
    """Polygons of as many sides each: the cell of the block that each belongs to, (m,), and its points, (m, sides)."""

TRIANGLE, TRIANGLE_STRIP, POLYGON, PIXEL, QUAD = 5, 6, 7, 8, 9
TETRA, VOXEL, HEXAHEDRON, WEDGE, PYRAMID, PENTAGONAL_PRISM, HEXAGONAL_PRISM = 10, 11, 12, 13, 14, 15, 16
POLYHEDRON = 42

SURFACE_TYPES = (TRIANGLE, TRIANGLE_STRIP, POLYGON, PIXEL, QUAD)


def _prism_faces(sides: int) -> list[tuple[int, ...]]:
    around = [(i, (i + 1) % sides) for i in range(sides)]
    walls = [(i, after, after + sides, i + sides) for i, after in around]
    return [tuple(reversed(range(sides))), tuple(range(sides, 2 * sides)), *walls]


_FACES: dict[int, list[tuple[int, ...]]] = {
    TETRA: [(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)],
    PYRAMID: [(0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)],
    WEDGE: _prism_faces(3),
    HEXAHEDRON: _prism_faces(4),
    PENTAGONAL_PRISM: _prism_faces(5),
    HEXAGONAL_PRISM: _prism_faces(6),
}
"""The faces of each type, all turned to one side of the cell."""

_LOOP_ORDER = {PIXEL: (0, 1, 3, 2), VOXEL: (0, 1, 3, 2, 4, 5, 7, 6)}
"""The points of types that VTK orders along axes, in the order of the quad and the hexahedron."""

_LEAST_SIDES = 3

_SIDES = {TRIANGLE: 3, PIXEL: 4, QUAD: 4, TETRA: 4, VOXEL: 8, HEXAHEDRON: 8, WEDGE: 6, PYRAMID: 5}
_SIDES |= {PENTAGONAL_PRISM: 10, HEXAGONAL_PRISM: 12}
_NAMES = {0: "an empty cell", 1: "a vertex", 2: "a poly-vertex", 3: "a line", 4: "a polyline"}
_NAMES |= dict.fromkeys(SURFACE_TYPES, "a polygon")
_NAMES |= dict.fromkeys((*_FACES, VOXEL, POLYHEDRON), "a volume cell")


def equal_sized(offsets: np.ndarray[Any, Any], connectivity: np.ndarray[Any, Any]) -> Iterator[Polygons]:
    """Yield the rows of a ragged array in groups of one length: their numbers, (m,), and their values, (m, length)."""
    lengths = np.diff(offsets)
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        yield rows, connectivity[offsets[rows, None] + np.arange(length)]


def gather(
    values: np.ndarray[Any, Any], begins: np.ndarray[Any, Any], sizes: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the offsets of so many values from each beginning, and these values one after the other."""
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    return offsets, values[np.repeat(begins - offsets[:-1], sizes) + np.arange(offsets[-1])]


def polygons(block: CellBlock) -> Iterator[Polygons]:
    """Yield the polygons that the cells of a surface are; a triangle strip is as many triangles.

    Raises InvalidSample for a block with a cell that is no polygon, such as a line, a tetrahedron or a curved triangle.
    """
    _require_types(block, SURFACE_TYPES, "a surface has polygons alone")
    for cell_type, cells, points in _of_types(block):
        if cell_type == TRIANGLE_STRIP:
            for first in range(points.shape[1] - 2):  # every second triangle of a strip runs the other way round
                corners = (first, first + 1, first + 2) if first % 2 == 0 else (first + 1, first, first + 2)
                yield cells, points[:, corners]
        else:
            yield cells, points


def faces(block: CellBlock) -> Iterator[Polygons]:
    """Yield the polygons that bound the volume cells of a block, for each cell all turned to one side of it.

    Raises InvalidSample for a block with any other cell, and for polyhedra without faces.
    """
    _require_types(block, (*_FACES, VOXEL, POLYHEDRON), "a volume has linear cells and polyhedra alone")
    for cell_type, cells, points in _of_types(block):
        if cell_type == POLYHEDRON:
            continue
        shape = _FACES[HEXAHEDRON if cell_type == VOXEL else cell_type]
        for sides in sorted({len(face) for face in shape}):
            corners = np.array([face for face in shape if len(face) == sides])
            yield np.repeat(cells, len(corners)), points[:, corners].reshape(-1, sides)
    if (block.types == POLYHEDRON).any():
        yield from _polyhedron_faces(block, block.faces)


def _polyhedron_faces(block: CellBlock, found: PolyhedronFaces | None) -> Iterator[Polygons]:
    is_polyhedron = block.types == POLYHEDRON
    counts = np.diff(found.cells) if found is not None else np.zeros(len(is_polyhedron), int)
    if found is None or not counts[is_polyhedron].all():
        cell = block.first + int(np.argmax(is_polyhedron & (counts == 0)))
        raise InvalidSample(f"the file gives no faces of polyhedron {cell:,}: its volume and centroid are not known")
    cells = np.repeat(np.arange(len(counts)), counts)
    for rows, points in equal_sized(found.offsets, found.connectivity):
        yield cells[rows], points


def _of_types(block: CellBlock) -> Iterator[tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Yield the cells of each type and number of points: their numbers in the block and their points, as a loop."""
    for rows, points in equal_sized(block.offsets, block.connectivity):
        types = block.types[rows]
        for cell_type in np.unique(types).tolist():
            chosen = types == cell_type
            cells, corners = rows[chosen], points[chosen]
            sides = points.shape[1]
            if cell_type != POLYHEDRON and (sides < _LEAST_SIDES or _SIDES.get(cell_type, sides) != sides):
                raise InvalidSample(
                    f"cell {block.first + cells[0]:,} of VTK's type {cell_type} cannot have {sides} points, but has"
                )
            yield cell_type, cells, corners[:, _LOOP_ORDER[cell_type]] if cell_type in _LOOP_ORDER else corners


def _require_types(block: CellBlock, allowed: tuple[int, ...], rule: str) -> None:
    others = ~np.isin(block.types, allowed)
    if others.any():
        cell = int(np.argmax(others))
        name = _NAMES.get(int(block.types[cell]), "a curved or special cell")
        raise InvalidSample(
            f"cell {block.first + cell:,} is {name} (VTK's type {block.types[cell]}), but {rule}: its size, centroid "
            "and normal are not known"
        )
