"""Meshes for tests of VTK's files: strategies for meshes and encodings, and VTK's own writers and readers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkBitArray, vtkIdList, vtkPoints, vtkStringArray
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData, vtkUnstructuredGrid
from vtkmodules.vtkFiltersCore import vtkAppendFilter, vtkAppendPolyData
from vtkmodules.vtkFiltersParallel import vtkExtractPolyDataPiece, vtkExtractUnstructuredGridPiece
from vtkmodules.vtkIOXML import (
    vtkXMLPolyDataReader,
    vtkXMLPolyDataWriter,
    vtkXMLUnstructuredGridReader,
    vtkXMLUnstructuredGridWriter,
)

DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "bit")
# VTK's number of a cell type, and how many points such a cell has: triangle, quad, polygon, tetra, hexahedron, wedge,
# pyramid, vertex, polyline.
SIZES = {5: 3, 9: 4, 7: 6, 10: 4, 12: 8, 13: 6, 14: 5, 1: 1, 4: 4}
TETRA_FACES = [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]
POLYHEDRON = 42
# VTK writes names as they are, so that those with marks of XML make files that it cannot read itself.
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="<>&\"'", exclude_categories=["C", "Z"]), min_size=1)


@dataclass(frozen=True)
class Way:
    """A way to write a file."""

    mode: str
    compressor: str
    header_bits: int
    big_endian: bool
    block: int
    pieces: int

    def write(self, path: Path, mesh: Any) -> None:
        is_poly = isinstance(mesh, vtkPolyData)
        writer: Any = (vtkXMLPolyDataWriter if is_poly else vtkXMLUnstructuredGridWriter)()
        if self.pieces > 1:
            # A writer asks for its pieces by the pipeline, which does not keep its filters alive.
            extract = extracting(mesh)
            writer.SetInputConnection(extract.GetOutputPort())
            writer.SetNumberOfPieces(self.pieces)
        else:
            writer.SetInputData(mesh)
        writer.SetFileName(str(path))
        {"inline": writer.SetDataModeToBinary, "ascii": writer.SetDataModeToAscii}.get(
            self.mode, writer.SetDataModeToAppended
        )()
        writer.SetEncodeAppendedData(self.mode == "base64")
        getattr(writer, f"SetCompressorTypeTo{self.compressor}")()
        if self.compressor != "None":
            writer.SetBlockSize(self.block)
        getattr(writer, f"SetHeaderTypeToUInt{self.header_bits}")()
        (writer.SetByteOrderToBigEndian if self.big_endian else writer.SetByteOrderToLittleEndian)()
        assert writer.Write()


BINARY_WAYS = st.builds(
    Way,
    mode=st.sampled_from(["inline", "base64", "raw"]),
    compressor=st.sampled_from(["None", "ZLib", "LZ4", "LZMA"]),
    header_bits=st.sampled_from([32, 64]),
    big_endian=st.booleans(),
    block=st.sampled_from([8, 64, 1024]),
    pieces=st.integers(1, 3),
)


def extracting(mesh: Any) -> Any:
    """Return the filter that gives any piece of a mesh."""
    extract: Any = (vtkExtractPolyDataPiece if isinstance(mesh, vtkPolyData) else vtkExtractUnstructuredGridPiece)()
    extract.CreateGhostCellsOff()
    extract.SetInputData(mesh)
    return extract


def read_by_vtk(path: Path) -> Any:
    """Read a file whole by VTK."""
    reader = vtkXMLPolyDataReader() if path.suffix == ".vtp" else vtkXMLUnstructuredGridReader()
    reader.SetFileName(str(path))
    reader.Update()
    return reader.GetOutput()


def pieces_of(mesh: Any, count: int) -> list[Any]:
    """Return so many pieces of a mesh, some of them without cells."""
    filters = [extracting(mesh) for _ in range(count)]
    for number, extract in enumerate(filters):
        extract.UpdatePiece(number, count, 0)
    return [extract.GetOutput() for extract in filters]


def appended(pieces: list[Any]) -> Any:
    """Return pieces of a mesh after each other, which is what a file with these pieces holds.

    VTK 9.7 reads such a file otherwise, and wrongly, where the first pieces have points but no cells of some kind (the
    point numbers of the next piece are those of the first), or where pieces have both polygons and strips (their
    values change places).
    """
    append: Any = (vtkAppendPolyData if isinstance(pieces[0], vtkPolyData) else vtkAppendFilter)()
    for piece in pieces:
        append.AddInputData(piece)
    append.Update()
    return append.GetOutput()


@st.composite
def bare_meshes(draw: st.DrawFn, kinds: tuple[str, ...] = ("vtp", "vtu"), point_dtypes: str = "fd") -> Any:
    """Draw a mesh without arrays; there may be points that no cell has, or no points at all."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_points = draw(st.integers(0, 30))
    made = {"vtp": _polydata, "vtu": _grid}[draw(st.sampled_from(kinds))]
    mesh = made(draw, rng, n_points)
    points = vtkPoints()
    coordinates = rng.standard_normal((n_points, 3)).astype(draw(st.sampled_from(point_dtypes)))
    points.SetData(numpy_to_vtk(coordinates, deep=True))  # type: ignore[no-untyped-call]  # VTK's has no types
    mesh.SetPoints(points)
    return mesh


