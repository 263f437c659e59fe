"""The recipe drivaerstar on a tree with the names, arrays, encodings and traps of DrivAerStar's surfaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv

from shipped import assert_holds, convert_by
from vtk_files import add_arrays, body

SHEAR = ["WallShearStressi", "WallShearStressj", "WallShearStressk"]


def write_surface(path: Path, seed: int, *, binary: bool = True, leave_out: str = "") -> pv.PolyData:
    surface = body(seed)
    cells = {"Area": 1, "Normals": 3, "Pressure": 1, **dict.fromkeys(SHEAR, 1)}
    add_arrays(surface, cells, {"Pressure": 1, "Area": 1}, seed)
    surface.cell_data["Pressure"] *= 400
    surface.cell_data["Pressure"][0] = 90000  # float16 ends at 65504
    surface.cell_data[SHEAR[0]] = np.abs(surface.cell_data[SHEAR[0]])  # along the flow
    if leave_out:
        del surface.cell_data[leave_out]
    path.parent.mkdir(parents=True, exist_ok=True)
    surface.save(path, binary=binary)
    return surface if binary else pv.PolyData(path)  # text has fewer digits


def expected_of(surface: pv.PolyData) -> dict[str, Any]:
    cells = surface.cell_data
    return {
        "position": surface.cell_centers().points,
        "pressure": cells["Pressure"],
        "friction": np.stack([cells[name] for name in SHEAR], axis=1),
        "normals": cells["Normals"],
        "area": cells["Area"],
    }


def test_shear_is_a_vector_of_three_arrays_with_the_sign_of_the_files(tmp_path: Path) -> None:
    source = tmp_path / "set"
    made = {
        "03210": write_surface(source / "03210.vtk", 1),
        "N_00007": write_surface(source / "N_00007.vtk", 2, binary=False),
        "class_F/00001": write_surface(source / "class_F" / "00001.vtk", 3),
    }
    write_surface(source / "04000.vtk", 4, leave_out=SHEAR[2])
    case = source / "case_E" / "03211" / "case"  # the other release, which is of EnSight's files
    case.mkdir(parents=True)
    for suffix in ("case", "geo", "Pressure", "Velocity", "WallShearStress"):
        (case / f"E_03211.{suffix}").write_bytes(b"not read")
    report, reader = convert_by("drivaerstar", source, tmp_path / "store")
    assert report.converted == sorted(made)
    assert list(report.broken) == ["04000"]
    assert "04000.vtk has no cell array 'WallShearStressk'" in report.broken["04000"]
    for sample_id, surface in made.items():
        assert_holds(reader, sample_id, "surface", expected_of(surface), rounded=["position"])
        shear = reader.read_sample(sample_id, fields=["surface_friction"])["surface_friction"]
        assert (shear[:, 0] >= 0).all()
