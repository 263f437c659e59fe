"""VTK XML files that VTK's own library reads for us: ascii, structured grids, what is rare or of a coming version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drawpoint.errors import InvalidSample
from drawpoint.extras import importing
from drawpoint_store.data_files.data_file import ArrayInfo, Place
from drawpoint_store.data_files.joined_file import JoinedFile
from drawpoint_store.data_files.vtk_library import VtkMesh, numpy_dtype, vtk_errors
from drawpoint_store.data_files.vtk_xml.structure import check_structure
from drawpoint_store.data_files.vtk_xml.tags import TagReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vtkmodules.vtkCommonCore import vtkDataArray

READERS = {
    "PolyData": "vtkXMLPolyDataReader",
    "UnstructuredGrid": "vtkXMLUnstructuredGridReader",
    "StructuredGrid": "vtkXMLStructuredGridReader",
    "RectilinearGrid": "vtkXMLRectilinearGridReader",
    "ImageData": "vtkXMLImageDataReader",
}
"""VTK's class for each type of file that one data set is in."""


def open_by_library(path: Path) -> VtkMesh:
    """Open a file by VTK's reader for its type, its arrays unread: each is read when it is asked for, by itself."""
    with JoinedFile(path) as file:
        kind = TagReader(file).next().attributes.get("type", "")
        if kind not in READERS:
            raise InvalidSample(f"{path} is a VTK file of type {kind!r}; these are read: {', '.join(sorted(READERS))}.")
        check_structure(file)
    with importing("vtk", f"reading {path}"):
        from vtkmodules import vtkIOXML  # noqa: PLC0415  VTK is imported when needed
    reader = getattr(vtkIOXML, READERS[kind])()
    reader.SetFileName(str(path))
    places: dict[Place, Any] = {
        "point": reader.GetPointDataArraySelection(),
        "cell": reader.GetCellDataArraySelection(),
    }
    with vtk_errors(str(path)):
        reader.UpdateInformation()
        for selection in places.values():
            selection.DisableAllArrays()
        reader.Update()
    mesh = reader.GetOutputDataObject(0).NewInstance()
    mesh.ShallowCopy(reader.GetOutputDataObject(0))

    def load(array: ArrayInfo) -> vtkDataArray | None:
        places[array.place].EnableArray(array.name)
        try:
            with vtk_errors(str(path)):
                reader.Update()
        finally:
            places[array.place].DisableArray(array.name)
        output = reader.GetOutputDataObject(0)
        data = output.GetPointData() if array.place == "point" else output.GetCellData()
        found: vtkDataArray | None = data.GetArray(array.name)
        return found

    counts: dict[Place, int] = {"point": mesh.GetNumberOfPoints(), "cell": mesh.GetNumberOfCells()}
    arrays = [
        info for place, n_rows in counts.items() for info in _infos(reader.GetOutputInformation(0), place, n_rows)
    ]
    return VtkMesh(mesh, str(path), arrays, load)


def _infos(information: Any, place: Place, n_rows: int) -> Iterator[ArrayInfo]:
    """Yield what the reader knows of the arrays of a place before it reads them."""
    from vtkmodules.vtkCommonCore import VTK_STRING  # noqa: PLC0415  VTK is imported when needed
    from vtkmodules.vtkCommonDataModel import (  # noqa: PLC0415  VTK is imported when needed
        vtkDataObject,
        vtkDataSetAttributes,
    )

    vector = vtkDataObject.POINT_DATA_VECTOR() if place == "point" else vtkDataObject.CELL_DATA_VECTOR()
    fields = information.Get(vector)
    shown = 1 << vtkDataSetAttributes.SCALARS | 1 << vtkDataSetAttributes.VECTORS
    for number in range(fields.GetNumberOfInformationObjects() if fields else 0):
        said = fields.GetInformationObject(number)
        vtk_type = said.Get(vtkDataObject.FIELD_ARRAY_TYPE())
        if vtk_type == VTK_STRING:
            continue
        active = said.Get(vtkDataObject.FIELD_ACTIVE_ATTRIBUTE()) & shown
        components = said.Get(vtkDataObject.FIELD_NUMBER_OF_COMPONENTS())
        yield ArrayInfo(
            said.Get(vtkDataObject.FIELD_NAME()), place, numpy_dtype(vtk_type), n_rows, components, bool(active)
        )
