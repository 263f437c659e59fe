"""Legacy .vtk and .stl files, as VTK and others write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from vtkmodules.vtkIOGeometry import vtkSTLReader, vtkSTLWriter
from vtkmodules.vtkIOLegacy import vtkDataSetWriter

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.data_file import DataFile, MeshFile
from drawpoint_store.data_files.geometry import cell_areas, cell_centres
from drawpoint_store.data_files.normals import cell_normals
from drawpoint_store.data_files.opening import open_data_file

RNG = np.random.default_rng(0)


def write(writer: vtkDataSetWriter | vtkSTLWriter, path: Path, data: pv.DataSet, *, binary: bool) -> Path:
    writer.SetFileName(str(path))
    writer.SetFileType(2 if binary else 1)
    writer.SetInputData(data)
    assert writer.Write()
    return path


def write_vtk(path: Path, data: pv.DataSet, *, binary: bool) -> Path:
    return write(vtkDataSetWriter(), path, data, binary=binary)


def car(kind: str) -> pv.DataSet:
    """Make a mesh as ShapeNet-Car has them: the active scalars and vectors are what counts."""
    data: pv.DataSet = (
        pv.Sphere() if kind == "PolyData" else pv.ImageData(dimensions=(5, 4, 3)).cast_to_unstructured_grid()
    )
    data.clear_data()
    for attributes, n in ((data.point_data, data.n_points), (data.cell_data, data.n_cells)):
        attributes["other"] = RNG.normal(size=n)
        attributes["a name (of 2)"] = RNG.normal(size=n).astype(np.float32)
        attributes["U"] = RNG.normal(size=(n, 3)).astype(np.float32)
        attributes.active_scalars_name = "a name (of 2)"
        attributes.active_vectors_name = "U"
    return data


def mesh_of(file: DataFile) -> MeshFile:
    assert isinstance(file, MeshFile)
    return file


@pytest.mark.parametrize("kind", ["PolyData", "UnstructuredGrid"])
@pytest.mark.parametrize("binary", [True, False])
def test_a_legacy_file_gives_all_arrays_and_tells_the_active_ones(kind: str, binary: bool, tmp_path: Path) -> None:
    data = car(kind)
    with open_data_file(write_vtk(tmp_path / "quadpress_smpl.vtk", data, binary=binary)) as file:
        mesh = mesh_of(file)
        assert np.allclose(mesh.points(), data.points, rtol=1e-5)
        assert {(array.place, array.name) for array in mesh.arrays if array.active} == {
            (place, name) for place in ("cell", "point") for name in ("a name (of 2)", "U")
        }
        assert len(mesh.arrays) == 6
        for array in mesh.arrays:
            expected = (data.point_data if array.place == "point" else data.cell_data)[array.name]
            rows = mesh.read(array, 3, 17)
            assert rows.dtype == expected.dtype
            assert np.allclose(rows, expected.reshape(len(expected), -1)[3:17], rtol=0 if binary else 1e-5)
        assert np.allclose(cell_centres(mesh), data.cell_centers().points, atol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
def test_a_legacy_file_that_was_cut_short_is_refused_or_lacks_whole_arrays(binary: bool, tmp_path: Path) -> None:
    path = write_vtk(tmp_path / "hexvelo_smpl.vtk", car("UnstructuredGrid"), binary=binary)
    data = path.read_bytes()
    with open_data_file(path) as file:
        whole = {(array.place, array.name): file.read(array).copy() for array in file.arrays}
    refused = 0
    for keep in np.linspace(0, len(data) - 1, 60).astype(int).tolist():
        path.write_bytes(data[:keep])
        try:
            file = open_data_file(path)
        except InvalidSample:
            refused += 1
            continue
        with file:
            for array in file.arrays:
                assert np.array_equal(file.read(array), whole[array.place, array.name])
    assert refused > 50


def test_polyhedra_of_a_file_that_vtk_reads_keep_their_faces(tmp_path: Path) -> None:
    grid = pv.read(Path(__file__).parent / "data" / "ahmed_cells.vtu")
    with open_data_file(write_vtk(tmp_path / "cells.vtk", grid, binary=True)) as file:
        distances = np.linalg.norm(cell_centres(mesh_of(file), "centroid") - grid.cell_data["C"], axis=1)
    assert distances.max() < 5e-7


def write_stl(path: Path, *, binary: bool) -> pv.PolyData:
    surface = pv.Sphere(theta_resolution=7, phi_resolution=6)
    write(vtkSTLWriter(), path, surface, binary=binary)
    return surface


@pytest.mark.parametrize("binary", [True, False])
def test_an_stl_file_gives_its_triangles_in_order(binary: bool, tmp_path: Path) -> None:
    path = tmp_path / "body.stl"
    surface = write_stl(path, binary=binary)
    if binary:  # as some programs write it, though it should not begin so
        path.write_bytes(b"solid" + path.read_bytes()[5:])
    with open_data_file(path) as file:
        mesh = mesh_of(file)
        assert (mesh.n_cells, mesh.n_points) == (surface.n_cells, 3 * surface.n_cells)
        corners = surface.points[surface.regular_faces].reshape(-1, 3)
        assert np.allclose(mesh.points(), corners, rtol=1e-5, atol=1e-6)
        assert cell_areas(mesh).sum() == pytest.approx(surface.area, rel=1e-5)
        normals, solid = mesh.arrays
        assert np.allclose(cell_normals(mesh), mesh.read(normals), atol=1e-4)
        assert not mesh.read(solid).any()
    reader = vtkSTLReader()
    reader.SetFileName(str(path))
    reader.Update()
    assert pv.wrap(reader.GetOutput()).n_cells == surface.n_cells


FACET = """  Facet normal 0 0 1
    outer loop
      vertex 0 0 {z}
      vertex 1.5e-1 0 {z}
      vertex 0 1 {z}
    endloop
  endfacet
"""


def test_the_solids_of_an_stl_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "drivaer_1.stl"
    facets = [FACET.format(z=z) for z in range(3)]
    path.write_text(
        f"solid wheel vertex 1\r\n{facets[0]}{facets[1]}endsolid wheel vertex 1\nsolid\nendsolid\nsolid body\n"
        f"{facets[2]}endsolid body\n"
    )
    with open_data_file(path) as file:
        mesh = mesh_of(file)
        assert mesh.read(mesh.arrays[1])[:, 0].tolist() == [0, 0, 2]
        assert cell_centres(mesh)[:, 2].tolist() == [0, 1, 2]


@pytest.mark.parametrize("binary", [True, False])
def test_an_stl_file_that_was_cut_short_is_refused(binary: bool, tmp_path: Path) -> None:
    path = tmp_path / "body.stl"
    write_stl(path, binary=binary)
    data = path.read_bytes()
    for keep in (0, 10, 83, 84, len(data) // 2, len(data) - 12):
        path.write_bytes(data[:keep])
        with pytest.raises(InvalidSample, match=str(path)):
            open_data_file(path)


def test_an_stl_facet_of_four_corners_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "body.stl"
    path.write_text(f"solid\n{FACET.format(z=1).replace('vertex 0 1', 'vertex 1 1 1 vertex 0 1')}endsolid\n")
    with pytest.raises(InvalidSample, match="solid 0 in it is not a list of triangles"):
        open_data_file(path)
