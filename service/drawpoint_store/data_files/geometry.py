"""Geometry of a mesh's cells and points: centres, areas and volumes, in the file's order; `normals` has the normals.

Points and results are in memory, cells come in blocks. Sums are in float64; results have the dtype of the points, or
float32 where these are integers. Lengths are in the mesh's unit. Polygons need not be plane; areas and volumes
are then those of OpenFOAM's solvers (`primitiveMesh::makeFaceCentresAndAreas`, `makeCellCentresAndVols`). So are
centroids: for volume cells as in OpenFOAM of openfoam.com, for polygons as in that of openfoam.org since version 8.

Raises InvalidSample for cells that name points which do not exist, and where a cell has no such measure.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.cell_shapes import SURFACE_TYPES, equal_sized, faces, polygons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from drawpoint_store.data_files.data_file import CellBlock, MeshFile

    Array = np.ndarray[Any, Any]

_BLOCK_CELLS = 200_000
"""How many cells are measured at a time: about 200 MB for hexahedra."""

_OPEN = 1e-6
"""The area vectors of a closed cell's faces add up to zero, but for rounding, in units of the faces' areas."""


def cell_centres(mesh: MeshFile, centre: Literal["mean", "centroid"] = "mean") -> Array:
    """Return the centre of each cell, shape (n_cells, 3): the mean of its vertices, or its centroid.

    VTK's own centre (vtkCellCenters) is the mean for tetrahedra, hexahedra, wedges, triangles and quads, but not for
    pyramids, polyhedra and larger polygons. The centroid is that of area for polygons and of volume for volume cells;
    a cell without area or volume has the mean of its vertices, or of its faces' centres, instead.
    """
    return by_block(mesh, 3, _means if centre == "mean" else _centroids)


def cell_areas(mesh: MeshFile) -> Array:
    """Return the area of each polygon, shape (n_cells,): the length of its area vector, of a strip the sum."""
    return by_block(mesh, 1, lambda points, block: _surface(points, block)[1])[:, 0]


def cell_volumes(mesh: MeshFile) -> Array:
    """Return the volume of each volume cell, shape (n_cells,), never negative, whichever way its faces turn."""
    return by_block(mesh, 1, lambda points, block: np.abs(volume_measures(points, block)[1]))[:, 0]


def point_areas(mesh: MeshFile) -> Array:
    """Return the area of the polygons around each point, shape (n_points,): of each, a share for every vertex alike."""
    areas = np.zeros(mesh.n_points)
    for points, block in measured_blocks(mesh):
        for _, corners in polygons(block):
            shares = polygon_measures(points, corners)[1] / corners.shape[1]
            for corner in corners.T:
                np.add.at(areas, corner, shares)
    return areas.astype(result_dtype(mesh.points()))


def measured_blocks(mesh: MeshFile) -> Iterator[tuple[Array, CellBlock]]:
    """Yield the points of a mesh with each block of its cells, once the block is known to name no other points."""
    points, measured = mesh.points(), 0
    for block in mesh.cell_blocks(_BLOCK_CELLS):
        named = [block.connectivity] if block.faces is None else [block.connectivity, block.faces.connectivity]
        for ids in named:
            if len(ids) and (ids.min() < 0 or ids.max() >= len(points)):
                raise InvalidSample(
                    f"cells from {block.first:,} on name points {ids.min():,} to {ids.max():,}, but there are "
                    f"{len(points):,} points; the file is damaged"
                )
        yield points, block
        measured += len(block.types)
    if measured != mesh.n_cells:
        raise InvalidSample(f"the file holds {measured:,} of {mesh.n_cells:,} cells; it is damaged")


def by_block(mesh: MeshFile, width: int, measure: Callable[[Array, CellBlock], Array]) -> Array:
    """Return what `measure` gives for points and each block, shape (n_cells, width)."""
    values: Array | None = None
    for points, block in measured_blocks(mesh):
        if values is None:
            values = np.empty((mesh.n_cells, width), result_dtype(points))
        with np.errstate(over="ignore", invalid="ignore"):  # as in polygon_measures
            values[block.first : block.first + len(block.types)] = measure(points, block).reshape(-1, width)
    return np.empty((0, width), np.float32) if values is None else values


def result_dtype(points: Array) -> np.dtype[Any]:
    """Return the dtype of geometry that is computed from `points`."""
    return points.dtype.newbyteorder("=") if points.dtype.kind == "f" else np.dtype(np.float32)


def _means(points: Array, block: CellBlock) -> Array:
    means = np.empty((len(block.types), 3))
    for cells, corners in equal_sized(block.offsets, block.connectivity):
        if not corners.shape[1]:
            raise InvalidSample(f"cell {block.first + cells[0]:,} has no points, and so no centre")
        means[cells] = _mean(points, corners)
    return means


def _centroids(points: Array, block: CellBlock) -> Array:
    on_surface = np.isin(block.types, SURFACE_TYPES)
    if on_surface.any() and not on_surface.all():
        raise InvalidSample(
            f"cells from {block.first:,} on are both polygons and volume cells, whose centroids are not of one kind; "
            'use centre = "mean"'
        )
    return (_surface if on_surface.all() else volume_measures)(points, block)[0]


def _surface(points: Array, block: CellBlock) -> tuple[Array, Array]:
    """Return centroids and areas of a block's polygons."""
    n = len(block.types)
    parts = [(cells, *polygon_measures(points, corners)) for cells, corners in polygons(block)]
    middles = _sums(n, ((cells, centres) for cells, centres, *_ in parts))
    middles /= _sums(n, ((cells, np.ones((len(cells), 1))) for cells, *_ in parts))
    areas = _sums(n, ((cells, areas[:, None]) for cells, _, areas, _ in parts))
    moments = _sums(n, ((cells, areas[:, None] * (centres - middles[cells])) for cells, centres, areas, _ in parts))
    return middles + np.divide(moments, areas, out=np.zeros((n, 3)), where=areas > 0), areas


