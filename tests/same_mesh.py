"""Whether a file's mesh is a data set of VTK's: all of it, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkPolyData

from drawpoint_store.data_files.data_file import MeshFile
from drawpoint_store.data_files.vtk_library import VtkMesh


def assert_is(mesh: MeshFile, expected: Any, cells: int = 10_000) -> None:
    """Compare all that a mesh holds with a data set of VTK's."""
    assert (mesh.n_points, mesh.n_cells) == (expected.GetNumberOfPoints(), expected.GetNumberOfCells())
    for place, data in (("point", expected.GetPointData()), ("cell", expected.GetCellData())):
        infos = {info.name: info for info in mesh.arrays if info.place == place}
        active = {array.GetName() for array in (data.GetScalars(), data.GetVectors()) if array is not None}
        assert {name for name, info in infos.items() if info.active} == active
        names = [data.GetArrayName(number) for number in range(data.GetNumberOfArrays())]
        assert sorted(infos) == sorted(names)
        for name, info in infos.items():
            assert_same(mesh.read(info), as_rows(data.GetArray(name)))
            third = info.n_rows // 3
            assert_same(mesh.read(info, third, 2 * third), mesh.read(info)[third : 2 * third])
    if expected.GetNumberOfPoints():
        assert_same(mesh.points(), vtk_to_numpy(expected.GetPoints().GetData()))  # type: ignore[no-untyped-call]  # VTK's has no types
    blocks = list(mesh.cell_blocks(cells))
    assert all(1 < len(block.offsets) <= cells + 1 for block in blocks)
    types = np.concatenate([np.empty(0, np.uint8), *(block.types for block in blocks)])
    assert types.tolist() == [expected.GetCellType(number) for number in range(expected.GetNumberOfCells())]
    first = 0
    for block in blocks:
        assert block.first == first
        first += len(block.types)
    for ours, theirs in zip(joined_faces(mesh, cells), joined_faces(VtkMesh(expected, "a file"), cells), strict=True):
        assert np.array_equal(ours, theirs)
    sizes = np.concatenate([np.empty(0, np.int64), *(np.diff(block.offsets) for block in blocks)])
    points = np.concatenate([np.empty(0, np.int64), *(block.connectivity for block in blocks)])
    arrays = (
        [expected.GetVerts(), expected.GetLines(), expected.GetPolys(), expected.GetStrips()]
        if isinstance(expected, vtkPolyData)
        else [expected.GetCells()]
    )
    offsets = [vtk_to_numpy(array.GetOffsetsArray()) for array in arrays]  # type: ignore[no-untyped-call]  # VTK's has no types
    connectivity = [vtk_to_numpy(array.GetConnectivityArray()) for array in arrays]  # type: ignore[no-untyped-call]  # VTK's has no types
    assert np.array_equal(sizes, np.concatenate([np.diff(each) for each in offsets]))
    assert np.array_equal(points, np.concatenate(connectivity))


def joined_faces(mesh: MeshFile, cells: int) -> list[np.ndarray]:
    """Return how many faces each cell has, how many points each face, and which, of all blocks together."""
    parts = [[np.empty(0, np.int64)] for _ in range(3)]
    for block in mesh.cell_blocks(cells):
        faces = block.faces
        if faces is None:
            parts[0].append(np.zeros(len(block.types), np.int64))
        else:
            for part, values in zip(
                parts, (np.diff(faces.cells), np.diff(faces.offsets), faces.connectivity), strict=True
            ):
                part.append(values)
    return [np.concatenate(part) for part in parts]


def as_rows(array: Any) -> np.ndarray:
    shape = array.GetNumberOfTuples(), array.GetNumberOfComponents()
    if not array.IsA("vtkBitArray"):
        return np.asarray(vtk_to_numpy(array)).reshape(shape)  # type: ignore[no-untyped-call]  # VTK's has no types
    values = [array.GetValue(number) for number in range(shape[0] * shape[1])]
    return np.array(values, np.bool_).reshape(shape)


def assert_same(values: np.ndarray, expected: np.ndarray) -> None:
    assert values.dtype == expected.dtype
    assert values.shape == expected.shape
    assert values.tobytes() == expected.tobytes()
