"""Distances to surfaces against a brute force over all triangles, and inside against what is known of spheres."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pyvista as pv
from hypothesis import given, settings
from hypothesis import strategies as st

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files import surface_distance
from drawpoint_store.data_files.surface_distance import surface_distances, surface_triangles
from drawpoint_store.data_files.vtk_library import VtkMesh
from vtk_files import body

Array = np.ndarray[Any, Any]
SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None)


def to_segment(points: Array, begin: Array, end: Array) -> Array:
    step = end - begin
    share = np.clip((points - begin) @ step / (step @ step or 1.0), 0, 1)
    distances: Array = np.linalg.norm(points - begin - share[:, None] * step, axis=1)
    return distances


def brute_force(points: Array, vertices: Array, triangles: Array) -> Array:
    """Return the distance of points to the nearest of all triangles: to their sides, and within them to their plane."""
    nearest = np.full(len(points), np.inf)
    for a, b, c in vertices[triangles]:
        for begin, end in ((a, b), (b, c), (c, a)):
            nearest = np.minimum(nearest, to_segment(points, begin, end))
        normal = np.cross(b - a, c - a)
        size = np.linalg.norm(normal)
        if size:
            turns = [np.cross(end - begin, points - begin) @ normal for begin, end in ((a, b), (b, c), (c, a))]
            above = np.all(np.array(turns) >= 0, axis=0)
            nearest[above] = np.minimum(nearest, np.abs((points - a) @ normal) / size)[above]
    return nearest


def soup(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return triangles anywhere, of which one is a line and one a point."""
    triangles = rng.integers(0, 20, (30, 3))
    triangles[:2] = [[0, 1, 0], [2, 2, 2]]
    return rng.normal(size=(20, 3)) * rng.uniform(0.01, 100), triangles


def sphere(**options: Any) -> tuple[Array, Array]:
    return surface_triangles(VtkMesh(pv.Icosphere(nsub=3, **options), "a sphere"))


@few
@given(SEEDS)
def test_a_distance_is_that_of_the_brute_force_also_on_edges_and_vertices_and_far_away(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices, triangles = soup(rng)
    size = np.ptp(vertices, axis=0).max()
    corners = vertices[triangles]
    on_edges = corners[:, 0] + rng.uniform(0, 1, (len(corners), 1)) * (corners[:, 1] - corners[:, 0])
    inside = np.einsum("ni,nij->nj", rng.dirichlet(np.ones(3), len(corners)), corners)
    around = rng.normal(size=(200, 3)) * size
    points = np.concatenate([vertices, on_edges, inside, around, around * 1e4])
    found = surface_distances(points, vertices, triangles)
    expected = brute_force(points, vertices, triangles)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12 * size)
    assert found[: len(vertices)][np.unique(triangles)] == pytest.approx(0, abs=1e-12 * size)


def test_polygons_count_as_the_triangles_around_their_middles() -> None:
    vertices, triangles = surface_triangles(VtkMesh(body(1), "a box"))
    assert len(triangles) == 3 * 4 + 6
    points = np.random.default_rng(0).uniform(-1, 3, (100, 3))
    box = np.array(body(1).bounds).reshape(3, 2)
    outside = np.maximum(np.maximum(box[:, 0] - points, points - box[:, 1]), 0)
    to_faces = np.minimum(np.abs(points - box[:, 0]), np.abs(points - box[:, 1])).min(axis=1)
    expected = np.where(outside.any(axis=1), np.linalg.norm(outside, axis=1), -to_faces)
    assert surface_distances(points, vertices, triangles) == pytest.approx(np.abs(expected))
    assert surface_distances(points, vertices, triangles, "signed") == pytest.approx(expected)


