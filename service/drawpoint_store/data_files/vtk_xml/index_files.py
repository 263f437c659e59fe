"""VTK XML files that name others: those of a mesh in pieces (.pvtu, .pvtp), or of the blocks of several (.vtm)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.joined_file import JoinedFile
from drawpoint_store.data_files.joined_meshes import JoinedMeshes
from drawpoint_store.data_files.vtk_xml import open_vtk_xml
from drawpoint_store.data_files.vtk_xml.tags import TagReader

if TYPE_CHECKING:
    from pathlib import Path

    from drawpoint_store.data_files.data_file import MeshFile

NAMING = {"Piece": "Source", "DataSet": "file"}
"""The tags that name a file, with the attribute that does."""


def open_index(path: Path) -> MeshFile:
    """Open all meshes that a file names, relative to its folder, as one mesh in that order."""
    meshes: list[MeshFile] = []
    try:
        meshes.extend(open_vtk_xml(each) for each in list_files(path))
    except BaseException:
        JoinedMeshes(str(path), meshes).close()
        raise
    return JoinedMeshes(str(path), meshes)


def list_files(path: Path) -> list[Path]:
    """Return the files that a file names, in its order."""
    found = []
    depth = 0
    with JoinedFile(path) as file:
        tags = TagReader(file)
        while True:
            tag = tags.next()
            depth += tag.opens - tag.closes
            name = tag.attributes.get(NAMING.get(tag.name, ""))
            if name:
                found.append(path.parent / name)
            if depth <= 0:
                break
    if not found:
        raise InvalidSample(f"{path} names no files of pieces or blocks.")
    return found
