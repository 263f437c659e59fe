"""`drawpoint inspect`: what it says of folders of data, and that the recipes that it writes convert them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import pyvista as pv
import torch

from cli.conftest import Command
from conftest import REPOSITORY
from drawpoint_store import ZarrChunkReader
from foam import FoamCase, cell_faces
from vtk_files import add_arrays, block, body, save, split

AHMED = REPOSITORY / "examples" / "data" / "ahmed"
RUNS = ("slant_0", "slant_25")


def ahmed(run: str, field: str) -> Any:
    """A field of a shipped run as an array."""
    return torch.load(AHMED / run / f"{field}.pt", weights_only=True).numpy()


def clouds(run: str) -> dict[str, pv.PolyData]:
    """The surface and volume of a run as meshes of vertices with their fields, as VTK files hold them."""
    made = {}
    for domain, arrays in (
        ("surface", {"p": "pressure", "wallShearStressMean": "friction"}),
        ("volume", {"U": "velocity"}),
    ):
        made[domain] = pv.PolyData(ahmed(run, f"{domain}_position"))
        for name, field in arrays.items():
            made[domain].point_data[name] = ahmed(run, f"{domain}_{field}")
    return made


def vtp_tree(root: Path) -> None:
    for run in RUNS:
        for domain, mesh in clouds(run).items():
            save(mesh, root / run / f"{domain}_{run.removeprefix('slant_')}.vtp")


def legacy_tree(root: Path) -> None:
    for run in RUNS:
        save(clouds(run)["surface"], root / "sedans" / f"{run}_abc.vtk")


def npz_tree(root: Path) -> None:
    for run in RUNS:
        (root / run).mkdir(parents=True)
        names = {"points": "position", "p": "pressure", "wss": "friction"}
        np.savez(root / run / "surface.npz", **{name: ahmed(run, f"surface_{field}") for name, field in names.items()})


def npy_tree(root: Path) -> None:
    for run in RUNS:
        (root / run).mkdir(parents=True)
        for name, field in {"xyz": "position", "p": "pressure", "wss": "friction"}.items():
            np.save(root / run / f"{name}.npy", ahmed(run, f"surface_{field}"))


def hdf5_tree(root: Path) -> None:
    root.mkdir()
    for run in RUNS:
        with h5py.File(root / f"{run}.h5", "w") as file:
            for name, field in {"surface/coords": "position", "surface/p": "pressure"}.items():
                file[name] = ahmed(run, f"surface_{field}")
            file["volume/coords"], file["volume/U"] = ahmed(run, "volume_position"), ahmed(run, "volume_velocity")
            file["iterations"] = 250


def csv_tree(root: Path) -> None:
    root.mkdir()
    for run in RUNS:
        values = np.column_stack((ahmed(run, "surface_position"), ahmed(run, "surface_pressure")))
        np.savetxt(root / f"{run}.csv", values, "%.9g", ",", header="X, Y, Z, Pressure (Pa)", comments="")


TREES: dict[Callable[[Path], None], tuple[str, ...]] = {
    vtp_tree: ("surface", "volume"),
    legacy_tree: ("surface",),
    npz_tree: ("surface",),
    npy_tree: ("surface",),
    hdf5_tree: ("surface", "volume"),
    csv_tree: ("surface",),
}


@pytest.mark.parametrize("make", TREES, ids=lambda make: make.__name__)
def test_a_first_recipe_converts_the_source_that_it_was_written_of(
    make: Callable[[Path], None], tmp_path: Path, command: Command
) -> None:
    source, store, written = tmp_path / "data", tmp_path / "store", tmp_path / "my.toml"
    make(source)
    inspected = command("inspect", source, "--write-recipe", written, "--json")
    assert inspected.status == 0, inspected.err
    promised = json.loads(inspected.out)
    converted = command("convert", source, store, "--recipe", written, "--workers", 1)
    assert converted.status == 0, converted.err
    assert command("verify", store, "--source", source, "--recipe", written).status == 0
    reader = ZarrChunkReader(store)
    sample_ids, layout = sorted(reader.manifest.samples), reader.manifest.domains
    for domain, expected in zip(layout, TREES[make], strict=True):
        names = {"surface": "pressure", "volume": "velocity"}
        field = f"{domain}_{names[expected]}"
        for sample_id, run in zip(sample_ids, RUNS, strict=True):
            values = ahmed(run, f"{expected}_{names[expected]}")
            draw = reader.read_sample(sample_id, {domain: len(values)}, seed=1)
            assert np.array_equal(np.sort(draw[field].numpy(), axis=0), np.sort(values.astype(np.float16), axis=0))
    described = json.loads(command("info", store, "--json").out)
    assert promised["check"]["cost"]["is_counted"]
    assert promised["check"]["cost"]["store_bytes"] == described["logical_bytes"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs: a surface, a volume in pieces whose cells and points share names, slices, and numbers beside them."""
    for number in (1, 2, 10):
        surface, volume = body(number), block(number)
        add_arrays(surface, {"CpMeanTrim": 1, "pMeanTrim": 1}, seed=number)
        surface.point_data["vtkOriginalPointIds"] = np.arange(surface.n_points)
        add_arrays(volume, {"pMeanTrim": 1, "UMeanTrim": 3}, {"pMeanTrim": 1, "only_points": 1}, seed=number)
        folder = tmp_path / "runs" / f"run_{number}"
        save(surface, folder / f"boundary_{number}.vtp")
        save(volume, folder / f"volume_{number}.vtu")
        split(folder / f"volume_{number}.vtu", 2)
        (folder / f"force_mom_{number}.csv").write_text(f"Cd, Cl\n0.3{number},0.1\n", encoding="utf-8")
        (folder / "slices").mkdir()
        for place in range(3):
            save(body(place), folder / "slices" / f"x_{place}.vtp")
    return tmp_path / "runs"


