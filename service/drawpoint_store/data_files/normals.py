"""Normals of a surface's polygons and points, and which way they turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint.extras import importing
from drawpoint_store.data_files.cell_shapes import polygons
from drawpoint_store.data_files.geometry import by_block, measured_blocks, polygon_measures, result_dtype, unit

if TYPE_CHECKING:
    from drawpoint_store.data_files.data_file import CellBlock, MeshFile

    Array = np.ndarray[Any, Any]

NormalsMode = Literal["keep", "flip", "orient"]
"""Normals by the right-hand rule of the file's order of vertices, their negatives, or normals turned outward."""

MERGED_DISTANCE = 1e-6
"""Points this close, in diagonals of the surface's bounding box, are one: patches are often stored side by side."""

_SHARED = 2
"""How many polygons an edge has that lets one turn like the other; more may meet in any way."""


def cell_normals(mesh: MeshFile, mode: NormalsMode = "keep") -> Array:
    """Return the unit normal of each polygon, shape (n_cells, 3), in the dtype of the points.

    A polygon without area has none, and gets (0, 0, 0), as VTK gives it. Turning them outward is `outward_signs`.
    """
    normals = by_block(mesh, 3, lambda points, block: unit(_area_vectors(points, block)))
    normals *= _signs(mesh, mode)[:, None]
    return normals


def point_normals(mesh: MeshFile, mode: NormalsMode = "keep") -> Array:
    """Return unit normals of points, shape (n_points, 3): of the polygons around each, weighted by their areas.

    Points of no polygon, or whose polygons cancel, have (0, 0, 0). `mode` is that of `cell_normals`.
    """
    signs = _signs(mesh, mode)
    normals = np.zeros((3, mesh.n_points))
    for points, block in measured_blocks(mesh):
        for cells, corners in polygons(block):
            vectors = polygon_measures(points, corners)[2] * signs[block.first + cells, None]
            for total, values in zip(normals, vectors.T, strict=True):
                for corner in corners.T:
                    np.add.at(total, corner, values)
    return unit(normals.T).astype(result_dtype(mesh.points()))


def outward_signs(mesh: MeshFile) -> Array:
    """Return int8 (n_cells,): 1 for a polygon whose normal points outward as the file has it, -1 for one that does not.

    Points within MERGED_DISTANCE of each other are one. Polygons that share an edge, which no third one has, are turned
    alike. Of what hangs together in this way, each closed part has its normals out of the volume that it encloses; a
    part with open edges is turned as most of its area is in the file, and all of these together so that they enclose a
    positive volume. The surface's connectivity is in memory: about 100 bytes for each side of each polygon.

    Raises InvalidSample where a part has but one side, as a Moebius strip has, and ExtraMissing without scipy.
    """
    n = mesh.n_cells
    if not n:
        return np.ones(0, np.int8)
    sizes, volumes = np.zeros(n), np.zeros(n)
    if not np.isfinite(mesh.points()).all():
        raise InvalidSample('some points are not finite, so that normals cannot be turned outward; use mode = "keep"')
    merged = _merged(mesh.points())
    middle = (mesh.points().min(axis=0, initial=np.inf) + mesh.points().max(axis=0, initial=-np.inf)) / 2.0
    edges = []
    for points, block in measured_blocks(mesh):
        for cells, corners in polygons(block):
            centres, areas, vectors = polygon_measures(points, corners)
            np.add.at(sizes, block.first + cells, areas)
            np.add.at(volumes, block.first + cells, np.vecdot(centres - middle, vectors) / 3)
            numbers = (block.first + cells).astype(np.int32)
            for here, after in zip(corners.T, np.roll(corners, -1, axis=1).T, strict=True):
                edges.append((numbers, merged[here], merged[after]))
    if not edges:
        return np.ones(n, np.int8)
    cells, here, after = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    first, second, alike, on_rim = _neighbours(cells, here, after, len(merged))
    parts, signs = _turned_by_majority(n, first, second, alike, sizes)
    is_open = np.zeros(n, bool)  # by part
    is_open[parts[on_rim]] = True
    enclosed = np.bincount(parts, signs * volumes, n)
    enclosed[is_open] = enclosed[is_open].sum()
    signs[(enclosed < 0)[parts]] *= -1
    return signs


