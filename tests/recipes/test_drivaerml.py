"""The recipe drivaerml on a tree with the names, arrays, files and traps of DrivAerML."""

from __future__ import annotations

from pathlib import Path

import pyvista as pv

from shipped import assert_holds, convert_by, of_cells, of_polygons, splits_of, write_csv, write_splits
from vtk_files import add_arrays, block, body, save, split
from vtk_made import Way

SURFACE = {
    "pressure": "pMeanTrim",
    "pressure_coefficient": "CpMeanTrim",
    "pressure_variance": "pPrime2MeanTrim",
    "friction": "wallShearStressMeanTrim",
}
VOLUME = {
    "pressure": "pMeanTrim",
    "velocity": "UMeanTrim",
    "pressure_coefficient": "CpMeanTrim",
    "total_pressure_coefficient": "CptMeanTrim",
    "eddy_viscosity": "nutMeanTrim",
    "velocity_ratio": "magUMeanNormTrim",
    "micro_drag": "microDragMeanTrim",
    "pressure_variance": "pPrime2MeanTrim",
    "resolved_stress": "UPrime2MeanTrim",
    "modelled_stress": "turbulenceProperties:RMeanTrim",
}
DIMS = {"UMeanTrim": 3, "wallShearStressMeanTrim": 3, "UPrime2MeanTrim": 6, "turbulenceProperties:RMeanTrim": 6}
GEOMETRY = [
    "Vehicle_Length",
    "Vehicle_Width",
    "Vehicle_Height",
    "Front_Overhang",
    "Front_Planview",
    "Hood_Angle",
    "Approach_Angle",
    "Windscreen_Angle",
    "Greenhouse_Tapering",
    "Backlight_Angle",
    "Decklid_Height",
    "Rearend_tapering",
    "Rear_Overhang",
    "Rear_Diffusor_Angle",
    "Vehicle_Ride_Height",
    "Vehicle_Pitch",
]


def write_run(run: Path, number: int, pieces: int, way: Way) -> tuple[pv.PolyData, pv.UnstructuredGrid]:
    """Write all files of a run; its volume has arrays of the same names on points, of other values."""
    surface, volume = body(number), block(number)
    add_arrays(surface, {name: DIMS.get(name, 1) for name in SURFACE.values()}, seed=number)
    both = {name: DIMS.get(name, 1) for name in VOLUME.values()}
    add_arrays(volume, both, both, seed=number)
    volume.cell_data["nutMeanTrim"] *= 1e-6  # of which float16 would keep a digit
    surface.cell_data["pPrime2MeanTrim"] *= 1e5  # of which float16 has no more
    save(surface, run / f"boundary_{number}.vtp")
    way.write(run / f"volume_{number}.vtu", volume)
    split(run / f"volume_{number}.vtu", pieces)
    for name in ("drivaer", "drivaer_single_solid"):
        save(surface, run / f"{name.replace('drivaer', f'drivaer_{number}')}.stl")
    for axis in "xyz":
        save(surface, run / "slices" / f"{axis}Normal_0.vtp")
    (run / "images").mkdir()
    (run / "images" / "CpT.png").touch()
    write_csv(run / f"force_mom_{number}.csv", Cd=0.3, Cl=0.2, Clf=0.0, Clr=0.2, Cs=0.01)  # by the car's own area
    write_csv(run / f"force_mom_constref_{number}.csv", Cd=0.28, Cl=0.18, Clf=-0.02, Clr=0.2, Cs=0.02)
    write_csv(run / f"geo_ref_{number}.csv", aRef=2.3, aRefRef=2.17)
    write_csv(run / f"geo_parameters_{number}.csv", Run=number, **dict.fromkeys(GEOMETRY, 3.5 + number))
    return surface, volume


def test_the_cells_of_volumes_in_two_and_three_pieces_are_read(tmp_path: Path) -> None:
    inline = Way("inline", "None", 32, big_endian=False, block=1024, pieces=1)
    packed = Way("raw", "ZLib", 64, big_endian=False, block=1024, pieces=1)
    source = tmp_path / "set"
    runs = {
        1: (2, inline),
        112: (3, inline),
        200: (3, packed),
        400: (3, inline),
        401: (3, packed),
        402: (3, packed),
        500: (2, packed),
    }
    made = {number: write_run(source / f"run_{number}", number, *how) for number, how in runs.items()}
    lost = {400: "02", 401: "02", 402: "01", 500: "00"}
    for number, piece in lost.items():
        (source / f"run_{number}" / f"volume_{number}.vtu.{piece}.part").unlink()
    write_splits(source, full_train=["run_1", "run_112"], full_val=["run_4"], rear_separation_test=["run_200"])
    report, reader = convert_by("drivaerml", source, tmp_path / "store")
    assert report.converted == ["run_1", "run_112", "run_200"]
    assert list(report.broken) == [f"run_{number}" for number in lost]
    assert report.broken["run_402"] == "lacks the piece before volume_402.vtu.02.part"
    assert splits_of(tmp_path / "store") == {"full_train": ["run_1", "run_112"], "rear_separation_test": ["run_200"]}
    known = {"U_inf": 38.889, "rho_inf": 1.0, "nu": 1.507e-5, "A_ref": 2.17, "A_front": 2.3}
    forces = {"Cd": 0.28, "Cl": 0.18, "Clf": -0.02, "Clr": 0.2, "Cs": 0.02}
    assert reader.scalars("run_112") == known | forces | dict.fromkeys(GEOMETRY, 115.5)
    for number in (1, 112, 200):
        surface, volume = made[number]
        assert_holds(reader, f"run_{number}", "surface", of_polygons(surface, SURFACE))
        assert_holds(reader, f"run_{number}", "volume", of_cells(volume, VOLUME))
