"""EnSight Gold cases in C binary form, of which VTK has a reader and no writer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv

ELEMENTS = {3: "tria3", 4: "quad4", 8: "hexa8"}
"""EnSight's name of the cells with so many points, of which its files list one kind after the other."""


def label(text: str) -> bytes:
    return text.encode().ljust(80, b"\0")


def integers(*values: int) -> bytes:
    return np.array(values, np.int32).tobytes()


def by_kind(mesh: pv.DataSet) -> dict[int, list[int]]:
    """Return the numbers of the cells by how many points they have, smallest first."""
    kinds = sorted({cell.n_points for cell in mesh.cell})
    return {kind: [row for row, cell in enumerate(mesh.cell) if cell.n_points == kind] for kind in kinds}


def file_order(mesh: pv.DataSet) -> Any:
    """Return the cells in the order of a case."""
    return np.concatenate(list(by_kind(mesh).values()))


def write_case(path: Path, parts: Mapping[str, pv.DataSet], variables: Mapping[str, int]) -> None:
    """Write `path`, its geometry and the cell arrays named, each of the parts that have it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = label("C Binary") + label("made") + label("") + label("node id assign") + label("element id assign")
    for number, (name, mesh) in enumerate(parts.items(), 1):
        points = np.asarray(mesh.points, np.float32)
        written += label("part") + integers(number) + label(name)
        written += label("coordinates") + integers(len(points)) + points.T.tobytes()
        for kind, cells in by_kind(mesh).items():
            numbers = [point + 1 for cell in cells for point in mesh.get_cell(cell).point_ids]
            written += label(ELEMENTS[kind]) + integers(len(cells)) + integers(*numbers)
    path.with_suffix(".geo").write_bytes(written)
    lines = ["FORMAT", "type: ensight gold", "", "GEOMETRY", f"model: {path.stem}.geo", "", "VARIABLE"]
    for variable, dim in variables.items():
        written = label(variable)
        for number, mesh in enumerate(parts.values(), 1):
            if variable in mesh.cell_data:
                values = np.asarray(mesh.cell_data[variable], np.float32)
                sections = (label(ELEMENTS[kind]) + values[rows].T.tobytes() for kind, rows in by_kind(mesh).items())
                written += label("part") + integers(number) + b"".join(sections)
        path.with_suffix(f".{variable}").write_bytes(written)
        lines.append(f"{'scalar' if dim == 1 else 'vector'} per element: {variable} {path.stem}.{variable}")
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
