"""The recipe shift-wing on a tree with the names, arrays, files and traps of SHIFT-Wing and SHIFT-CCA."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from shipped import areas_of_points, assert_holds, convert_by
from vtk_files import add_arrays, block, body, save

FOLDER = "OnShape_luminary_crm_version001"
SURFACE = {"Pressure (Pa)": 1, "Wall Shear Stress (N/m²)": 3, "Normals": 3}
PARAMS = {
    "stream_velocity": 290.5,
    "air_density": 0.4135,
    "pressure": 26500.0,
    "mach": 0.85,
    "alpha": 2.5,
    "reynolds_number": 3.2e7,
    "name": "not a number",
}


def write_sample(folder: Path, seed: int, places: str = "both") -> tuple[pv.PolyData, pv.UnstructuredGrid]:
    surface, volume = body(seed), block(seed)
    cells = SURFACE if places != "point" else {"Normals": 3}
    points = SURFACE if places != "cell" else {"Normals": 3}
    add_arrays(surface, cells, points, seed)
    add_arrays(volume, {"Pressure (Pa)": 1}, {"Velocity (m/s)": 3, "Pressure (Pa)": 1}, seed)
    for data in (surface.cell_data, surface.point_data, volume.point_data):
        if "Pressure (Pa)" in data:
            data["Pressure (Pa)"] += np.float32(101325)  # float16 ends at 65504
    save(surface, folder / "merged_surfaces.vtp")
    save(volume, folder / "merged_volumes.vtu")
    save(body(seed + 1), folder / "merged_surfaces.stl")
    (folder / "params.json").write_text(json.dumps(PARAMS | {"alpha": seed / 2}), encoding="utf-8")
    (folder / "forces.json").write_text('{"C_L": 0.5, "C_D": 0.025, "Lift": 1e6, "Drag": 5e4}', encoding="utf-8")
    return surface, volume


def expected_of(surface: pv.PolyData, place: str) -> dict[str, object]:
    arrays = surface.cell_data if place == "cell" else surface.point_data
    areas = surface.compute_cell_sizes().cell_data["Area"] if place == "cell" else areas_of_points(surface)
    return {
        "position": surface.cell_centers().points if place == "cell" else surface.points,
        "pressure": arrays["Pressure (Pa)"],
        "friction": arrays["Wall Shear Stress (N/m²)"],
        "normals": arrays["Normals"],
        "area": areas,
    }


@pytest.mark.parametrize("places", ["both", "cell", "point"])
def test_surfaces_are_read_where_their_arrays_are(places: str, tmp_path: Path) -> None:
    source = tmp_path / "WING"
    numbers = {1: 3, 600: 4, 2601: 5}
    made = {f"{FOLDER}/sample_{n:06}": write_sample(source / FOLDER / f"sample_{n:06}", s, places)
            for n, s in numbers.items()}  # fmt: skip
    write_sample(source / FOLDER / "sample_001201", 6, places)
    (source / FOLDER / "sample_001201" / "merged_surfaces.vtp").unlink()
    report, reader = convert_by("shift-wing", source, tmp_path / "store")
    assert report.converted == sorted(made)
    assert report.broken == {f"{FOLDER}/sample_001201": "lacks merged_surfaces.vtp"}
    known = {"U_inf": 290.5, "rho_inf": 0.4135, "p_inf": 26500.0, "mach": 0.85, "reynolds": 3.2e7}
    assert reader.scalars(f"{FOLDER}/sample_000600") == known | {"angle_of_attack": 2.0, "Cd": 0.025, "Cl": 0.5}
    for sample_id, (surface, volume) in made.items():
        expected = expected_of(surface, "point" if places == "point" else "cell")
        assert_holds(reader, sample_id, "surface", expected, rounded=["position", "area"])
        fields = {"pressure": "Pressure (Pa)", "velocity": "Velocity (m/s)"}
        points = {name: volume.point_data[array] for name, array in fields.items()}
        assert_holds(reader, sample_id, "volume", {"position": volume.points, **points}, rounded=())


def test_source_may_be_the_folder_of_the_samples_as_in_shift_cca(tmp_path: Path) -> None:
    for number in (64, 66):  # 65 is not published
        write_sample(tmp_path / "CCA" / f"sample_{number:06}", number, "cell")
    (tmp_path / "CCA" / "sample_000064" / "forces.json").unlink()
    (tmp_path / "CCA" / "sample_000066" / "params.json").write_text(
        json.dumps(PARAMS | {"reference_area": 4.5}), encoding="utf-8"
    )
    report, reader = convert_by("shift-wing", tmp_path / "CCA", tmp_path / "store")
    assert report.converted == ["sample_000064", "sample_000066"]
    assert "Cd" not in reader.scalars("sample_000064")
    assert reader.scalars("sample_000066")["A_ref"] == 4.5