def test_the_arrays_of_runs_are_listed_with_place_type_and_range(runs: Path, command: Command) -> None:
    low, high = (
        getattr(pv.read(runs / "run_1" / "boundary_1.vtp").cell_data["CpMeanTrim"], each)() for each in ("min", "max")
    )
    out = command("inspect", runs).out
    assert "samples  3, as run_{n}; looked into run_1, run_2, run_10" in out
    assert "boundary_{n}.vtp (surface): 3 files of" in out
    assert "volume_{n}.vtu* (volume): 3 files of" in out
    assert "9 cells, 8 points" in out
    assert f"  cell   CpMeanTrim                       float32, {low:.4g} to {high:.4g}" in out
    assert "  point  vtkOriginalPointIds              int64, 0 to 7" in out
    assert "others   9 .vtp: not looked into" in out
    assert "Cd" in out


def test_whether_points_are_cells_or_points_is_left_to_a_person(runs: Path, tmp_path: Path, command: Command) -> None:
    written, store = tmp_path / "my.toml", tmp_path / "store"
    assert command("inspect", runs, "--write-recipe", written).status == 0
    refused = command("convert", runs, store, "--recipe", written)
    assert refused.status == 1
    assert 'write place = "cell" or "point" below [volume]' in refused.err
    text = written.read_text(encoding="utf-8")
    assert 'left out: point array "vtkOriginalPointIds", int64' in text
    for place, fields in (
        ("cell", ["position", "pressure", "velocity"]),
        ("point", ["position", "pressure", "only_points"]),
    ):
        written.write_text(text.replace('# place = "cell"', f'place = "{place}"  #'), encoding="utf-8")
        assert command("convert", runs, store, "--recipe", written, "--workers", 1, "--overwrite").status == 0
        manifest = ZarrChunkReader(store).manifest
        assert list(manifest.fields) == [
            *(f"surface_{name}" for name in ("position", "pressure", "pressure_coefficient")),
            *(f"volume_{name}" for name in fields),
        ]
        assert manifest.samples["run_10"].scalars == {"Cd": 0.31, "Cl": 0.1}