@pytest.mark.parametrize("turned", [False, True])
def test_a_signed_distance_is_negative_inside_whichever_way_the_triangles_turn(turned: bool) -> None:
    vertices, triangles = sphere(radius=2.0)
    triangles = triangles[:, ::-1].copy() if turned else triangles
    directions = np.random.default_rng(0).normal(size=(500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for radius, sign in ((0.0, -1), (1.0, -1), (1.95, -1), (2.001, 1), (50.0, 1)):
        points = directions * radius
        found = surface_distances(points, vertices, triangles, "signed")
        assert (np.sign(found) == sign).all()
        assert np.abs(found) == pytest.approx(surface_distances(points, vertices, triangles), abs=1e-12)


@few
@given(SEEDS, st.integers(-20, -6))
def test_triangles_as_thin_as_rounding_are_as_far_away_as_their_longest_side(seed: int, exponent: int) -> None:
    rng = np.random.default_rng(seed)
    begin, step, across = rng.normal(size=(3, 3))
    triangles = np.roll([[0, 1, 2]], seed % 3, axis=1)
    points = rng.normal(size=(100, 3)) * 3
    for share in rng.uniform(0, 1, 20):
        vertices = np.array([begin, begin + step, begin + share * step + 10.0**exponent * across])
        found = surface_distances(points, vertices, triangles)
        expected = to_segment(points, begin, begin + step)
        assert found == pytest.approx(expected, abs=10 * 10.0**exponent + 1e-9)


@pytest.mark.parametrize("offset", [1e4, 1e5, 1e7])
def test_the_sign_is_right_also_of_a_surface_far_from_the_origin(offset: float) -> None:
    vertices, triangles = sphere(radius=1.0)
    points = np.random.default_rng(0).uniform(-1.5, 1.5, (3000, 3))
    here = surface_distances(points, vertices, triangles, "signed")
    there = surface_distances(points + offset, vertices + offset, triangles, "signed")
    assert there == pytest.approx(here, abs=1e-15 * offset + 1e-7)


def test_a_small_hole_leaves_the_sign_and_an_open_surface_has_none() -> None:
    vertices, triangles = sphere(radius=1.0)
    inner = np.array([[0.0, 0.0, 0.0], [0.3, -0.4, 0.2], [0.0, 0.0, 2.0]])
    assert np.sign(surface_distances(inner, vertices, triangles[1:], "signed")).tolist() == [-1, -1, 1]
    with pytest.raises(InvalidSample, match=r"is open.*'unsigned'|is open.*\"unsigned\""):
        surface_distances(inner, vertices, triangles[: len(triangles) // 2], "signed")
    assert (surface_distances(inner, vertices, triangles[: len(triangles) // 2]) > 0).all()


def test_a_surface_of_which_half_is_turned_over_has_no_sign() -> None:
    vertices, triangles = sphere(radius=1.0)
    upper = vertices[triangles].mean(axis=1)[:, 2] > 0
    triangles[upper] = triangles[upper][:, ::-1]
    with pytest.raises(InvalidSample, match="do not all turn to one side"):
        surface_distances(np.zeros((1, 3)), vertices, triangles, "signed")


def test_many_points_are_measured_in_blocks_and_keep_their_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, triangles = sphere()
    points = np.random.default_rng(0).normal(size=(50, 3))
    whole = surface_distances(points, vertices, triangles, "signed")
    monkeypatch.setattr(surface_distance, "_BLOCK", 7)
    assert np.array_equal(surface_distances(points, vertices, triangles, "signed"), whole)
    for dtype, expected in (("f4", "f4"), (">f8", "f8"), ("i4", "f4")):
        assert surface_distances(points.astype(dtype), vertices, triangles).dtype == np.dtype(expected)
    assert surface_distances(points[:0], vertices, triangles).shape == (0,)


def test_surfaces_and_positions_that_cannot_be_measured_are_refused() -> None:
    with pytest.raises(InvalidSample, match="no triangles"):
        surface_triangles(VtkMesh(pv.PolyData(), "nothing"))
    broken = pv.Icosphere(nsub=1)
    points = np.array(broken.points)
    points[3, 1] = np.nan
    broken.points = points
    with pytest.raises(InvalidSample, match="1 of its vertices are not finite, such as vertex 3"):
        surface_triangles(VtkMesh(broken, "a sphere"))
    with pytest.raises(InvalidSample, match="is a volume cell"):
        surface_triangles(VtkMesh(pv.ImageData(dimensions=(2, 2, 2)).cast_to_unstructured_grid(), "a cube"))
    with pytest.raises(InvalidSample, match="some positions are not finite"):
        surface_distances(np.full((1, 3), np.inf), *sphere())
