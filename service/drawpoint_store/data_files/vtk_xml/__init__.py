"""VTK's XML files of meshes (.vtp, .vtu), read without VTK: only the arrays and the rows that are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.vtk_xml.structure import NotReadHere
from drawpoint_store.data_files.vtk_xml.vtk_xml_file import VtkXmlFile

if TYPE_CHECKING:
    from drawpoint_store.data_files.data_file import MeshFile
    from drawpoint_store.data_files.joined_file import FilePath


def open_vtk_xml(*paths: FilePath) -> MeshFile:
    """Open a .vtp or .vtu file, or its parts in order; what this package leaves to VTK is read by VTK's library."""
    try:
        return VtkXmlFile(*paths)
    except NotReadHere:
        from drawpoint_store.data_files.vtk_xml.by_library import open_by_library  # noqa: PLC0415  most need no VTK

        if len(paths) > 1:
            raise InvalidSample(
                f"{paths[0]} is in parts, and of a kind that only VTK reads: join them into one file, in order."
            ) from None
        if not isinstance(paths[0], Path):
            raise InvalidSample(f"{paths[0]} is of a kind that only VTK reads, from a disk: copy it there.") from None
        return open_by_library(paths[0])
