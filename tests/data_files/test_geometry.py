"""Centres, areas, normals and volumes against VTK, OpenFOAM's own, and what is known by construction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pyvista as pv
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vtkmodules.vtkFiltersCore import vtkCellCenters
from vtkmodules.vtkFiltersVerdict import vtkCellSizeFilter

from conftest import AHMED, AHMED_VTK
from drawpoint.errors import InvalidSample
from drawpoint_store.data_files import geometry
from drawpoint_store.data_files.data_file import CellBlock, PolyhedronFaces
from drawpoint_store.data_files.geometry import cell_areas, cell_centres, cell_volumes, point_areas
from drawpoint_store.data_files.normals import cell_normals, outward_signs, point_normals
from drawpoint_store.data_files.vtk_library import VtkMesh

DATA = Path(__file__).parent / "data"
SEEDS = st.integers(0, 2**32 - 1)
few = settings(max_examples=20)
"""VTK needs some hundredths of a second for each mesh, of 12 cells."""

VOLUMES = {
    10: [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)],
    11: [(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)],
    12: [(x, y, z) for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))],
    13: [(x, y, z) for z in (0, 1) for x, y in ((0, 0), (0, 1), (1, 0))],
    14: [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.4, 0.6, 1)],
    15: [(np.cos(a * 0.4 * np.pi), np.sin(a * 0.4 * np.pi), z) for z in (0, 1) for a in range(5)],
    16: [(np.cos(a * np.pi / 3), np.sin(a * np.pi / 3), z) for z in (0, 1) for a in range(6)],
}
"""A cell of each type, whose images under linear maps have plane faces."""


def affine(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(3, 3)) + 2 * np.eye(3), rng.normal(size=3) * 10


def volume_mesh(rng: np.random.Generator) -> pv.UnstructuredGrid:
    cells: list[int] = []
    points: list[np.ndarray] = []
    types = rng.choice(list(VOLUMES), 12)
    for cell_type in types:
        corners = np.array(VOLUMES[cell_type], float)
        matrix, shift = affine(rng)
        cells += [len(corners), *range(len(points), len(points) + len(corners))]
        if cell_type == pv.CellType.VOXEL:  # whose edges run along the axes
            matrix = np.diag(np.abs(np.diag(matrix)))
        points += list(corners @ matrix + shift)
    return pv.UnstructuredGrid(np.array(cells), types.astype(np.uint8), np.array(points))


def as_polyhedra(grid: pv.UnstructuredGrid) -> pv.UnstructuredGrid:
    cells: list[int] = []
    for cell in grid.cell:
        order = [0, 1, 3, 2] if cell.type == pv.CellType.VOXEL else slice(None)
        faces = [[face.n_points, *np.array(face.point_ids)[order]] for face in cell.faces]
        stream = [len(faces), *(number for face in faces for number in face)]
        cells += [len(stream), *stream]
    return pv.UnstructuredGrid(np.array(cells), np.full(grid.n_cells, 42, np.uint8), grid.points)


def plane_polygons(rng: np.random.Generator) -> pv.PolyData:
    faces: list[int] = []
    points: list[np.ndarray] = []
    for sides in rng.integers(3, 9, 12):
        angles = np.sort(rng.uniform(0, 2 * np.pi, sides))
        matrix, shift = affine(rng)
        faces += [sides, *range(len(points), len(points) + sides)]
        points += list(np.stack([np.cos(angles), np.sin(angles), 0 * angles], 1) @ matrix + shift)
    return pv.PolyData(np.array(points), faces=np.array(faces))


def vtk_mesh(data: Any) -> VtkMesh:
    return VtkMesh(data, "a mesh")


def surface_of(points: Any, faces: Any) -> VtkMesh:
    return vtk_mesh(pv.PolyData.from_regular_faces(points, faces))


def vtk_sizes(data: pv.DataSet, name: str) -> np.ndarray:
    sizes = vtkCellSizeFilter()
    sizes.SetInputData(data)
    sizes.Update()
    return np.array(pv.wrap(sizes.GetOutput()).cell_data[name])


@few
@given(SEEDS)
def test_volumes_of_all_linear_cells_are_vtks_and_those_of_their_polyhedra(seed: int) -> None:
    grid = volume_mesh(np.random.default_rng(seed))
    expected = np.abs(vtk_sizes(grid, "Volume"))
    assert cell_volumes(vtk_mesh(grid)) == pytest.approx(expected, rel=1e-9)
    assert cell_volumes(vtk_mesh(as_polyhedra(grid))) == pytest.approx(expected, rel=1e-9)


@few
@given(SEEDS)
def test_the_centroid_of_a_cell_moves_with_it_and_is_that_of_its_polyhedron(seed: int) -> None:
    grid = volume_mesh(np.random.default_rng(seed))
    centroids = cell_centres(vtk_mesh(grid), "centroid")
    tetra = grid.celltypes == 10
    assert centroids[tetra] == pytest.approx(cell_centres(vtk_mesh(grid))[tetra])
    # The first moment of a cell is the sum of those of the tetrahedra that VTK cuts it into.
    grid.cell_data["owner"] = np.arange(grid.n_cells)
    cut = grid.triangulate()
    weights = np.abs(vtk_sizes(cut, "Volume"))
    owners = np.array(cut.cell_data["owner"])
    moments = cell_centres(vtk_mesh(cut)) * weights[:, None]
    expected = (
        np.stack([np.bincount(owners, column) for column in moments.T], 1) / np.bincount(owners, weights)[:, None]
    )
    assert centroids == pytest.approx(expected, rel=1e-7, abs=1e-7)
    assert cell_centres(vtk_mesh(as_polyhedra(grid)), "centroid") == pytest.approx(centroids)


@few
@given(SEEDS)
def test_areas_normals_and_centroids_of_plane_polygons_are_vtks(seed: int) -> None:
    surface = plane_polygons(np.random.default_rng(seed))
    mesh = vtk_mesh(surface)
    assert cell_areas(mesh) == pytest.approx(vtk_sizes(surface, "Area"), rel=1e-6, abs=1e-9)
    normals = surface.compute_normals(
        cell_normals=True, point_normals=False, consistent_normals=False, split_vertices=False, inplace=False
    )
    is_thin = cell_areas(mesh) < 1e-3  # VTK's own are float32
    expected = np.array(normals.cell_data["Normals"])
    assert cell_normals(mesh)[~is_thin] == pytest.approx(expected[~is_thin], abs=1e-3)
    assert (cell_normals(mesh, "flip") == -cell_normals(mesh)).all()
    cut = surface.triangulate()
    owners = np.repeat(np.arange(surface.n_cells), [cell.n_points - 2 for cell in surface.cell])
    weights = vtk_sizes(cut, "Area")
    moments = cell_centres(vtk_mesh(cut)) * weights[:, None]
    sums = np.stack([np.bincount(owners, column) for column in moments.T], 1)
    assert cell_centres(mesh, "centroid")[~is_thin] == pytest.approx(
        (sums / np.bincount(owners, weights)[:, None])[~is_thin], rel=1e-6, abs=1e-6
    )


@few
@given(SEEDS)
def test_the_mean_of_the_vertices_is_vtks_centre_in_blocks_of_any_size(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = volume_mesh(rng)
    kept = grid.extract_cells(np.isin(grid.celltypes, (10, 11, 12, 13)).tolist())
    if not kept.n_cells:
        return
    centres = vtkCellCenters()
    centres.SetInputData(kept)
    centres.Update()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "_BLOCK_CELLS", int(rng.integers(1, 14)))
        assert cell_centres(vtk_mesh(kept)) == pytest.approx(pv.wrap(centres.GetOutput()).points, rel=1e-5, abs=1e-5)


def test_pixels_and_strips_are_the_polygons_that_vtk_draws() -> None:
    points = np.array([(0, 0, 0), (2, 0, 0), (0, 3, 0), (2, 3, 0), (0, 7, 0)], np.float32)
    cells = np.array([4, 0, 1, 2, 3, 5, 0, 1, 2, 3, 4])
    mesh = vtk_mesh(pv.UnstructuredGrid(cells, np.array([8, 6], np.uint8), points))
    assert cell_areas(mesh).tolist() == [6, 10]
    assert cell_normals(mesh).tolist() == [[0, 0, 1], [0, 0, 1]]
    assert cell_centres(mesh, "centroid").tolist() == [
        [1, 1.5, 0],
        pytest.approx([1 * 0.6 + 0.4 * 2 / 3, 0.6 * 1.5 + 0.4 * 13 / 3, 0]),
    ]


def test_positions_of_openfoams_surface_are_its_centroids_areas_and_inward_normals() -> None:
    mesh = vtk_mesh(pv.read(AHMED_VTK / "slant_25" / "boundary.vtp"))
    run = AHMED / "slant_25"
    position, area, outward = (
        torch.load(run / f"surface_{name}.pt").numpy() for name in ("position", "area", "normals")
    )
    distances = np.linalg.norm(cell_centres(mesh, "centroid") - position, axis=1)
    assert distances.max() < 2e-7
    assert np.linalg.norm(cell_centres(mesh) - position, axis=1).max() < 3e-3
    assert cell_areas(mesh) == pytest.approx(area, rel=1e-6)
    for mode in ("flip", "orient"):
        assert cell_normals(mesh, mode) == pytest.approx(outward, abs=1e-6)


def test_centroids_of_openfoams_cells_are_those_that_it_writes() -> None:
    grid = pv.read(DATA / "ahmed_cells.vtu")
    assert sorted(set(grid.celltypes.tolist())) == [12, 13, 42]
    distances = np.linalg.norm(cell_centres(vtk_mesh(grid), "centroid") - grid.cell_data["C"], axis=1)
    assert distances.max() < 5e-7
    assert np.linalg.norm(cell_centres(vtk_mesh(grid)) - grid.cell_data["C"], axis=1).max() > 1e-3


@few
@given(SEEDS)
def test_randomly_turned_faces_of_two_bodies_are_all_turned_outward(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bodies = [pv.Cube().triangulate().subdivide(1), pv.Sphere(center=(3, 0, 0), theta_resolution=6, phi_resolution=5)]
    surface = pv.merge(bodies, merge_points=False).extract_surface(algorithm=None)
    faces = surface.regular_faces.copy()
    middles = np.where(surface.points[faces].mean(1)[:, :1] > 1.5, (3, 0, 0), (0, 0, 0))
    is_turned = rng.random(len(faces)) < rng.uniform(0, 1)
    faces[is_turned] = faces[is_turned][:, ::-1]
    apart = surface.points[faces].reshape(-1, 3)  # every triangle has points of its own, as a patch's seam has
    apart += rng.uniform(-1e-8, 1e-8, apart.shape)
    mesh = surface_of(apart, np.arange(len(apart)).reshape(-1, 3))
    outward = cell_centres(mesh) - middles
    assert (np.vecdot(cell_normals(mesh, "orient"), outward) > 0).all()
    assert (outward_signs(mesh) == np.where(np.vecdot(cell_normals(mesh), outward) > 0, 1, -1)).all()


def test_open_parts_keep_to_the_way_in_which_most_of_each_is_turned() -> None:
    surface = pv.Cube().triangulate().subdivide(2)
    faces = surface.regular_faces[surface.points[surface.regular_faces].mean(1)[:, 2] > -0.5 + 1e-6].copy()  # no floor
    faces[:5] = faces[:5, ::-1]
    mesh = surface_of(surface.points, faces[:, ::-1])
    assert (np.vecdot(cell_normals(mesh, "orient"), cell_centres(mesh)) > 0).all()


def test_a_moebius_strip_cannot_be_turned_outward() -> None:
    angles = np.linspace(0, np.pi, 9)[:-1]
    radii = np.stack([1 - 0.3 * np.cos(angles), 1 + 0.3 * np.cos(angles)], 1)
    heights = 0.3 * np.stack([-np.sin(angles), np.sin(angles)], 1)
    points = np.stack([radii * np.cos(2 * angles)[:, None], radii * np.sin(2 * angles)[:, None], heights], 2).reshape(
        -1, 3
    )
    ring = [[2 * i, 2 * i + 1, 2 * i + 3, 2 * i + 2] for i in range(7)] + [[14, 15, 0, 1]]
    with pytest.raises(InvalidSample, match="but one side"):
        outward_signs(surface_of(points, ring))


def test_points_share_the_area_of_their_polygons_and_its_direction() -> None:
    sphere = pv.Sphere(theta_resolution=40, phi_resolution=40)
    mesh = vtk_mesh(sphere)
    assert point_areas(mesh).sum() == pytest.approx(sphere.area, rel=1e-6)
    assert (np.vecdot(point_normals(mesh), sphere.points) > 0.499).all()
    assert (point_normals(mesh, "flip") == -point_normals(mesh)).all()


def test_a_polygon_without_area_has_the_normal_zero_and_the_mean_as_centroid() -> None:
    points = np.array([(0, 0, 0), (1, 0, 0), (2, 0, 0)], np.float32)
    mesh = surface_of(points, [[0, 1, 2]])
    assert cell_normals(mesh).tolist() == [[0, 0, 0]]
    assert cell_centres(mesh, "centroid").tolist() == [[1, 0, 0]]


def test_a_polygon_with_a_point_that_is_not_finite_has_no_normal_rather_than_none() -> None:
    points = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (np.nan, 1, 0), (np.inf, 1, 0)], np.float32)
    mesh = surface_of(points, [[0, 1, 2], [1, 3, 2], [1, 4, 2]])
    for values in (cell_normals(mesh), point_normals(mesh), cell_areas(mesh), cell_centres(mesh, "centroid")):
        assert np.isfinite(values[0]).all()
        assert not np.isfinite(values[1:3]).all(axis=-1).any()
    with pytest.raises(InvalidSample, match="points are not finite"):
        cell_normals(mesh, "orient")


def mesh_of(points: np.ndarray, block: CellBlock) -> Any:
    """Make a mesh of cells that VTK itself would not hold."""
    return SimpleNamespace(n_cells=len(block.types), points=lambda: points, cell_blocks=lambda _: [block])


def cell_of(points: list[int], cell_type: int) -> Any:
    offsets, types = np.array([0, len(points)]), np.array([cell_type], np.uint8)
    return mesh_of(np.random.default_rng(0).normal(size=(8, 3)), CellBlock(0, offsets, np.array(points), types))


@pytest.mark.parametrize(
    ("measure", "mesh", "problem"),
    [
        (cell_areas, cell_of([0, 1], 3), "cell 0 is a line"),
        (cell_areas, cell_of([0, 1, 2, 3], 10), "cell 0 is a volume cell"),
        (cell_volumes, cell_of([0, 1, 2], 5), "cell 0 is a polygon"),
        (cell_volumes, cell_of([*range(8), 0, 1], 24), "curved or special"),
        (cell_volumes, cell_of([*range(7)], 12), "cannot have 7 points"),
        (cell_volumes, cell_of([0, 1, 2, 3], 42), "gives no faces of polyhedron 0"),
        (cell_areas, cell_of([0, 1, 8], 5), "name points 0 to 8, but there are 8"),
        (cell_areas, cell_of([0, 1, -1], 5), "name points -1 to 1"),
        (cell_centres, cell_of([], 0), "no points"),
    ],
)
def test_what_has_no_such_measure_is_refused_by_the_number_of_its_cell(measure: Any, mesh: Any, problem: str) -> None:
    with pytest.raises(InvalidSample, match=problem):
        measure(mesh)


def test_a_polyhedron_with_a_face_missing_has_no_volume() -> None:
    whole = vtk_mesh(as_polyhedra(pv.ImageData(dimensions=(2, 2, 2)).cast_to_unstructured_grid()))
    assert cell_volumes(whole) == pytest.approx([1])
    [block] = whole.cell_blocks(1)
    assert block.faces is not None
    lacking = replace(
        block, faces=PolyhedronFaces(np.array([0, 5]), block.faces.offsets[:-1], block.faces.connectivity)
    )
    with pytest.raises(InvalidSample, match="cell 0 is not closed"):
        cell_volumes(mesh_of(whole.points(), lacking))
