"""The recipe drivaerstar-ensight on a tree with the names, parts, files and traps of DrivAerStar's EnSight cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv

from drawpoint_store.data_files import ensight
from drawpoint_store.data_files.ensight_parts import write_parts
from ensight import file_order, write_case
from shipped import assert_holds, convert_by, of_cells, of_polygons
from vtk_files import add_arrays, block, body

SHELL = {"Pressure": 1, "WallShearStress": 3}
VARIABLES = {"Pressure": 1, "Velocity": 3, "WallShearStress": 3}


def write_run(path: Path, seed: int) -> dict[str, pv.DataSet]:
    """Write a case whose car is in two parts, between others."""
    parts: dict[str, pv.DataSet] = {
        "Block.bottom": body(seed),
        "Wheels_FrontSurface": body(seed + 1),
        "domain": block(seed),
        "Porosity_EngineBayFlow": body(seed + 2),
        "bodypart_03_EstateSurface": body(seed + 3),
    }
    kinds = {"domain": {"Pressure": 1, "Velocity": 3}, "Porosity_EngineBayFlow": {"Pressure": 1}}
    for number, (name, mesh) in enumerate(parts.items()):
        add_arrays(mesh, kinds.get(name, SHELL), seed=seed + number)
        mesh.cell_data["Pressure"][0] = 90000  # float16 ends at 65504
    write_case(path, parts, VARIABLES)
    return parts


def expected_of(surface: pv.DataSet) -> dict[str, Any]:
    assert isinstance(surface, pv.PolyData)
    fields = of_polygons(surface, {"pressure": "Pressure", "friction": "WallShearStress"})
    fields["normals"] = -fields["normals"]  # as the polygons turn
    return {name: values[file_order(surface)] for name, values in fields.items()}


def test_the_car_is_the_parts_with_shear_that_are_no_walls_of_the_tunnel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this process: that of the program starts five times, and tests/data_files has it.
    monkeypatch.setattr(ensight, "_write_parts", lambda case, folder, member: write_parts(case, Path(folder), member))
    source = tmp_path / "set"
    parts = write_run(source / "case_E" / "03210" / "case" / "E_03210.case", 1)
    cut = source / "case_F" / "00007" / "case" / "F_00007.case"
    write_run(cut, 9)
    cut.with_suffix(".Pressure").write_bytes(cut.with_suffix(".Pressure").read_bytes()[:-20])
    (source / "case_F" / "00009").mkdir()
    (source / "case_F" / "00009" / "notes.txt").touch()
    report, reader = convert_by("drivaerstar-ensight", source, tmp_path / "store")
    assert report.converted == ["E_03210"]
    assert "F_00007.Pressure is damaged, or of another case" in report.broken["F_00007"]
    assert list(report.broken) == ["F_00007"]
    car = [expected_of(parts[name]) for name in ("Wheels_FrontSurface", "bodypart_03_EstateSurface")]
    expected = {name: np.concatenate([part[name] for part in car]) for name in car[0]}
    assert_holds(reader, "E_03210", "surface", expected)
    volume = parts["domain"]
    assert isinstance(volume, pv.UnstructuredGrid)
    fields = of_cells(volume, {"pressure": "Pressure", "velocity": "Velocity"})
    assert_holds(reader, "E_03210", "volume", fields)
