"""The recipe hiliftaeroml on a tree with the names, arrays, files and traps of HiLiftAeroML."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pyvista as pv

from drawpoint_store import ZarrChunkReader
from shipped import assert_holds, convert_by, splits_of, write_csv, write_splits
from vtk_files import add_arrays, block, body
from vtk_made import Way

RAW = Way("raw", "None", 64, big_endian=False, block=64, pieces=1)
TAU = ["AVG(TAU_WALL(0))", "AVG(TAU_WALL(1))", "AVG(TAU_WALL(2))"]
FILLED_WITH_ZEROS = np.array([0, 17, 18, 79])


def write(mesh: pv.UnstructuredGrid, path: Path, *, packed: bool) -> None:
    """Write a mesh as the data set has it: its arrays appended as they are, in an archive of this one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    RAW.write(path, mesh)
    if packed:
        with tarfile.open(f"{path}.tgz", "w:gz") as archive:
            archive.add(path, path.name)
        path.unlink()


def write_case(
    root: Path, case: str, seed: int, *, packed: bool = True
) -> tuple[pv.UnstructuredGrid, pv.UnstructuredGrid]:
    surface = body(seed).cast_to_unstructured_grid()
    names = ["PROJ(AVG(P))", "PROJ(AVG(T))", "PROJ(AVG(RHO))", *TAU, "AVG(Y_PLUS)", "AVG(TAU_WALL)"]
    add_arrays(surface, {"PROJ(AVG(P))": 1}, dict.fromkeys(names, 1) | {"PROJ(AVG(U))": 3}, seed)
    volume = block(seed, 4)
    add_arrays(volume, {"avg(P)": 1}, {"avg(u)": 3, "avg(T)": 1, "avg(P)": 1, "avg(rho)": 1}, seed)
    for data, pressure, density in (
        (surface.point_data, "PROJ(AVG(P))", "PROJ(AVG(RHO))"),
        (volume.point_data, "avg(P)", "avg(rho)"),
    ):
        data[pressure] = data[pressure] + np.float32(176.352)
        data[density] = data[density] * np.float32(1e-8) + np.float32(1.3755e-6)
    for name in volume.point_data:
        volume.point_data[name][FILLED_WITH_ZEROS] = 0
    volume.point_data["avg(u)"][30] = 0  # at rest, and as valid as others
    volume.point_data["avg(P)"][31] = 1e-30
    folder = root / case
    write(surface, folder / f"boundary_{case}.vtu", packed=packed)
    write(volume, folder / f"volume_{case}.vtu", packed=packed)
    areas = np.linspace(0.5, 9, surface.n_points).astype("<f4")
    np.save(folder / f"boundary_dual_area_{case}.npy", areas)
    for name in (f"{case}.stl", f"{case}.stp", f"img_wss_{case[4:]}.png", f"plot_CD_{case}.png"):
        (folder / name).write_bytes(b"not read")
    write_csv(folder / f"force_mom_{case}.csv", cd=0.21 + seed, cl=1.5, cm=-0.25, cdp=0.2, cdv=0.01, clp=1.5, clv=0)
    write_csv(folder / f"ref_values_{case}.csv", qRef=4.937856, uRef=2679.5055, areaRef=297360, chordRef=275.8)
    write_csv(folder / f"geo_values_{case}.csv", slat_deflection=30)
    return surface, volume