def volume_measures(points: Array, block: CellBlock) -> tuple[Array, Array]:
    """Return centroids (n, 3) and signed volumes (n,) of a block's volume cells, in float64.

    They are sums of pyramids from each face to a middle; a volume is positive where the faces turn outward.
    """
    n = len(block.types)
    found = [(cells, *polygon_measures(points, corners, project=False)) for cells, corners in faces(block)]
    middles = _sums(n, ((cells, centres) for cells, centres, _, _ in found))
    middles /= _sums(n, ((cells, np.ones((len(cells), 1))) for cells, *_ in found))
    _require_closed(block, n, found)
    moments, volumes = np.zeros((n, 3)), np.zeros((n, 1))
    for cells, centres, _, vectors in found:
        heights = centres - middles[cells]
        pyramids = np.vecdot(heights, vectors)[:, None] / 3
        volumes += _sums(n, [(cells, pyramids)])
        moments += _sums(n, [(cells, pyramids * heights * 0.75)])
    shifts = np.divide(moments, volumes, out=np.zeros((n, 3)), where=volumes != 0)
    return middles + shifts, volumes[:, 0]


def _require_closed(block: CellBlock, n: int, found: list[tuple[Array, Array, Array, Array]]) -> None:
    gaps = np.linalg.norm(_sums(n, ((cells, vectors) for cells, _, _, vectors in found)), axis=1)
    areas = _sums(n, ((cells, areas[:, None]) for cells, _, areas, _ in found))[:, 0]
    is_open = gaps > _OPEN * areas
    if is_open.any():
        raise InvalidSample(
            f"cell {block.first + int(np.argmax(is_open)):,} is not closed, or its faces do not all turn to one side, "
            "so that it has no volume or centroid"
        )


@np.errstate(over="ignore", invalid="ignore")  # what is not finite stays so, and is refused by the writer
def polygon_measures(points: Array, corners: Array, *, project: bool = True) -> tuple[Array, Array, Array]:
    """Return centres (m, 3), areas (m,) and area vectors (m, 3) of polygons whose points are `corners`, (m, sides).

    A centre is that of the triangles around the mean of the vertices, each weighted by its area: projected onto the
    polygon's mean plane, so that it does not depend on where the triangles meet, or as it is. Without area it is the
    mean.
    """
    middles = _mean(points, corners)
    around = [points[corner] - middles for corner in corners.T]
    sides = list(pairwise([*around, around[0]]))
    triangles = [np.cross(here, after) / 2 for here, after in sides]
    vectors = np.sum(triangles, axis=0)
    normals = unit(vectors)
    moments, total = np.zeros_like(middles), np.zeros((len(middles), 1))
    for (here, after), triangle in zip(sides, triangles, strict=True):
        weights = np.vecdot(triangle, normals) if project else np.linalg.norm(triangle, axis=1)
        total += weights[:, None]
        moments += weights[:, None] * (here + after) / 3
    centres = middles + np.divide(moments, total, out=np.zeros_like(moments), where=total > 0)
    return centres, np.linalg.norm(vectors, axis=1), vectors


def unit(vectors: Array) -> Array:
    """Return vectors (m, 3) of length one, and (0, 0, 0) for those without length."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Array = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths != 0)  # NaN stays NaN
    return units


def _mean(points: Array, corners: Array) -> Array:
    means = np.zeros((len(corners), 3))
    for corner in corners.T:
        means += points[corner]
    means /= corners.shape[1]
    return means


def _sums(n: int, parts: Iterable[tuple[Array, Array]]) -> Array:
    """Return the sums, (n, k), of values (m, k) by the cells, (m,), that they belong to."""
    sums: Array = np.sum([[np.bincount(cells, column, n) for column in values.T] for cells, values in parts], axis=0)
    return sums.T
