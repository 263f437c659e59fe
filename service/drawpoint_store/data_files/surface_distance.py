"""The distance of points to a surface, by libigl, which computes it in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint.extras import importing
from drawpoint_store.data_files.cell_shapes import polygons
from drawpoint_store.data_files.geometry import measured_blocks, result_dtype

if TYPE_CHECKING:
    from drawpoint_store.data_files.data_file import MeshFile

    Array = np.ndarray[Any, Any]

DistanceMode = Literal["unsigned", "signed"]
"""Never negative, or negative inside of a closed surface."""

_BLOCK = 2**20
"""Points that are measured at a time: about 100 MB."""

_TRIANGLE_SIDES = 3

_OPEN = 0.01
"""The area vectors of a closed surface add up to zero; small holes of a surface may miss this share of its area."""

_SLIVER = 1e-10
"""Triangles whose height is less than this share of their longest side are taken for that side."""

_INSIDE = 0.5
"""Around points inside of a closed surface it winds once, around others not at all, so that a half lies between."""


def surface_triangles(mesh: MeshFile) -> tuple[Array, Array]:
    """Return the triangles of a surface: vertices in float64, shape (n, 3), and their numbers in int64, (m, 3).

    Polygons of more sides are the triangles around the mean of their vertices, as their areas are. Raises InvalidSample
    for a surface without polygons, with other cells, or with vertices that are not finite.
    """
    vertices, triangles, added = [mesh.points().astype(np.float64)], [np.zeros((0, 3), np.int64)], mesh.n_points
    for points, block in measured_blocks(mesh):
        for _, corners in polygons(block):
            if corners.shape[1] == _TRIANGLE_SIDES:
                triangles.append(corners)
                continue
            middles = np.arange(added, added + len(corners))
            vertices.append(points[corners].mean(axis=1, dtype=np.float64))
            added += len(corners)
            ends = zip(corners.T, np.roll(corners, -1, axis=1).T, strict=True)
            triangles += [np.stack([here, after, middles], axis=1) for here, after in ends]
    places, numbers = np.concatenate(vertices), np.concatenate(triangles)
    if not len(numbers):
        raise InvalidSample("it has no triangles or other polygons, so that there is no distance to it")
    lost = np.flatnonzero(~np.isfinite(places).all(axis=1))
    if len(lost):
        raise InvalidSample(
            f"{len(lost):,} of its vertices are not finite, such as vertex {lost[0]:,}; mend the surface"
        )
    return places, numbers


def surface_distances(positions: Array, vertices: Array, triangles: Array, mode: DistanceMode = "unsigned") -> Array:
    """Return the distance of each position, (n, 3), to the nearest point of the triangles, shape (n,).

    It is computed in float64 and has the dtype of the positions. `signed` is negative where the surface winds by more
    than a half around a position, whichever way its triangles turn (the generalised winding number,
    https://doi.org/10.1145/3197517.3201337): that is inside of a closed surface, and of one with small holes.
    Raises InvalidSample where positions are not finite, and for `signed` where the surface is open, or not all of its
    triangles turn to one side; ExtraMissing without libigl.
    """
    with importing("raw", "Measuring the distance to a surface"):
        import igl  # noqa: PLC0415  libigl is an extra's
    if mode == "signed":
        _require_closed(vertices, triangles)
    triangles = _slivers_as_lines(vertices, triangles)
    # libigl finds the winding number in float32, which far from the origin would round the surface itself.
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    centred = vertices - middle
    tree = igl.AABB()
    tree.init(vertices, triangles)
    distances = np.empty(len(positions), result_dtype(positions))
    for first in range(0, len(positions), _BLOCK):
        block = np.ascontiguousarray(positions[first : first + _BLOCK], np.float64)
        if not np.isfinite(block).all():
            raise InvalidSample("some positions are not finite, so that they have no distance to a surface")
        found = np.sqrt(tree.squared_distance(vertices, triangles, block)[0])
        if mode == "signed":  # libigl's own signed_distance scales the distance by the winding number
            found[np.abs(igl.fast_winding_number(centred, triangles, block - middle)) > _INSIDE] *= -1
        distances[first : first + _BLOCK] = found
    return distances


def _slivers_as_lines(vertices: Array, triangles: Array) -> Array:
    """Return the triangles, those that rounding alone keeps from being a line as (begin, end, end) of that line.

    libigl is right for lines, but off by a tenth of the length for triangles as thin as the rounding of their vertices.
    """
    corners = vertices[triangles]
    lengths = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=2)
    longest = lengths.argmax(axis=1)
    thin = np.linalg.norm(_area_vectors(vertices, triangles), axis=1) <= _SLIVER * lengths.max(axis=1) ** 2
    lines = triangles.copy()
    begin = longest[thin]
    rows, end = np.flatnonzero(thin), (begin + 1) % _TRIANGLE_SIDES
    lines[thin] = triangles[rows[:, None], np.stack([begin, end, end], axis=1)]
    return lines


def _area_vectors(vertices: Array, triangles: Array) -> Array:
    """Return twice the area of each triangle times its normal, shape (m, 3)."""
    first, second, third = (vertices[triangles[:, corner]] for corner in range(_TRIANGLE_SIDES))
    return np.cross(second - first, third - first)


def _require_closed(vertices: Array, triangles: Array) -> None:
    vectors = _area_vectors(vertices, triangles)
    area = np.linalg.norm(vectors, axis=1).sum()
    share = float(np.linalg.norm(vectors.sum(axis=0)) / area) if area else 1.0
    if share > _OPEN:
        raise InvalidSample(
            f"it is open, or its triangles do not all turn to one side: their area vectors leave {share:.1%} of its "
            'area, and nothing of a closed surface; close it, or use mode = "unsigned"'
        )