def assert_case(reader: ZarrChunkReader, case: str, surface: pv.DataSet, volume: pv.DataSet) -> None:
    points = surface.point_data
    vector = points["AVG(TAU_WALL)"] if TAU[0] not in points else np.stack([points[name] for name in TAU], axis=1)
    expected = {
        "position": surface.points,
        "pressure": points["PROJ(AVG(P))"],
        "temperature": points["PROJ(AVG(T))"],
        "density": points["PROJ(AVG(RHO))"],
        "velocity": points["PROJ(AVG(U))"],
        "friction": vector,
        "yplus": points["AVG(Y_PLUS)"],
        "area": np.linspace(0.5, 9, surface.n_points).astype("<f4"),
    }
    assert_holds(reader, case, "surface", expected, rounded=())
    kept = np.setdiff1d(np.arange(volume.n_points), FILLED_WITH_ZEROS)
    fields = {"pressure": "avg(P)", "velocity": "avg(u)", "temperature": "avg(T)", "density": "avg(rho)"}
    expected = {name: volume.point_data[array][kept] for name, array in fields.items()}
    assert_holds(reader, case, "volume", {"position": volume.points[kept], **expected}, rounded=())


def test_packed_and_unpacked_cases_keep_their_units_and_lose_rows_of_zeros(tmp_path: Path) -> None:
    source = tmp_path / "set"
    made = {
        "geo_LHC001_AoA_4": write_case(source, "geo_LHC001_AoA_4", 1),
        "geo_LHC180_AoA_22": write_case(source, "geo_LHC180_AoA_22", 2, packed=False),
    }
    # A vector instead of its components, in an early file of the set.
    surface, volume = write_case(source, "geo_LHC002_AoA_12", 3)
    surface.point_data["AVG(TAU_WALL)"] = np.stack([surface.point_data[name] for name in TAU], axis=1)
    for name in TAU:
        del surface.point_data[name]
    write(surface, source / "geo_LHC002_AoA_12" / "boundary_geo_LHC002_AoA_12.vtu", packed=True)
    made["geo_LHC002_AoA_12"] = surface, volume
    write_case(source, "geo_LHC003_AoA_4", 4)
    (source / "geo_LHC003_AoA_4" / "volume_geo_LHC003_AoA_4.vtu.tgz").unlink()
    write_splits(source, full_train=["geo_LHC001_AoA_4", "geo_LHC002_AoA_12"], stall_test=["geo_LHC180_AoA_22"])
    for name in ("data_quality", "surface_dual_areas"):
        (source / name).mkdir()
        (source / name / "manifest.json").write_text("{}", encoding="utf-8")
    report, reader = convert_by("hiliftaeroml", source, tmp_path / "store")
    assert report.converted == sorted(made)
    assert list(report.broken) == ["geo_LHC003_AoA_4"]
    assert "volume_geo_LHC003_AoA_4.vtu*" in report.broken["geo_LHC003_AoA_4"]
    assert splits_of(tmp_path / "store") == {
        "full_train": ["geo_LHC001_AoA_4", "geo_LHC002_AoA_12"],
        "stall_test": ["geo_LHC180_AoA_22"],
    }
    scalars = reader.scalars("geo_LHC180_AoA_22")
    assert round(scalars.pop("p_inf"), 3) == 176.352
    known = {"mach": 0.2, "T_inf": 518.67, "q_inf": 4.937856, "U_inf": 2679.5055, "Cd": 2.21, "Cl": 1.5, "Cm": -0.25}
    assert scalars == known | {"angle_of_attack": 22.0, "geometry": 180.0}
    for case, (surface, volume) in made.items():
        assert_case(reader, case, surface, volume)


def test_a_data_set_without_published_areas_and_splits_has_its_other_fields(tmp_path: Path) -> None:
    case = "geo_LHC001_AoA_4"
    write_case(tmp_path / "set", case, 1)
    for name in (f"boundary_dual_area_{case}.npy", f"ref_values_{case}.csv"):
        (tmp_path / "set" / case / name).unlink()
    report, reader = convert_by("hiliftaeroml", tmp_path / "set", tmp_path / "store")
    assert (report.converted, splits_of(tmp_path / "store")) == ([case], {})
    assert "surface_area" not in reader.manifest.fields
    assert reader.manifest.domains["volume"].arrays["volume_position"].units == "in"
    assert "p_inf" not in reader.scalars(case)