def _merged(points: Array) -> Array:
    """Return a number for each point, (n_points,), alike for those that are one."""
    with importing("raw", "Turning normals outward"):
        from scipy.sparse.csgraph import connected_components  # noqa: PLC0415  scipy is an extra's
        from scipy.spatial import KDTree  # noqa: PLC0415  scipy is an extra's
    places, numbers = np.unique(points, axis=0, return_inverse=True)
    if not len(places):
        return numbers
    close = MERGED_DISTANCE * float(np.linalg.norm(np.ptp(places, axis=0)))
    pairs = KDTree(places).query_pairs(close, output_type="ndarray")
    merged: Array = connected_components(_graph(len(places), pairs[:, 0], pairs[:, 1]), directed=False)[1]
    return merged[numbers]


def _neighbours(cells: Array, here: Array, after: Array, n_points: int) -> tuple[Array, Array, Array, Array]:
    """Return pairs of cells that share an edge alone, whether they are turned alike, and cells with other edges."""
    is_edge = here != after
    cells, here, after = cells[is_edge], here[is_edge], after[is_edge]
    keys = np.minimum(here, after).astype(np.int64) * n_points + np.maximum(here, after)
    order = np.argsort(keys)
    keys, cells, forward = keys[order], cells[order], (here < after)[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    counts = np.diff(np.append(starts, len(keys)))
    is_pair = counts == _SHARED
    pairs = starts[is_pair]
    on_rim = cells[np.repeat(~is_pair, counts)]
    return cells[pairs], cells[pairs + 1], forward[pairs] != forward[pairs + 1], on_rim


def _turned_by_majority(n: int, first: Array, second: Array, alike: Array, sizes: Array) -> tuple[Array, Array]:
    """Return for each cell the number of its part, and the sign, int8, that turns it as most of the part is turned.

    Each cell is two nodes of a graph, as it is (i) and turned over (i + n); an edge of the mesh joins what goes
    together. A part that has two sides makes two components, of which one holds the larger area as it is.
    """
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415  scipy is an extra's

    ahead, across = np.where(alike, second, second + n), np.where(alike, second + n, second)
    graph = _graph(2 * n, np.concatenate([first, first + n]), np.concatenate([ahead, across]))
    labels = connected_components(graph, directed=False)[1]
    kept, turned = labels[:n], labels[n:]
    if (kept == turned).any():
        raise InvalidSample(
            f"the surface around cell {int(np.argmax(kept == turned)):,} has but one side, so that its normals cannot "
            'be turned outward; use mode = "keep"'
        )
    parts = np.unique(np.minimum(kept, turned), return_inverse=True)[1]
    # The larger area as it is, and on equality the component of the part's first cell.
    as_they_are = np.bincount(labels[:n], sizes, 2 * n)
    here, other = as_they_are[kept], as_they_are[turned]
    return parts, np.where((here > other) | ((here == other) & (kept < turned)), 1, -1).astype(np.int8)


def _graph(n: int, first: Array, second: Array) -> Any:
    from scipy.sparse import coo_array  # noqa: PLC0415  scipy is an extra's

    return coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n)).tocsr()


def _signs(mesh: MeshFile, mode: NormalsMode) -> Array:
    if mode == "orient":
        return outward_signs(mesh)
    return np.full(mesh.n_cells, -1 if mode == "flip" else 1, np.int8)


def _area_vectors(points: Array, block: CellBlock) -> Array:
    vectors = np.zeros((len(block.types), 3))
    for cells, corners in polygons(block):
        vectors[cells] += polygon_measures(points, corners)[2]
    return vectors