def test_a_recipe_is_told_what_it_lacks_and_what_it_leaves_out(runs: Path, tmp_path: Path, command: Command) -> None:
    (runs / "run_2" / "boundary_2.vtp").unlink()
    recipe = tmp_path / "mine.toml"
    surface = '[surface]\nfile = "boundary_{n}.vtp"\nplace = "cell"\n[surface.fields]\n'
    recipe.write_text(f'name = "mine"\nsample = "run_{{n}}"\n{surface}pressure = "pMean"\n', encoding="utf-8")
    wrong = command("inspect", runs, "--recipe", recipe)
    assert wrong.status == 1
    assert "boundary_1.vtp has no cell array 'pMean' (near: pMeanTrim" in wrong.out
    assert "broken: run_2: lacks boundary_2.vtp" in wrong.out
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("pMean", "pMeanTrim"), encoding="utf-8")
    right = command("inspect", runs, "--recipe", recipe)
    assert right.status == 0
    assert "the recipe mine finds 2 samples" in right.out
    assert "surface_pressure                 cell array 'pMeanTrim' of boundary_1.vtp, float32" in right.out
    assert "left out of boundary_1.vtp: point array 'vtkOriginalPointIds', cell array 'CpMeanTrim'" in right.out
    assert "the store will have" in right.out


def test_the_shipped_recipe_that_fits_is_named(tmp_path: Path, command: Command) -> None:
    for number in (1, 2):
        surface, volume = body(number), block(number)
        add_arrays(surface, {"pMean": 1, "static(p)_coeffMean": 1, "wallShearStressMean": 3, "yPlusMean": 1})
        add_arrays(volume, {"pMean": 1, "UMean": 3, "total(p)_coeffMean": 1, "vorticityMean": 3})
        save(surface, tmp_path / f"run_{number}" / f"boundary_{number}.vtp")
        save(volume, tmp_path / f"run_{number}" / f"volume_{number}.vtu")
    out = command("inspect", tmp_path).out
    assert "recipe ahmedml fits: 2 samples" in out
    assert f"drawpoint convert {tmp_path} STORE --recipe ahmedml" in out
    assert "the recipe ahmedml finds 2 samples" in out
    for path in tmp_path.rglob("volume_*.vtu"):
        path.rename(path.with_name("domain.vtu"))
    renamed = command("inspect", tmp_path).out
    assert "recipe ahmedml fits" not in renamed
    assert "recipe ahmedml has" in renamed


def test_files_that_cannot_be_read_are_named(runs: Path, command: Command) -> None:
    whole = runs / "run_2" / "boundary_2.vtp"
    whole.write_bytes(whole.read_bytes()[:300])
    found = command("inspect", runs)
    assert found.status == 0
    assert "cannot be read: run_2/boundary_2.vtp: " in found.out
    for path in runs.rglob("*.vt*"):
        path.write_bytes(b"no mesh")
    lost = command("inspect", runs)
    assert lost.status == 1
    assert "cannot be read: run_10/boundary_10.vtp: " in lost.out


def test_only_a_few_of_many_samples_are_opened(tmp_path: Path, command: Command) -> None:
    for number in range(300):
        (tmp_path / f"car_{number:03}.npz").write_bytes(b"damaged")
    for number in (0, 150, 299):
        rng = np.random.default_rng(number)
        np.savez(tmp_path / f"car_{number:03}.npz", points=rng.random((8 + number, 3)), p=rng.random(8 + number))
    found = command("inspect", tmp_path)
    assert found.status == 0
    assert "samples  300, as car_{n}.npz; looked into car_000.npz, car_150.npz, car_299.npz" in found.out
    assert "8 to 307 rows" in found.out
    assert "cannot be read" not in found.out
    assert "the store will have about" in found.out


