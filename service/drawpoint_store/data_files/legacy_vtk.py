"""VTK's legacy files (`.vtk`), ASCII or binary, which VTK's own library reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample
from drawpoint.extras import importing
from drawpoint_store.data_files.vtk_library import VtkMesh, vtk_errors

if TYPE_CHECKING:
    from pathlib import Path

_HEADER_BYTES = 1024
"""The first lines of a file, of which the third says ASCII or BINARY, have at most 256 letters each."""


def open_legacy_vtk(path: Path) -> VtkMesh:
    """Open a data set of any kind, with all its arrays in memory; the first SCALARS and VECTORS are the active ones.

    Raises InvalidSample for damage, and for an ASCII file that does not end with the end of a line: its last number may
    have been cut, and VTK would take what is left of it.
    """
    with path.open("rb") as file:
        encoding = b"".join(file.read(_HEADER_BYTES).splitlines()[2:3])
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        if encoding.strip().upper() == b"ASCII" and not file.read(1).isspace():
            raise InvalidSample(
                f"{path} was cut short, or its last line has no end; copy it again, or end the line if it is complete."
            )
    with importing("vtk", f"reading {path}"):
        from vtkmodules.vtkIOLegacy import vtkDataSetReader  # noqa: PLC0415  VTK is imported when needed
    reader = vtkDataSetReader()
    reader.SetFileName(str(path))
    for kind in ("Scalars", "Vectors", "Normals", "Tensors", "ColorScalars", "TCoords", "Fields"):
        getattr(reader, f"ReadAll{kind}On")()
    with vtk_errors(str(path), or_warnings=True):
        reader.Update()
    if (dataset := reader.GetOutput()) is None:
        raise InvalidSample(f"{path} holds no data set that VTK reads.")
    return VtkMesh(dataset, str(path))
