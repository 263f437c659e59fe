"""The recipe airfrans on a tree with the names, arrays, files and traps of AirfRANS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from shipped import assert_holds, convert_by, splits_of
from vtk_files import save

FOUR_DIGITS = "airFoil2D_SST_31.283_-4.156_0.919_6.98_14.32"
FIVE_DIGITS = "airFoil2D_SST_32.66_1.2_3.249_6.689_1.0_18.317"


def write_case(source: Path, sample_id: str, seed: int) -> tuple[pv.UnstructuredGrid, pv.PolyData]:
    """Write the plane around a square, whose corners are its aerofoil, as the set's VTK files have it."""
    rng = np.random.default_rng(seed)
    plane = pv.ImageData(dimensions=(4, 4, 1), origin=(0, 0, 0.5)).cast_to_unstructured_grid()
    on_it = np.array([5, 6, 10, 9])
    values = {name: rng.standard_normal(16, dtype=np.float32) for name in ("p", "nut", "implicit_distance")}
    values["U"] = rng.standard_normal((16, 3), dtype=np.float32)
    values["U"][on_it], values["U"][:, 2] = 0, 0
    values["implicit_distance"] = -np.abs(values["implicit_distance"])
    values["implicit_distance"][on_it] = 0
    values["p"] *= 1000
    values["nut"] *= 1e-6  # of which float16 would keep a digit
    for name, array in values.items():
        plane.point_data[name] = array
    plane.cell_data["p"] = np.zeros(plane.n_cells, np.float32)
    # Lines around it, in another order than the plane's points.
    ring = pv.PolyData(np.asarray(plane.points)[on_it[::-1]], lines=[5, 0, 1, 2, 3, 0])
    for name in ("U", "p", "nut"):
        ring.point_data[name] = values[name][on_it[::-1]]
    ring.point_data["Normals"] = rng.standard_normal((4, 3), dtype=np.float32)
    save(plane, source / sample_id / f"{sample_id}_internal.vtu")
    save(ring, source / sample_id / f"{sample_id}_aerofoil.vtp")
    save(pv.PolyData(np.asarray(plane.points)[:4]), source / sample_id / f"{sample_id}_freestream.vtp")
    return plane, ring


def test_distances_are_positive_and_conditions_are_those_of_the_name(tmp_path: Path) -> None:
    source = tmp_path / "Dataset"
    made = {sample_id: write_case(source, sample_id, seed) for seed, sample_id in enumerate([FOUR_DIGITS, FIVE_DIGITS])}
    manifest = {
        "full_train": [FOUR_DIGITS],
        "full_test": [FIVE_DIGITS],
        "aoa_train": [FIVE_DIGITS, "airFoil2D_SST_1_2"],
    }
    (source / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    report, reader = convert_by("airfrans", source, tmp_path / "store")
    assert (report.converted, report.broken) == ([FOUR_DIGITS, FIVE_DIGITS], {})
    assert splits_of(tmp_path / "store") == manifest | {"aoa_train": [FIVE_DIGITS]}
    air = pytest.approx(1.5498e-5, rel=1e-4)
    camber = {"naca4_camber": 0.919, "naca4_position": 6.98, "naca_thickness": 14.32}
    assert reader.scalars(FOUR_DIGITS) == {"U_inf": 31.283, "angle_of_attack": -4.156, "nu": air} | camber
    camber = {"naca5_lift": 3.249, "naca5_position": 6.689, "naca5_reflex": 1.0, "naca_thickness": 18.317}
    assert reader.scalars(FIVE_DIGITS) == {"U_inf": 32.66, "angle_of_attack": 1.2, "nu": air} | camber
    fields = {"pressure": "p", "velocity": "U", "eddy_viscosity": "nut"}
    for sample_id, (plane, ring) in made.items():
        volume = {"position": plane.points, "sdf": -plane.point_data["implicit_distance"]}
        volume |= {field: plane.point_data[name] for field, name in fields.items()}
        assert_holds(reader, sample_id, "volume", volume, rounded=[])
        surface = {"position": ring.points, "normals": ring.point_data["Normals"]}
        surface |= {field: ring.point_data[name] for field, name in fields.items()}
        assert_holds(reader, sample_id, "surface", surface, rounded=[])
