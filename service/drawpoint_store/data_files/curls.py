"""The curl of a vector that is known at the cells of a volume mesh, or at its points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.cell_shapes import equal_sized
from drawpoint_store.data_files.geometry import measured_blocks, polygon_measures, volume_measures
from drawpoint_store.data_files.neighbours import NO_CELL, faces_with_partners

if TYPE_CHECKING:
    from drawpoint_store.data_files.data_file import MeshFile

    Array = np.ndarray[Any, Any]

CurlMode = Literal["least-squares", "gauss"]
"""By gradients that are exact where the vector is linear, or by those of OpenFOAM's `Gauss linear`."""

_RESOLVED = 1e-6
"""The least ratio of eigenvalues at which the directions to neighbours give the gradient in all directions."""

_BORROWING_STEPS = 3
"""From how many cells away a gradient is taken where a cell's own neighbours lie in a plane or on a line."""

_FLAT = 1e-14
"""That ratio for the points of one cell, where it is the square of its aspect ratio."""

_ROWS = 50_000
"""Cells of one shape whose points are looked at at a time."""


def cell_curls(mesh: MeshFile, vectors: Array, mode: CurlMode = "least-squares") -> Array:
    """Return the curl at the centroid of each volume cell, shape (n_cells, 3), of `vectors` there, (n_cells, 3).

    `least-squares` fits a linear vector to the neighbours across faces, each weighted by the inverse of its squared
    distance. A cell whose neighbours leave a direction open, such as one in a corner, takes that of its neighbours'
    gradients; where these leave it open too, as in a mesh of one layer, nothing varies along it. `gauss` sums over the
    faces as `fvc::curl` of OpenFOAM with `Gauss linear`, whose faces at the boundary have the cell's own vector here,
    since a volume's file has no other.

    The result is float64 for vectors in float64, otherwise float32. In memory are up to 300 bytes a hexahedron.
    Raises InvalidSample for cells that are no volume cells, that are open, that share no face with another, or whose
    points are not finite.
    """
    values = _checked(mesh, vectors)
    centres, volumes = np.empty((mesh.n_cells, 3)), np.empty(mesh.n_cells)
    for points, block in measured_blocks(mesh):
        rows = slice(block.first, block.first + len(block.types))
        centres[rows], volumes[rows] = volume_measures(points, block)
    gradients = np.empty((mesh.n_cells, 3, 3))
    open_cells = _OpenCells()
    for points, block, cells, beyond, corners in faces_with_partners(mesh):
        rows = slice(block.first, block.first + len(block.types))
        here = cells + block.first
        _require_neighbours(block.first, np.bincount(cells[beyond != NO_CELL], minlength=len(block.types)))
        if mode == "gauss":
            measured = [polygon_measures(points, each, project=False) for each in corners]
            middles, areas = (np.concatenate([each[i] for each in measured]) for i in (0, 2))
            there = np.where(beyond == NO_CELL, here, beyond)
            near, far = (np.abs(np.vecdot(areas, each - middles)) for each in (centres[here], centres[there]))
            weights = np.divide(far, near + far, out=np.full(len(near), 0.5), where=near + far > 0)[:, None]
            of_faces = weights * values[here] + (1 - weights) * values[there]
            with np.errstate(divide="ignore", invalid="ignore"):  # a cell without volume has no gradient, but NaN
                gradients[rows] = _outer_sums(len(block.types), cells, areas, of_faces) / volumes[rows, None, None]
        else:
            inner = beyond != NO_CELL
            own, there = cells[inner], beyond[inner]
            steps, changes = (each[there] - each[here[inner]] for each in (centres, values))
            weighted = _weighted(steps)
            moments, changes = (_outer_sums(len(block.types), own, weighted, each) for each in (steps, changes))
            gradients[rows], is_open = _solve(moments, changes)
            open_cells.add(block.first, is_open, moments, changes, own, there)
    open_cells.borrow(gradients)
    return _curl(gradients).astype(_dtype(vectors))


