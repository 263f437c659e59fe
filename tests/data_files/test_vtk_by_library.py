"""What our reader of VTK XML files leaves to VTK, and files that name others, are read as VTK reads them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv
from vtkmodules.vtkIOParallelXML import vtkXMLPPolyDataWriter, vtkXMLPUnstructuredGridWriter

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files import open_data_file
from drawpoint_store.data_files.data_file import MeshFile
from drawpoint_store.data_files.vtk_library import VtkMesh
from same_mesh import assert_is, assert_same
from vtk_made import Way, appended, extracting, pieces_of, read_by_vtk, with_arrays

ASCII = Way("ascii", "None", 32, big_endian=False, block=64, pieces=1)


def open_mesh(path: Path) -> MeshFile:
    opened = open_data_file(path)
    assert isinstance(opened, MeshFile)
    return opened


def made(suffix: str) -> Any:
    """Make a mesh with arrays, one of them with NaN, whose range VTK cannot read again."""
    image = pv.ImageData(dimensions=(4, 3, 3))
    mesh: Any = (
        pv.Sphere(theta_resolution=6, phi_resolution=5) if suffix == "vtp" else image.cast_to_unstructured_grid()
    )
    mesh.clear_data()
    mesh.cell_data["C"] = np.arange(3.0 * mesh.n_cells).reshape(-1, 3)
    mesh.cell_data["C"][0] = np.nan
    return with_arrays(mesh)


@pytest.mark.parametrize("suffix", ["vtp", "vtu"])
def test_an_ascii_file_is_read_by_vtk(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"mesh.{suffix}"
    ASCII.write(path, made(suffix))
    expected = read_by_vtk(path)
    expected.GetCellData().RemoveArray("text")
    with open_mesh(path) as mesh:
        assert isinstance(mesh, VtkMesh)
        assert_is(mesh, expected, cells=7)


def test_an_array_is_read_only_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "mesh.vtu"
    ASCII.write(path, made("vtu"))
    text = path.read_text()
    path.write_text(text.replace(" nan nan", " nan", 1))
    assert path.read_text() != text
    with open_mesh(path) as mesh:
        arrays = {(array.place, array.name): array for array in mesh.arrays}
        assert mesh.read(arrays["cell", "number"])[:, 0].tolist() == list(range(mesh.n_cells))
        with pytest.raises(InvalidSample, match=f"{path.name} cannot be read, VTK says: "):
            mesh.read(arrays["cell", "C"])
        assert mesh.read(arrays["point", "number"], 2, 4).tolist() == [[2], [3]]


@pytest.mark.parametrize("kind", ["vti", "vtr", "vts"])
def test_a_structured_grid_is_read_as_its_cells(kind: str, tmp_path: Path) -> None:
    image = pv.ImageData(dimensions=(4, 3, 5), spacing=(0.1, 2, 3), origin=(1, 2, 3))
    cast = {"vti": lambda: image, "vtr": image.cast_to_rectilinear_grid, "vts": image.cast_to_structured_grid}
    grid: Any = cast[kind]()
    grid.cell_data["C"] = np.arange(3 * grid.n_cells).reshape(-1, 3)
    grid.point_data["p"] = np.arange(grid.n_points, dtype=np.float32)
    grid.save(tmp_path / f"grid.{kind}")
    with open_mesh(tmp_path / f"grid.{kind}") as mesh:
        expected = grid.cast_to_unstructured_grid()
        np.testing.assert_array_equal(mesh.points(), grid.points)
        assert (
            np.concatenate([b.connectivity for b in mesh.cell_blocks(7)]).tolist()
            == expected.cell_connectivity.tolist()
        )
        for array in mesh.arrays:
            values = grid.cell_data["C"] if array.place == "cell" else grid.point_data["p"][:, None]
            assert_same(mesh.read(array), np.asarray(values))


@pytest.mark.parametrize("suffix", ["vtp", "vtu"])
def test_a_mesh_in_files_of_its_pieces_is_read_in_their_order(suffix: str, tmp_path: Path) -> None:
    mesh = made(suffix)
    mesh.GetCellData().RemoveArray("text")
    extract = extracting(mesh)
    writer: Any = vtkXMLPPolyDataWriter() if suffix == "vtp" else vtkXMLPUnstructuredGridWriter()
    writer.SetInputConnection(extract.GetOutputPort())
    writer.SetFileName(str(tmp_path / f"mesh.p{suffix}"))
    writer.SetNumberOfPieces(3)
    writer.SetStartPiece(0)
    writer.SetEndPiece(2)
    assert writer.Write()
    with open_mesh(tmp_path / f"mesh.p{suffix}") as joined:
        assert_is(joined, appended(pieces_of(mesh, 3)), cells=5)
    (tmp_path / f"mesh_1.{suffix}").unlink()
    with pytest.raises(InvalidSample, match=f"mesh_1.{suffix} cannot be opened: No such file"):
        open_data_file(tmp_path / f"mesh.p{suffix}")


def test_blocks_of_a_multiblock_file_are_read_in_order(tmp_path: Path) -> None:
    first, second, third = made("vtu"), made("vtp"), pv.ImageData(dimensions=(3, 3, 3))
    third.cell_data["number"] = np.arange(third.n_cells, dtype=np.float32)
    pv.MultiBlock([first, pv.MultiBlock([second, None]), third]).save(tmp_path / "case.vtm")
    with open_mesh(tmp_path / "case.vtm") as mesh:
        numbers, centres = (next(a for a in mesh.arrays if (a.place, a.name) == ("cell", n)) for n in ("number", "C"))
        expected = [i for each in (first, second, third) for i in range(each.n_cells)]
        assert mesh.read(numbers)[:, 0].tolist() == expected
        assert mesh.read(numbers, 10, 40)[:, 0].tolist() == expected[10:40]
        np.testing.assert_array_equal(mesh.points(), np.concatenate([first.points, second.points, third.points]))
        blocks = list(mesh.cell_blocks(1000))
        assert [block.first for block in blocks] == [0, first.n_cells, first.n_cells + second.n_cells]
        assert [block.connectivity.min() for block in blocks] == [0, first.n_points, first.n_points + second.n_points]
        with pytest.raises(InvalidSample, match="a piece without the cell array 'C' of 3 components of float64"):
            mesh.read(centres)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("notes.docx", "?", "of no kind that is read; these are: .* .vtp .* .vtu"),
        ("mesh.vtu", "", "no </VTKFile> at its end"),
        ("mesh.vtu", "<VTKFile type='Table' version='1.0'></VTKFile>", "type 'Table'; these are read: ImageData, "),
        ("mesh.vtu", "<html></VTKFile>", "begins with <html>"),
        ("case.vtm", "<VTKFile><vtkMultiBlockDataSet/></VTKFile>", "names no files"),
        ("case.vtm", "<VTKFile><DataSet file='case.vtm'/></VTKFile>", "is a VTK file of type ''"),
    ],
)
def test_what_is_not_read_is_named_with_what_is(name: str, text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InvalidSample, match=f"{path}.*{said}"):
        open_data_file(path)


def test_parts_are_refused_where_they_cannot_be_joined(tmp_path: Path) -> None:
    with pytest.raises(InvalidSample, match=r"absent\.vtu cannot be opened: No such file"):
        open_data_file(tmp_path / "absent.vtu")
    paths = [tmp_path / "a.stl", tmp_path / "b.stl"]
    for path in paths:
        path.write_text("solid")
    with pytest.raises(InvalidSample, match=r"no parts of one file"):
        open_data_file(paths)
    ASCII.write(tmp_path / "mesh.vtu", made("vtu"))
    whole = (tmp_path / "mesh.vtu").read_bytes()
    paths = [tmp_path / "mesh.vtu.00.part", tmp_path / "mesh.vtu.01.part"]
    paths[0].write_bytes(whole[:500])
    paths[1].write_bytes(whole[500:])
    with pytest.raises(InvalidSample, match="join them into one file"):
        open_data_file(paths)


WITHOUT = """
import sys
missing, path = sys.argv[1:]
sys.modules.update(dict.fromkeys(filter(None, missing.split(",")), None))
from drawpoint.errors import ExtraMissing
from drawpoint_store.data_files import open_data_file
try:
    with open_data_file(path) as mesh:
        values = [mesh.read(array) for array in mesh.arrays]
    print(len(values), "vtkmodules" in sys.modules)
except ExtraMissing as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("way", "missing", "said"),
    [
        (ASCII, "vtkmodules", r"needs vtkmodules, .*'.\[vtk\]'"),
        (Way("inline", "ZLib", 32, False, 64, 1), "", "3 False"),
        (Way("inline", "ZLib", 32, False, 64, 1), "pybase64", r"needs pybase64, .*'.\[convert\]'"),
        (Way("raw", "ZLib", 32, False, 64, 1), "isal", r"needs isal, .*'.\[convert\]'"),
        (Way("raw", "LZ4", 32, False, 64, 1), "lz4", r"needs lz4, .*'.\[convert\]'"),
        (Way("raw", "None", 32, False, 64, 1), "isal,lz4,pybase64,vtkmodules", "3 True"),
    ],
)
def test_a_library_is_imported_only_where_a_file_needs_it(way: Way, missing: str, said: str, tmp_path: Path) -> None:
    way.write(tmp_path / "mesh.vtu", made("vtu"))
    command = [sys.executable, "-c", WITHOUT, missing, str(tmp_path / "mesh.vtu")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(said, result.stdout)