@st.composite
def meshes(draw: st.DrawFn) -> Any:
    """Draw a mesh of either kind with arrays of all types."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mesh = draw(bare_meshes())
    counts = ((mesh.GetPointData(), mesh.GetNumberOfPoints()), (mesh.GetCellData(), mesh.GetNumberOfCells()))
    for data, n_rows in counts:
        names = draw(st.lists(NAMES, max_size=4, unique=True))
        for name in names:
            data.AddArray(_array(rng, name, draw(st.sampled_from(DTYPES)), n_rows, draw(st.integers(1, 9))))
        for set_active in (data.SetActiveScalars, data.SetActiveVectors):
            # It refuses arrays that have too many components.
            set_active(draw(st.sampled_from([*names, ""])))
    return mesh


def _array(rng: np.random.Generator, name: str, dtype: str, n_rows: int, components: int) -> Any:
    array: Any
    if dtype == "bit":
        array = vtkBitArray()
        array.SetNumberOfComponents(components)
        array.SetNumberOfTuples(n_rows)
        for number in range(n_rows * components):
            array.SetValue(number, int(rng.integers(2)))
    else:
        values = np.frombuffer(rng.bytes(n_rows * components * np.dtype(dtype).itemsize), dtype)
        array = numpy_to_vtk(values.reshape(n_rows, components), deep=True)  # type: ignore[no-untyped-call]  # VTK's has no types
    array.SetName(name)
    return array


def _polydata(draw: st.DrawFn, rng: np.random.Generator, n_points: int) -> Any:
    mesh = vtkPolyData()
    for section, smallest in (("Verts", 1), ("Lines", 2), ("Polys", 3), ("Strips", 3)):
        cells = vtkCellArray()
        for size in draw(st.lists(st.integers(smallest, 6), max_size=5)) if n_points else []:
            cells.InsertNextCell(size, rng.integers(0, n_points, size).tolist())
        getattr(mesh, f"Set{section}")(cells)
    return mesh


def _grid(draw: st.DrawFn, rng: np.random.Generator, n_points: int) -> Any:
    mesh = vtkUnstructuredGrid()
    placed = vtkPoints()
    placed.SetNumberOfPoints(n_points)
    mesh.SetPoints(placed)
    for kind in draw(st.lists(st.sampled_from([*SIZES, POLYHEDRON]), max_size=12)) if n_points else []:
        if kind == POLYHEDRON:
            corners = rng.integers(0, n_points, 4)
            stream = vtkIdList()
            for number in [4, *(each for face in TETRA_FACES for each in (3, *corners[face].tolist()))]:
                stream.InsertNextId(number)
            mesh.InsertNextCell(kind, stream)
        else:
            mesh.InsertNextCell(kind, SIZES[kind], rng.integers(0, n_points, SIZES[kind]).tolist())
    return mesh


def with_arrays(mesh: Any) -> Any:
    """Add an array to the points and one to the cells, whose values count, and one of text, which is no field."""
    for data, n_rows in (
        (mesh.GetPointData(), mesh.GetNumberOfPoints()),
        (mesh.GetCellData(), mesh.GetNumberOfCells()),
    ):
        array = numpy_to_vtk(np.arange(n_rows, dtype=np.float32), deep=True)  # type: ignore[no-untyped-call]  # VTK's has no types
        array.SetName("number")
        data.AddArray(array)
    text = vtkStringArray()
    text.SetName("text")
    for number in range(mesh.GetNumberOfCells()):
        text.InsertNextValue(f"cell {number}")
    mesh.GetCellData().AddArray(text)
    return mesh
