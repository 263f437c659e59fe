"""The recipe windsorml on a tree with the names, arrays, files and traps of WindsorML."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvista as pv

from shipped import areas_of_points, assert_holds, convert_by, of_cells, splits_of, write_csv, write_splits
from vtk_files import add_arrays, block, body, save

# In the order of the file.
SURFACE = ("cpavg", "cpvar", "cfxavg", "cfzavg", "cfyavg", "yplusavg")
VOLUME = ("velocityxavg", "velocityyavg", "velocityzavg", "pressureavg")
GEOMETRY = [
    "ratio_length_back_fast",
    "ratio_length_front_rear",
    "ratio_height_nose_windshield",
    "ratio_height_fast_back",
    "side_taper",
    "clearance",
    "bottom_taper_angle",
    "frontal_area",
]


def write_run(run: Path, number: int) -> tuple[pv.UnstructuredGrid, pv.UnstructuredGrid]:
    surface = body(number).append_polydata(body(number)).cast_to_unstructured_grid()  # twice: points at one position
    add_arrays(surface, {"faceid": 1}, dict.fromkeys(SURFACE, 1) | {"Normals": 3}, seed=number)
    surface.point_data["cfyavg"] *= 1e-6
    volume = block(number)
    add_arrays(volume, dict.fromkeys(VOLUME, 1) | {"reynoldsstressxx": 1}, seed=number)
    volume.cell_data["pressureavg"] += 37330  # of which float16 would keep steps of 32
    save(surface, run / f"boundary_{number}.vtu")
    save(volume, run / f"volume_{number}.vtu")
    np.save(run / f"boundary_dual_area_{number}.npy", np.arange(1, surface.n_points + 1, dtype="<f4"))
    save(body(number), run / f"windsor_{number}.stl")
    write_csv(run / f"force_mom_{number}.csv", cd=0.28, cs=0.001, cl=0.488, cmy=0.01)
    write_csv(run / f"force_mom_varref_{number}.csv", cd=0.3, cs=0.001, cl=0.5, cmy=0.01)  # by the body's own area
    write_csv(run / f"geo_parameters_{number}.csv", **dict.fromkeys(GEOMETRY, 1.5 + number))
    return surface, volume


def test_components_come_in_the_order_of_the_axes_and_y_stays_up(tmp_path: Path) -> None:
    source = tmp_path / "set"
    made = {number: write_run(source / f"run_{number}", number) for number in (0, 287)}
    (source / "run_287" / "volume_287.vtu.CFC7E38A").write_bytes(b"left by an upload")
    write_splits(source, full_train=["run_0"], full_test=["run_287", "run_354"])
    report, reader = convert_by("windsorml", source, tmp_path / "store")
    assert (report.converted, report.broken) == (["run_0", "run_287"], {})
    assert splits_of(tmp_path / "store") == {"full_train": ["run_0"], "full_test": ["run_287"]}
    known = {"U_inf": 40.0, "rho_inf": 1.31, "p_inf": 37330.4, "A_ref": 0.112, "Cd": 0.28, "Cl": 0.488}
    assert reader.scalars("run_0") == known | dict.fromkeys(GEOMETRY, 1.5)
    for number, (surface, volume) in made.items():
        points = surface.point_data
        expected = {
            "position": surface.points,
            "pressure_coefficient": points["cpavg"],
            "pressure_coefficient_variance": points["cpvar"],
            "friction_coefficient": np.stack([points["cfxavg"], points["cfyavg"], points["cfzavg"]], axis=1),
            "yplus": points["yplusavg"],
            "normals": points["Normals"],
            "area": areas_of_points(surface),
            "published_area": np.arange(1, surface.n_points + 1),
        }
        assert_holds(reader, f"run_{number}", "surface", expected, rounded=["area"])
        cells = of_cells(volume, {"pressure": "pressureavg"})
        cells["velocity"] = np.stack([volume.cell_data[f"velocity{axis}avg"] for axis in "xyz"], axis=1)
        assert_holds(reader, f"run_{number}", "volume", cells)
    assert reader.manifest.fields["volume_pressure"].dtype == "float32"


def test_a_data_set_without_published_areas_has_its_other_fields(tmp_path: Path) -> None:
    write_run(tmp_path / "set" / "run_0", 0)
    (tmp_path / "set" / "run_0" / "boundary_dual_area_0.npy").unlink()
    write_run(tmp_path / "set" / "run_1", 1)
    report, reader = convert_by("windsorml", tmp_path / "set", tmp_path / "store")
    assert report.converted == ["run_0", "run_1"]  # though run_1 has some
    assert "surface_published_area" not in reader.manifest.fields
    assert splits_of(tmp_path / "store") == {}
