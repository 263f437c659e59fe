"""The recipe emmi-wing on a tree with the names, files and traps of Emmi-Wing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shipped import assert_holds, convert_by, splits_of
from vtk_files import body, save

COLUMNS = "inflow_velocity,chord_root,span,taper_ratio,sweep,dihedral,AOA,Reynolds_number,Mach_number"


def write_run(run: Path, seed: int) -> dict[str, Any]:
    """Write a run, whose rows are points and whose lengths differ from run to run; return its tensors by file."""
    run.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    fields = {"pressure": (1e5, 3e4), "rho": (1.17, 0.1), "wall_shear_stress": (-74, 200)}
    sizes = {"surface": 40 + seed % 7, "volume": 90 + seed % 7}
    made = {}
    for domain, size in sizes.items():
        others = {"velocity": (200, 90), "vorticity": (0, 1e6)} if domain == "volume" else {}
        for name, (mean, deviation) in {"position": (0, 1), **fields, **others}.items():
            vector = name not in ("pressure", "rho")
            values = rng.normal(mean, deviation, (size, 3) if vector else size).astype(np.float32)
            if (domain, name) != ("volume", "wall_shear_stress"):
                made[f"{domain}_{name}"] = values
                torch.save(torch.from_numpy(values), run / f"{domain}_{name}.pt")
    torch.save({"aoa": torch.tensor(2.0), "span": torch.tensor(1.0)}, run / "design_parameters.pt")
    for name in ("areas", "centers", "normals"):
        np.save(run / f"cell_{name}.npy", np.ones(12))
    save(body(), run / "wing.stl")
    return made


def write_metadata(source: Path, cases: list[int], erroneous: np.ndarray[Any, Any]) -> None:
    """Write a table whose rows are in another order than the runs, with an index as pandas leaves it."""
    lines = [
        f"{row},{case},{200 + case},0.{case:05},1.2,0.5,20,3,{case / 4},1e7,0.75" for row, case in enumerate(cases)
    ]
    (source / "metadata").mkdir()
    table = "\n".join([f",case_id,{COLUMNS}", *lines, ""])
    (source / "metadata" / "train.csv").write_text(table, encoding="utf-8")
    np.save(source / "metadata" / "erroneous_cases.npy", erroneous)


def assert_run(reader: Any, sample_id: str, made: dict[str, Any]) -> None:
    names = {"wall_shear_stress": "friction", "rho": "density"}
    for domain in ("surface", "volume"):
        of_domain = {name.partition("_")[2]: values for name, values in made.items() if name.startswith(domain)}
        expected = {names.get(name, name): values for name, values in of_domain.items()}
        assert_holds(reader, sample_id, domain, expected, rounded=())


@pytest.mark.parametrize("dtype", ["int64", "<U5"])
def test_runs_of_all_parts_are_read_without_the_erroneous_ones(dtype: str, tmp_path: Path) -> None:
    source = tmp_path / "set"
    parts = {1: "part_00", 12: "part_00", 2: "part_01", 31: "part_01", 5: "part_02"}
    folders = {number: source / "full_dataset" / part / f"run_{number}" for number, part in parts.items()}
    made = {number: write_run(folder, number) for number, folder in folders.items()}
    (folders[31] / "surface_pressure.pt").unlink()
    (source / "full_dataset" / "part_02" / "run_77.zip").write_bytes(b"not unpacked")
    write_metadata(source, [31, 12, 5, 1, 2], np.array([2, 9999]).astype(dtype))
    (source / "splits").mkdir()
    (source / "splits" / "train.txt").write_text("12\n1\n2\n400\n", encoding="utf-8")
    report, reader = convert_by("emmi-wing", source, tmp_path / "store")
    assert report.converted == ["run_1", "run_12", "run_5"]  # not run_2, and not run_12 for it
    assert report.broken == {"run_31": "lacks surface_pressure.pt"}
    assert splits_of(tmp_path / "store") == {"train": ["run_12", "run_1"]}
    for number in (1, 12, 5):
        assert_run(reader, f"run_{number}", made[number])
        given = {"U_inf": 200.0 + number, "angle_of_attack": number / 4, "mach": 0.75, "reynolds": 1e7}
        shape = {"chord_root": number / 1e5, "span": 1.2, "taper_ratio": 0.5, "sweep": 20.0, "dihedral": 3.0}
        known = {"p_inf": 1e5, "T_inf": 298.0, "rho_inf": 1.16639}
        assert reader.scalars(f"run_{number}") == known | given | shape


def test_a_run_that_the_table_lacks_has_its_fields_and_fewer_scalars(tmp_path: Path) -> None:
    source = tmp_path / "set"
    made = {number: write_run(source / f"run_{number}", number) for number in (3, 4)}
    for number, tensors in made.items():
        for domain in ("surface", "volume"):
            (source / f"run_{number}" / f"{domain}_rho.pt").unlink()
            tensors.pop(f"{domain}_rho")
    write_metadata(source, [3], np.zeros(0, np.int64))
    report, reader = convert_by("emmi-wing", source, tmp_path / "store")
    assert report.converted == ["run_3", "run_4"]
    assert set(reader.scalars("run_4")) == {"p_inf", "T_inf", "rho_inf"}
    assert_run(reader, "run_4", made[4])
