"""The curl of velocities on meshes of all kinds of cells, against what is known of it and VTK's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pyvista as pv
from hypothesis import given, settings
from hypothesis import strategies as st
from vtkmodules.vtkFiltersGeneral import vtkGradientFilter

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files import curls, geometry, neighbours
from drawpoint_store.data_files.curls import cell_curls, point_curls
from drawpoint_store.data_files.geometry import cell_centres
from drawpoint_store.data_files.vtk_library import VtkMesh

SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=15, deadline=None)
"""A mesh takes some hundredths of a second."""

KINDS = ("hexahedra", "tetrahedra", "wedges", "polyhedra", "pyramids and hexahedra")


def hexahedra(rng: np.random.Generator, size: int = 3, jitter: float = 0.15) -> pv.UnstructuredGrid:
    box = pv.ImageData(dimensions=(size + 1, size + 2, size + 1))
    grid = box.cast_to_structured_grid().cast_to_unstructured_grid()
    grid.points = np.asarray(grid.points, np.float64) + rng.uniform(-jitter, jitter, (grid.n_points, 3))
    return grid


def cells_of(kind: str, rng: np.random.Generator) -> pv.UnstructuredGrid:
    """Return a mesh whose points are moved at random, so that its quads are not plane."""
    grid = hexahedra(rng)
    corners = np.asarray(grid.cell_connectivity).reshape(-1, 8)
    if kind == "tetrahedra":
        # A cube cut in this way fits those beside it, whose cuts run alike.
        cuts = [(0, 1, 2, 6), (0, 2, 3, 6), (0, 3, 7, 6), (0, 7, 4, 6), (0, 4, 5, 6), (0, 5, 1, 6)]
        return pv.UnstructuredGrid({pv.CellType.TETRA: np.concatenate([corners[:, cut] for cut in cuts])}, grid.points)
    if kind == "wedges":
        halves = [(0, 3, 1, 4, 7, 5), (1, 3, 2, 5, 7, 6)]
        return pv.UnstructuredGrid(
            {pv.CellType.WEDGE: np.concatenate([corners[:, half] for half in halves])}, grid.points
        )
    if kind == "polyhedra":
        stream: list[int] = []
        for cell in grid.cell:
            faces = [[face.n_points, *face.point_ids] for face in cell.faces]
            numbers = [len(faces), *(number for face in faces for number in face)]
            stream += [len(numbers), *numbers]
        return pv.UnstructuredGrid(np.array(stream), np.full(grid.n_cells, 42, np.uint8), grid.points)
    if kind == "pyramids and hexahedra":
        middle = np.asarray(grid.points)[corners[0]].mean(axis=0)
        bases = [(0, 1, 2, 3), (4, 7, 6, 5), (0, 4, 5, 1), (1, 5, 6, 2), (2, 6, 7, 3), (3, 7, 4, 0)]
        pyramids = np.array([[*corners[0, list(base)], grid.n_points] for base in bases])
        cells = {pv.CellType.PYRAMID: pyramids, pv.CellType.HEXAHEDRON: corners[1:]}
        return pv.UnstructuredGrid(cells, np.vstack([grid.points, middle]))
    return grid


def mesh_of(grid: Any) -> VtkMesh:
    return VtkMesh(grid, "a mesh")


def linear(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the gradient of a linear velocity, d u[j] / d x[i] at [i, j], and its curl."""
    gradient = rng.normal(size=(3, 3))
    return gradient, curl_of(gradient)


