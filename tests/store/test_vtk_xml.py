"""VTK XML files are read as VTK reads them, bit for bit: real ones, and made ones in every encoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkPolyData

from conftest import real_run
from drawpoint_store.data_files import open_data_file
from drawpoint_store.data_files.data_file import MeshFile


def assert_is(mesh: MeshFile, expected: Any, cells: int = 10_000) -> None:
    """Compare all that a mesh holds with a data set of VTK's."""
    assert (mesh.n_points, mesh.n_cells) == (expected.GetNumberOfPoints(), expected.GetNumberOfCells())
    for place, data in (("point", expected.GetPointData()), ("cell", expected.GetCellData())):
        infos = {info.name: info for info in mesh.arrays if info.place == place}
        names = [data.GetArrayName(number) for number in range(data.GetNumberOfArrays())]
        assert list(infos) == names
        for name, info in infos.items():
            values = vtk_to_numpy(data.GetArray(name))  # type: ignore[no-untyped-call]
            assert_same(mesh.read(info), values.reshape(info.n_rows, info.components))
            third = info.n_rows // 3
            assert_same(mesh.read(info, third, 2 * third), mesh.read(info)[third : 2 * third])
    if expected.GetNumberOfPoints():
        assert_same(mesh.points(), vtk_to_numpy(expected.GetPoints().GetData()))  # type: ignore[no-untyped-call]
    blocks = list(mesh.cell_blocks(cells))
    assert all(1 < len(block.offsets) <= cells + 1 for block in blocks)
    types = np.concatenate([np.empty(0, np.uint8), *(block.types for block in blocks)])
    assert types.tolist() == [expected.GetCellType(number) for number in range(expected.GetNumberOfCells())]
    first = 0
    for block in blocks:
        assert block.first == first
        first += len(block.types)
    sizes = np.concatenate([np.empty(0, np.int64), *(np.diff(block.offsets) for block in blocks)])
    points = np.concatenate([np.empty(0, np.int64), *(block.connectivity for block in blocks)])
    arrays = (
        [expected.GetVerts(), expected.GetLines(), expected.GetPolys(), expected.GetStrips()]
        if isinstance(expected, vtkPolyData)
        else [expected.GetCells()]
    )
    offsets = [vtk_to_numpy(array.GetOffsetsArray()) for array in arrays]  # type: ignore[no-untyped-call]
    connectivity = [vtk_to_numpy(array.GetConnectivityArray()) for array in arrays]  # type: ignore[no-untyped-call]
    assert np.array_equal(sizes, np.concatenate([np.diff(each) for each in offsets]))
    assert np.array_equal(points, np.concatenate(connectivity))


def assert_same(values: np.ndarray, expected: np.ndarray) -> None:
    assert values.dtype == expected.dtype
    assert values.shape == expected.shape
    assert values.tobytes() == expected.tobytes()


@pytest.mark.parametrize("run", ["ahmed/slant_25", "motorbike/run_1"])
@pytest.mark.parametrize("file", ["boundary.vtp", "volume.vtu"])
def test_a_real_file_is_read_as_vtk_reads_it(run: str, file: str) -> None:
    path = real_run(run) / file
    with open_data_file(path) as mesh:
        assert isinstance(mesh, MeshFile)
        assert_is(mesh, pyvista.read(path))


def test_a_file_in_parts_is_read_as_one(tmp_path: Path) -> None:
    path = real_run("ahmed/slant_25") / "volume.vtu"
    whole, parts = path.read_bytes(), []
    for number, begin in enumerate(range(0, len(whole), len(whole) // 3)):
        parts.append(tmp_path / f"volume.vtu.{number:02}.part")
        parts[-1].write_bytes(whole[begin : begin + len(whole) // 3])
    with open_data_file(parts) as mesh:
        assert isinstance(mesh, MeshFile)
        assert_is(mesh, pyvista.read(path))
