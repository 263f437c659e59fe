"""The recipe shift-suv on a tree with the names, arrays, files and traps of SHIFT-SUV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from shipped import assert_holds, convert_by
from vtk_files import add_arrays, block, body, save

SETS = [f"AeroSUV_{scale}_scale_{back}_transient" for scale in ("full", "qrtr") for back in ("estate", "fastback")]
SURFACE = {
    "pressure": "pressure_average",
    "friction": "wall_shear_stress_average",
    "last_pressure": "pressure",
    "last_friction": "wall_shear_stress",
    "normals": "Normals",
}
VOLUME = {
    "pressure": "pressure_average",
    "velocity": "velocity_average",
    "last_pressure": "pressure",
    "last_velocity": "velocity",
}


def write_run(run: Path, seed: int) -> tuple[pv.PolyData, pv.UnstructuredGrid]:
    surface, volume = body(seed), block(seed)
    vectors = dict.fromkeys(("wall_shear_stress_average", "wall_shear_stress", "Normals"), 3)
    cells = {"pressure_average": 1, "pressure": 1, **vectors, "vtkOriginalCellIds": 1}
    add_arrays(surface, cells, {"Normals": 3, "pressure_average": 1, "vtkOriginalPointIds": 1}, seed)
    points = {"pressure_average": 1, "pressure": 1, "velocity_average": 3, "velocity": 3}
    add_arrays(volume, {"pressure_average": 1}, points, seed)
    for data in (surface.cell_data, volume.point_data):
        for name in ("pressure_average", "pressure"):
            data[name] = data[name] * np.float32(500) + np.float32(101325)  # float16 ends at 65504
    save(surface, run / "merged_surfaces.vtp")
    save(volume, run / "merged_volumes.vtu")
    for name in ("merged_surfaces.stl", "merged_surfaces_filled.stl"):
        save(body(seed + 1), run / name)
    for name in ("DRAG.csv", "LIFT.csv"):
        (run / name).write_text("Iteration, Time, Force\n1, 0.1, 300.5\n2, 0.2, 301.5\n", encoding="utf-8")
    return surface, volume


def test_means_in_time_of_four_sets_lie_beside_the_last_instant(tmp_path: Path) -> None:
    source = tmp_path / "SUV"
    runs = [*(f"{name}/run_00001" for name in SETS), f"{SETS[0]}/run_00002"]  # numbers begin anew in each set
    made = {run: write_run(source / run, seed) for seed, run in enumerate(runs)}
    broken = made.popitem()[0]
    (source / broken / "merged_volumes.vtu").unlink()
    report, reader = convert_by("shift-suv", source, tmp_path / "store")
    assert report.converted == sorted(made)
    assert report.broken == {broken: "lacks merged_volumes.vtu"}
    speeds = {name: reader.scalars(f"{name}/run_00001") for name in SETS}
    assert speeds == {name: {"rho_inf": 1.225, "U_inf": 30.0 if "full" in name else 50.0} for name in SETS}
    for run, (surface, volume) in made.items():
        expected = {name: surface.cell_data[array] for name, array in SURFACE.items()}
        expected["position"] = surface.cell_centers().points
        expected["area"] = surface.compute_cell_sizes().cell_data["Area"]
        assert_holds(reader, run, "surface", expected, rounded=["position", "area"])
        expected = {name: volume.point_data[array] for name, array in VOLUME.items()}
        assert_holds(reader, run, "volume", {"position": volume.points, **expected}, rounded=())


@pytest.mark.parametrize("source", [".", SETS[2]])
def test_source_may_be_one_of_the_sets(source: str, tmp_path: Path) -> None:
    write_run(tmp_path / "SUV" / SETS[2] / "run_00007", 7)
    report, reader = convert_by("shift-suv", tmp_path / "SUV" / source, tmp_path / "store")
    sample_id = "run_00007" if source == SETS[2] else f"{SETS[2]}/run_00007"
    assert report.converted == [sample_id]
    # Which set it is, and so the speed, is then not known.
    assert ("U_inf" in reader.scalars(sample_id)) == (source == ".")
