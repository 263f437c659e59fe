"""Data sets that VTK's own library has in memory, as meshes with arrays; and how it is made to report its errors."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint.extras import importing
from drawpoint_store.data_files.cell_shapes import gather
from drawpoint_store.data_files.data_file import ArrayInfo, CellBlock, Closing, Place, PolyhedronFaces
from drawpoint_store.data_files.polydata_types import POLYDATA_SECTIONS, polydata_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vtkmodules.vtkCommonCore import vtkDataArray
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkDataSet

    LoadArray = Callable[[ArrayInfo], vtkDataArray | None]


class VtkMesh(Closing):
    """A vtkDataSet as a MeshFile; `name` is the file's, for errors.

    Grids of other kinds than PolyData and UnstructuredGrid become the latter, with the same order of points and cells.
    `arrays` are those of the data set, unless they are given with the function `load` that gets the values of one.
    """

    def __init__(
        self, dataset: vtkDataSet, name: str, arrays: list[ArrayInfo] | None = None, load: LoadArray | None = None
    ) -> None:
        self._name = name
        self._dataset = explicit(dataset)
        self._load = load or self._find
        self._loaded: tuple[ArrayInfo, np.ndarray[Any, Any]] | None = None
        self.n_points = int(self._dataset.GetNumberOfPoints())
        self.n_cells = int(self._dataset.GetNumberOfCells())
        self.arrays = [*self._infos("point"), *self._infos("cell")] if arrays is None else arrays

    def read(self, array: ArrayInfo, first: int = 0, stop: int | None = None) -> np.ndarray[Any, Any]:
        """Return rows `first` to `stop` of an array, shape (n, components), in its dtype."""
        stop = array.stop_of(first, stop)
        if self._loaded is None or self._loaded[0] != array:
            self._loaded = None
            source = self._load(array)
            if source is None:
                raise InvalidSample(f"{self._name} has no {array.place} array {array.name!r} that VTK can read.")
            values = _as_numpy(source)
            if values.size != array.n_rows * array.components or values.dtype.name != array.dtype:
                raise InvalidSample(
                    f"{self._name} is damaged: array {array.name!r} has {values.size:,} values of {values.dtype} where "
                    f"{array.n_rows:,} {array.place}s with {array.components} of {array.dtype} each are expected."
                )
            self._loaded = array, values.reshape(array.n_rows, array.components)
        return self._loaded[1][first:stop]

    def points(self) -> np.ndarray[Any, Any]:
        """Return the points, shape (n_points, 3), in the file's dtype."""
        points = self._dataset.GetPoints() if self.n_points else None
        return np.empty((0, 3), np.float32) if points is None else _as_numpy(points.GetData()).reshape(-1, 3)

    def cell_blocks(self, cells: int) -> Iterator[CellBlock]:
        """Yield all cells in blocks of at most `cells`, in VTK's order."""
        begin = 0
        if self._dataset.IsA("vtkPolyData"):
            for section in POLYDATA_SECTIONS:
                array = getattr(self._dataset, f"Get{section}")()
                for block in self._blocks(array, begin, cells):
                    yield CellBlock(*block, polydata_types(section, np.diff(block[1])))
                begin += array.GetNumberOfCells()
        elif self.n_cells:
            types = _as_numpy(self._dataset.GetCellTypes()).reshape(-1)
            for block in self._blocks(self._dataset.GetCells(), 0, cells):
                stop = block[0] + len(block[1]) - 1
                yield CellBlock(*block, types[block[0] : stop], self._polyhedron_faces(block[0], stop))

    def _blocks(
        self, array: vtkCellArray, begin: int, cells: int
    ) -> Iterator[tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        count = int(array.GetNumberOfCells())
        if not count:
            return
        offsets, points = _ragged(array)
        if (np.diff(offsets) < 0).any() or offsets[0] or offsets[-1] > points.size:
            raise InvalidSample(f"{self._name} is damaged: the offsets of its cells do not ascend, or go too far.")
        if points.size and (points.min() < 0 or points.max() >= self.n_points):
            raise InvalidSample(
                f"{self._name} is damaged: its cells name points from {points.min():,} to {points.max():,} of "
                f"{self.n_points:,}."
            )
        for first in range(0, count, cells):
            ends = offsets[first : min(first + cells, count) + 1]
            yield begin + first, ends - ends[0], points[ends[0] : ends[-1]]

    def _polyhedron_faces(self, first: int, stop: int) -> PolyhedronFaces | None:
        """Return the faces of the polyhedra from cell `first` to `stop`, None if the grid has none."""
        of_cells, of_faces = self._dataset.GetPolyhedronFaceLocations(), self._dataset.GetPolyhedronFaces()
        if of_cells is None or of_faces is None:
            return None
        (ends, numbers), (begins, points) = _ragged(of_cells), _ragged(of_faces)
        ends = ends[first : stop + 1]
        chosen = numbers[ends[0] : ends[-1]]
        return PolyhedronFaces(ends - ends[0], *gather(points, begins[chosen], begins[chosen + 1] - begins[chosen]))

    def _infos(self, place: Place) -> Iterator[ArrayInfo]:
        data = self._data(place)
        active = {each.GetName() for each in (data.GetScalars(), data.GetVectors()) if each is not None}
        for number in range(data.GetNumberOfArrays()):
            array = data.GetAbstractArray(number)
            if array.IsA("vtkDataArray"):  # others hold text
                name, n_rows, components = array.GetName(), array.GetNumberOfTuples(), array.GetNumberOfComponents()
                dtype = numpy_dtype(array.GetDataType())
                yield ArrayInfo(name or "", place, dtype, n_rows, components, array.GetName() in active)

    def _find(self, array: ArrayInfo) -> vtkDataArray | None:
        found: vtkDataArray | None = self._data(array.place).GetArray(array.name)
        return found

    def _data(self, place: Place) -> Any:
        return self._dataset.GetPointData() if place == "point" else self._dataset.GetCellData()

    def close(self) -> None:
        """Let go of the data set."""
        self._loaded = None
        del self._dataset


def numpy_dtype(vtk_type: int) -> str:
    """Return the name of NumPy's dtype for a number of vtkType.h; 1, VTK_BIT, is bool."""
    with importing("vtk", "reading this file"):
        from vtkmodules.util.numpy_support import get_numpy_array_type  # noqa: PLC0415  VTK is imported when needed
    if vtk_type == 1:
        return "bool"
    return np.dtype(get_numpy_array_type(vtk_type)).name  # type: ignore[no-untyped-call]  # VTK's has no types


def _as_numpy(array: vtkDataArray) -> np.ndarray[Any, Any]:
    from vtkmodules.util.numpy_support import vtk_to_numpy  # noqa: PLC0415  VTK is imported when needed

    if array.GetDataType() == 1:  # bits, which VTK's function reads of arrays with one component alone
        packed: Any = array  # which has NumPy's buffer interface, and does not say so
        return np.unpackbits(np.frombuffer(packed, np.uint8), count=array.GetNumberOfValues()).astype(np.bool_)
    values: np.ndarray[Any, Any] = vtk_to_numpy(array)  # type: ignore[no-untyped-call]  # VTK's has no types
    return values


def _ragged(cells: vtkCellArray) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return where the rows of VTK's ragged array begin and end, and their values, both int64 and not copied."""
    cells.ConvertTo64BitStorage()
    offsets, values = (_as_numpy(each).reshape(-1) for each in (cells.GetOffsetsArray(), cells.GetConnectivityArray()))
    return offsets, values


def explicit(dataset: vtkDataSet) -> Any:
    """Return a data set whose points and cells are written out."""
    if dataset.IsA("vtkPolyData") or dataset.IsA("vtkUnstructuredGrid"):
        return dataset
    from vtkmodules.vtkFiltersCore import vtkAppendFilter  # noqa: PLC0415  VTK is imported when needed

    append = vtkAppendFilter()
    if not dataset.IsA("vtkPointSet"):
        append.SetOutputPointsPrecision(append.DOUBLE_PRECISION)
    append.AddInputData(dataset)
    append.Update()
    return append.GetOutput()


@contextmanager
def vtk_errors(name: str, *, or_warnings: bool = False) -> Iterator[None]:
    """Raise InvalidSample with the `name` of a file for the first error that VTK reports in the block, on any object.

    VTK prints errors and goes on with what it has, often an empty data set. Some of its readers only warn that bytes
    are missing, and give what was in memory before: `or_warnings` makes that an error too.
    """
    with importing("vtk", f"reading {name}"):
        from vtkmodules.vtkCommonCore import (  # noqa: PLC0415  VTK is imported when needed
            vtkLogger,
            vtkOutputWindow,
            vtkStringOutputWindow,
        )

    before, window = vtkOutputWindow.GetInstance(), vtkStringOutputWindow()
    verbosity = vtkLogger.GetCurrentVerbosityCutoff()
    vtkOutputWindow.SetInstance(window)
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtkOutputWindow.SetInstance(before)
        vtkLogger.SetStderrVerbosity(vtkLogger.ConvertToVerbosity(verbosity))
    reports = re.split("(ERROR|Warning): ", str(window.GetOutput()))
    for kind, text in zip(reports[1::2], reports[2::2], strict=True):
        said = next((line.partition("): ")[2] for line in text.splitlines() if "): " in line), text).strip()
        # VTK writes "nan" as the range of an array with NaN, and cannot read that.
        if (kind == "ERROR" or or_warnings) and not said.startswith("Error reading InformationKey"):
            raise InvalidSample(f"{name} cannot be read, VTK says: {said[:300]}")
