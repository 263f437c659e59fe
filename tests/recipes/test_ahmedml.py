"""The recipe ahmedml on a tree with the names, arrays, files and traps of AhmedML."""

from __future__ import annotations

from pathlib import Path

from shipped import assert_holds, convert_by, of_cells, of_polygons, splits_of, write_csv, write_splits
from vtk_files import add_arrays, block, body, save

SURFACE = {
    "pressure": "pMean",
    "pressure_coefficient": "static(p)_coeffMean",
    "friction": "wallShearStressMean",
    "yplus": "yPlusMean",
}
VOLUME = {
    "pressure": "pMean",
    "velocity": "UMean",
    "total_pressure_coefficient": "total(p)_coeffMean",
    "vorticity": "vorticityMean",
}
DIMS = {"wallShearStressMean": 3, "UMean": 3, "vorticityMean": 3}
GEOMETRY = [
    "body-length",
    "body-height",
    "body-width",
    "front-arc-diameter",
    "slant-angle-length",
    "slant-angle-height",
    "slant-surface-length",
    "slant-angle-degrees",
]


def test_the_cells_of_both_files_are_read(tmp_path: Path) -> None:
    made = {}
    for number in (1, 2):
        run = tmp_path / "set" / f"run_{number}"
        surface, volume = body(number), block(number)
        # Patches lie side by side, with points of their own at the seams.
        surface = surface.separate_cells().extract_surface(algorithm=None)
        surface.clear_data()
        add_arrays(surface, {name: DIMS.get(name, 1) for name in SURFACE.values()}, seed=number)
        both = {name: DIMS.get(name, 1) for name in VOLUME.values()}
        add_arrays(volume, both, both, seed=number)
        volume.cell_data["vorticityMean"] *= 1e5  # of which float16 has no more
        save(surface, run / f"boundary_{number}.vtp")
        save(volume, run / f"volume_{number}.vtu")
        save(surface, run / f"ahmed_{number}.stl")
        for axis in "xyz":
            save(surface, run / "slices" / f"{axis}_0.vtp")
        write_csv(run / f"force_mom_{number}.csv", cd=0.238, cl=-0.0945)
        write_csv(run / f"force_mom_varref_{number}.csv", cd=0.25, cl=-0.1)  # by the body's own area
        write_csv(run / f"geo_parameters_{number}.csv", **dict.fromkeys(GEOMETRY, 10.5 + number))
        made[f"run_{number}"] = surface, volume
    write_splits(tmp_path / "set", full_train=["run_1"], image_wake_test=["run_2", "run_3"])
    report, reader = convert_by("ahmedml", tmp_path / "set", tmp_path / "store")
    assert (report.converted, report.broken) == (["run_1", "run_2"], {})
    assert splits_of(tmp_path / "store") == {"full_train": ["run_1"], "image_wake_test": ["run_2"]}
    known = {"U_inf": 1.0, "rho_inf": 1.0, "nu": 3.75e-7, "A_ref": 0.112, "Cd": 0.238, "Cl": -0.0945}
    assert reader.scalars("run_2") == known | {name.replace("-", "_"): 12.5 for name in GEOMETRY}
    for sample_id, (surface, volume) in made.items():
        assert_holds(reader, sample_id, "surface", of_polygons(surface, SURFACE))
        assert_holds(reader, sample_id, "volume", of_cells(volume, VOLUME))