def curl_of(gradient: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array([gradient[i, j] - gradient[j, i] for i, j in ((1, 2), (2, 0), (0, 1))])


@few
@given(SEEDS, st.sampled_from(KINDS))
def test_the_curl_of_a_linear_velocity_is_exact_in_all_cells_and_at_all_points(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    mesh = mesh_of(cells_of(kind, rng))
    gradient, expected = linear(rng)
    of_cells = cell_curls(mesh, cell_centres(mesh, "centroid") @ gradient + 7.0)
    assert of_cells == pytest.approx(np.broadcast_to(expected, (mesh.n_cells, 3)), abs=1e-9)
    of_points = point_curls(mesh, mesh.points() @ gradient + 7.0)
    assert of_points == pytest.approx(np.broadcast_to(expected, (mesh.n_points, 3)), abs=1e-9)


@few
@given(SEEDS)
def test_at_the_points_of_tetrahedra_it_is_vtks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = cells_of("tetrahedra", rng)
    grid.point_data["u"] = rng.normal(size=(grid.n_points, 3))
    vtk = vtkGradientFilter()
    vtk.SetInputData(grid)
    vtk.SetInputScalars(0, "u")  # of points
    vtk.ComputeVorticityOn()
    vtk.Update()
    expected = np.array(pv.wrap(vtk.GetOutput()).point_data["Vorticity"])
    assert point_curls(mesh_of(grid), np.array(grid.point_data["u"])) == pytest.approx(expected, abs=1e-9)


def test_the_blocks_in_which_cells_are_read_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    mesh = mesh_of(cells_of("pyramids and hexahedra", rng))
    velocity = rng.normal(size=(mesh.n_cells, 3))
    at_points = rng.normal(size=(mesh.n_points, 3))
    whole = [cell_curls(mesh, velocity, mode) for mode in ("least-squares", "gauss")]
    points = point_curls(mesh, at_points)
    monkeypatch.setattr(geometry, "_BLOCK_CELLS", 5)
    monkeypatch.setattr(curls, "_ROWS", 2)
    assert cell_curls(mesh, velocity) == pytest.approx(whole[0], abs=1e-12)
    assert cell_curls(mesh, velocity, "gauss") == pytest.approx(whole[1], abs=1e-12)
    assert point_curls(mesh, at_points) == pytest.approx(points, abs=1e-12)


def test_gauss_is_exact_inside_of_a_straight_mesh_and_has_the_cells_own_velocity_on_its_boundary() -> None:
    mesh = mesh_of(hexahedra(np.random.default_rng(0), size=5, jitter=0.0))
    centres = cell_centres(mesh, "centroid")
    shear = np.zeros((mesh.n_cells, 3))
    shear[:, 0] = centres[:, 1]
    found = cell_curls(mesh, shear, "gauss")
    at_rim = (centres[:, 1] < 1) | (centres[:, 1] > 5)
    assert found[~at_rim] == pytest.approx(np.broadcast_to([0, 0, -1], (int((~at_rim).sum()), 3)))
    assert found[at_rim] == pytest.approx(np.broadcast_to([0, 0, -0.5], (int(at_rim.sum()), 3)))
    assert cell_curls(mesh, shear) == pytest.approx(np.broadcast_to([0, 0, -1], shear.shape))


@pytest.mark.parametrize("mode", ["least-squares", "gauss"])
def test_cells_that_share_no_face_have_no_curl(mode: curls.CurlMode) -> None:
    grid = hexahedra(np.random.default_rng(0), jitter=0.0)
    apart = grid.explode(0.0)
    assert apart.n_points == 8 * grid.n_cells
    with pytest.raises(InvalidSample, match=r"36 cells, such as cell 0, share no face with another cell.*merge"):
        cell_curls(mesh_of(apart), np.ones((grid.n_cells, 3)), mode)


def test_in_a_mesh_of_one_layer_nothing_varies_across_it() -> None:
    grid = pv.ImageData(dimensions=(6, 5, 2)).cast_to_unstructured_grid()
    grid.points = np.asarray(grid.points, np.float64) * [1.0, 1.0, 0.01]
    mesh = mesh_of(grid)
    centres = cell_centres(mesh, "centroid")
    velocity = np.stack([-2 * centres[:, 1], 3 * centres[:, 0], 4 * centres[:, 0]], axis=1)
    assert cell_curls(mesh, velocity) == pytest.approx(np.broadcast_to([0, -4, 5], velocity.shape))


def test_velocities_in_float64_stay_so_and_others_give_float32() -> None:
    mesh = mesh_of(hexahedra(np.random.default_rng(0)))
    for dtype, expected in (("f8", "f8"), ("f4", "f4"), ("f2", "f4"), (">f8", "f8")):
        assert cell_curls(mesh, np.zeros((mesh.n_cells, 3), dtype)).dtype == np.dtype(expected)
        assert point_curls(mesh, np.zeros((mesh.n_points, 3), dtype)).dtype == np.dtype(expected)


@pytest.mark.parametrize("found", [cell_curls, point_curls])
def test_points_that_are_not_finite_are_refused(found: Any) -> None:
    grid = hexahedra(np.random.default_rng(0))
    points = np.array(grid.points)
    points[4] = np.nan
    grid.points = points
    mesh = mesh_of(grid)
    with pytest.raises(InvalidSample, match="not finite"):
        found(mesh, np.zeros((mesh.n_cells if found is cell_curls else mesh.n_points, 3)))


def test_meshes_without_volumes_and_points_without_cells_are_refused() -> None:
    sphere = mesh_of(pv.Sphere(theta_resolution=5, phi_resolution=5))
    with pytest.raises(InvalidSample, match="is a polygon"):
        cell_curls(sphere, np.zeros((sphere.n_cells, 3)))
    with pytest.raises(InvalidSample, match="belong to no cell with a volume"):
        point_curls(sphere, np.zeros((sphere.n_points, 3)))
    grid = hexahedra(np.random.default_rng(0))
    grid.points = np.vstack([grid.points, [[9.0, 9.0, 9.0]]])
    with pytest.raises(InvalidSample, match=f"1 points, such as point {grid.n_points - 1}"):
        point_curls(mesh_of(grid), np.zeros((grid.n_points, 3)))


def test_a_face_of_three_cells_is_refused() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1], [1, 1, 1]], float)
    cells = np.array([[0, 1, 2, 3], [0, 2, 1, 4], [0, 1, 2, 5]])
    mesh = mesh_of(pv.UnstructuredGrid({pv.CellType.TETRA: cells}, points))
    with pytest.raises(InvalidSample, match="more than two cells have the same face"):
        cell_curls(mesh, np.zeros((3, 3)))


def test_faces_whose_keys_are_equal_by_chance_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = hexahedra(np.random.default_rng(0))
    velocities = np.random.default_rng(1).normal(size=(grid.n_cells, 3))
    expected = cell_curls(VtkMesh(grid, "made"), velocities, "gauss")
    keys = neighbours.face_keys
    seeds: list[int] = []

    def poor_keys(corners: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
        seeds.append(seed)
        return keys(corners, seed) % np.uint64(1 if seed == 0 else 2**63)

    monkeypatch.setattr(neighbours, "face_keys", poor_keys)
    assert np.array_equal(cell_curls(VtkMesh(grid, "made"), velocities, "gauss"), expected)
    assert set(seeds) == {0, 1}