def point_curls(mesh: MeshFile, vectors: Array) -> Array:
    """Return the curl at each point of a volume mesh, shape (n_points, 3), of `vectors` there, (n_points, 3).

    It is the mean of the cells' around the point, each that of the linear vector which fits the cell's points best. In
    memory are about 100 bytes a point. Raises InvalidSample for points that are not finite, or of no solid cell.
    """
    values = _checked(mesh, vectors)
    sums, counts = np.zeros((3, mesh.n_points)), np.zeros(mesh.n_points)
    for points, block in measured_blocks(mesh):
        for _, corners in equal_sized(block.offsets, block.connectivity):
            for first in range(0, len(corners), _ROWS):
                group = corners[first : first + _ROWS]
                places, around = (each[group].astype(np.float64) for each in (points, values))
                places -= places.mean(axis=1, keepdims=True)
                across = places.transpose(0, 2, 1)
                gradients, is_flat = _solve(across @ places, across @ around, _FLAT)
                of_cells = _curl(gradients[~is_flat])
                for corner in group[~is_flat].T:
                    np.add.at(counts, corner, 1)
                    for total, curl in zip(sums, of_cells.T, strict=True):
                        np.add.at(total, corner, curl)
    alone = np.flatnonzero(counts == 0)
    if len(alone):
        raise InvalidSample(
            f"{len(alone):,} points, such as point {alone[0]:,}, belong to no cell with a volume, and so have no curl"
        )
    sums /= counts
    return sums.T.astype(_dtype(vectors))


class _OpenCells:
    """Cells whose neighbours leave a direction of the gradient open, with all that is known of them."""

    def __init__(self) -> None:
        self._cells: list[Array] = []
        self._moments: list[Array] = []
        self._changes: list[Array] = []
        self._pairs: list[Array] = []

    def add(self, first: int, is_open: Array, moments: Array, changes: Array, cells: Array, beyond: Array) -> None:
        """Keep those of a block from cell `first` on that are open, and the pairs of these and their neighbours."""
        chosen = is_open[cells]
        self._cells.append(np.flatnonzero(is_open) + first)
        self._moments.append(moments[is_open])
        self._changes.append(changes[is_open])
        self._pairs.append(np.stack([cells[chosen] + first, beyond[chosen]]))

    def borrow(self, gradients: Array) -> None:
        """Add to the gradients of these cells what their neighbours' are along the directions that are open."""
        if not any(map(len, self._cells)):
            return
        cells, moments, changes = (np.concatenate(each) for each in (self._cells, self._moments, self._changes))
        here, there = np.concatenate(self._pairs, axis=1)
        here = np.searchsorted(cells, here)
        is_open = np.zeros(len(gradients), bool)
        is_open[cells] = True
        for _ in range(_BORROWING_STEPS):
            lends = ~is_open[there] & is_open[cells[here]]
            counts = np.bincount(here[lends], minlength=len(cells))
            sums = np.zeros((len(cells), 3, 3))
            np.add.at(sums, here[lends], gradients[there[lends]])
            taken = counts > 0
            lent = sums[taken] / counts[taken, None, None]
            own = _solve(moments[taken], changes[taken] - moments[taken] @ lent)[0]
            gradients[cells[taken]] = lent + own
            is_open[cells[taken]] = False


def _checked(mesh: MeshFile, vectors: Array) -> Array:
    if not np.isfinite(mesh.points()).all():
        raise InvalidSample("some points are not finite, so that there is no curl")
    return vectors.astype(np.float64, copy=False)


def _require_neighbours(first: int, counts: Array) -> None:
    """Refuse a block from cell `first` on, by how many neighbours its cells have, if one has none."""
    alone = np.flatnonzero(counts == 0)
    if len(alone):
        raise InvalidSample(
            f"{len(alone):,} cells, such as cell {alone[0] + first:,}, share no face with another cell, and so have no "
            "curl; if cells have points of their own in the same places, merge those first"
        )


def _weighted(steps: Array) -> Array:
    squares = np.vecdot(steps, steps)[:, None]
    weighted: Array = np.divide(steps, squares, out=np.zeros_like(steps), where=squares > 0)
    return weighted


def _outer_sums(n: int, cells: Array, first: Array, second: Array) -> Array:
    """Return the sums over each of n cells of first[:, i] * second[:, j], shape (n, 3, 3)."""
    sums = np.empty((n, 3, 3))
    for i, j in np.ndindex(3, 3):
        sums[:, i, j] = np.bincount(cells, first[:, i] * second[:, j], n)
    return sums


def _solve(moments: Array, changes: Array, least: float = _RESOLVED) -> tuple[Array, Array]:
    """Return the gradients, d vector[j] / d x[i] at [:, i, j], and where directions are open; along those it is 0."""
    lengths, directions = np.linalg.eigh(moments)
    known = lengths > least * lengths[:, -1:]
    inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=known)
    gradients = directions @ (inverse[:, :, None] * (directions.transpose(0, 2, 1) @ changes))
    return gradients, ~np.all(known, axis=1)


def _curl(gradients: Array) -> Array:
    return np.stack([gradients[:, i, j] - gradients[:, j, i] for i, j in ((1, 2), (2, 0), (0, 1))], axis=1)


def _dtype(vectors: Array) -> np.dtype[Any]:
    return np.dtype(np.float64 if vectors.dtype.newbyteorder("=") == np.float64 else np.float32)