def test_trees_of_tensors_need_no_recipe(tmp_path: Path, command: Command) -> None:
    plain = command("inspect", AHMED)
    assert plain.status == 0
    assert f"convert it with: drawpoint convert {AHMED} STORE\n" in plain.out
    tensors = {"surface_points": (9, 3), "surface_pressure": (9,), "surface_normals": (9, 3), "volume_points": (20, 3)}
    tensors |= {"volume_velocity": (20, 3), "volume_normals": (20, 3), "volume_sdf": (20,)}
    (tmp_path / "param0" / "a").mkdir(parents=True)
    for name, shape in tensors.items():
        torch.save(torch.rand(shape), tmp_path / "param0" / "a" / f"{name}.pt")
    assert f"drawpoint convert {tmp_path} STORE --filemap shapenet-car\n" in command("inspect", tmp_path).out


def test_one_file_is_a_source_too(runs: Path, command: Command) -> None:
    found = command("inspect", runs / "run_1" / "boundary_1.vtp")
    assert found.status == 0
    assert "cell   CpMeanTrim" in found.out
    assert "volume" not in found.out


def test_what_needs_no_conversion_or_cannot_have_one_is_said_in_a_sentence(
    root: Path, tmp_path: Path, command: Command
) -> None:
    store = command("inspect", root)
    assert (store.status, store.out) == (1, "")
    assert f"is a drawpoint store, which needs no conversion; `drawpoint info {root}`" in store.err
    (tmp_path / "empty").mkdir()
    assert command("inspect", tmp_path / "empty").err == f"drawpoint inspect: {tmp_path / 'empty'} is empty.\n"
    (tmp_path / "empty" / "notes.docx").touch()
    nothing = command("inspect", tmp_path / "empty")
    assert nothing.status == 1
    assert "nothing" in nothing.err
    assert "(1 .docx)" in nothing.err
    assert ".vtu" in nothing.err
    np.save(tmp_path / "empty" / "p.npy", np.ones(3))
    alone = command("inspect", tmp_path / "empty", "--write-recipe", tmp_path / "my.toml")
    assert alone.status == 1
    assert "no array named like positions" in alone.err
    assert "docs/recipes.md how a recipe names positions" in alone.err
    assert not (tmp_path / "my.toml").exists()


def test_a_file_is_never_written_over(runs: Path, tmp_path: Path, command: Command) -> None:
    kept = tmp_path / "my.toml"
    kept.write_text("mine", encoding="utf-8")
    assert command("inspect", runs, "--write-recipe", kept).status == 2
    assert kept.read_text(encoding="utf-8") == "mine"
    assert "give a local file" in command("inspect", runs, "--write-recipe", "s3://bucket/my.toml").err


def test_cases_of_openfoam_are_samples(tmp_path: Path, command: Command) -> None:
    grid = pv.ImageData(dimensions=(4, 3, 3)).cast_to_unstructured_grid()
    for number in (1, 2):
        case = FoamCase(tmp_path / "cases" / f"design_{number}", grid, cell_faces(grid))
        case.write_mesh()
        case.write_field("250", "p", np.arange(grid.n_cells) * 1.0, {"wall": case.patches["wall"][:, 0]})
    source, written = tmp_path / "cases", tmp_path / "my.toml"
    found = command("inspect", source, "--write-recipe", written)
    assert found.status == 0, found.err
    assert "samples  2, as design_{n}" in found.out
    assert 'member = "body*"' in written.read_text(encoding="utf-8")
    assert command("convert", source, tmp_path / "store", "--recipe", written, "--workers", 1).status == 0
    assert command("verify", tmp_path / "store", "--source", source, "--recipe", written).status == 0
    assert "samples  1, as ." in command("inspect", source / "design_1").out
