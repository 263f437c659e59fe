"""`drawpoint convert --recipe`, `drawpoint verify --recipe` and `drawpoint recipes` as their users see them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import pyvista as pv

from drawpoint import source_rows
from drawpoint_store import StoreManifest, ZarrChunkReader
from drawpoint_store.conversion.recipes.recipe_file import shipped_recipes
from trees import files_below
from vtk_files import add_arrays, body, save

if TYPE_CHECKING:
    from cli.conftest import Command

RECIPE = """
name = "my-set"
sample = "run_{n}"
[surface]
file = "boundary_{n}.vtp"
place = "cell"
[surface.fields]
pressure = "pMeanTrim"
friction = { array = "wallShearStressMeanTrim", scale = -1.0, units = "m2/s2" }
temperature = { array = "T", dtype = "float32", description = "static" }
normals = { derive = "normals" }
area = { derive = "area" }
[splits]
train = ["run_1", "run_3", "run_7"]
test = ["run_2"]
"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for number in range(1, 4):
        mesh = body(number)
        arrays = {"pMeanTrim": 1, "wallShearStressMeanTrim": 3, "T": 1}
        add_arrays(mesh, arrays, arrays, seed=number)
        save(mesh, tmp_path / "runs" / f"run_{number}" / f"boundary_{number}.vtp")
    return tmp_path / "runs"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(RECIPE, encoding="utf-8")
    return tmp_path / "mine.toml"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_files_of_vtk_become_a_store_that_verifies_against_them(
    command: Command, runs: Path, recipe: Path, store: Path
) -> None:
    ended = command("convert", runs, store, "--recipe", recipe, "--workers", 1)
    assert (ended.status, ended.err) == (0, "")
    assert "converted 3 samples with 27 points" in ended.out
    assert "split train: 2 samples; 1 more are not in the store\nsplit test: 1 sample\n" in ended.out
    manifest = StoreManifest.load(store)
    assert manifest.dataset_name == "my-set"
    assert list(manifest.fields) == [
        f"surface_{name}" for name in ("position", "pressure", "friction", "normals", "area", "temperature")
    ]
    assert manifest.fields["surface_temperature"].dtype == "float32"
    assert manifest.fields["surface_friction"].units == "m2/s2"
    assert (store / "splits" / "train.txt").read_text(encoding="utf-8") == "run_1\nrun_3\n"
    assert f"statistics of split train, of 2 samples: {store}/statistics.json; those of another split" in ended.out
    of_test = command("stats", store, "--split", "test", "--output", store.parent / "test.json")
    assert "0 of 1 sample read, others kept in statistics/samples.npz" in of_test.out
    mesh = body(2)
    add_arrays(mesh, {"pMeanTrim": 1, "wallShearStressMeanTrim": 3, "T": 1}, seed=2)
    drawn = ZarrChunkReader(store).read_sample("run_2")
    rows = source_rows(manifest, "run_2", "surface")
    expected = -mesh.cell_data["wallShearStressMeanTrim"][rows]
    assert np.array_equal(drawn["surface_friction"].numpy(), np.asarray(expected, np.float16).astype(np.float32))
    ended = command("verify", store, "--source", runs, "--recipe", recipe, "--workers", 1)
    assert (ended.status, ended.err) == (0, "")
    assert re.search(r"3 samples, 324 values: as in", ended.out)
    ended = command("verify", store, "--recipe", recipe)
    assert (ended.status, "name it with --source" in ended.err) == (2, True)


def test_cells_without_area_and_cells_that_have_none_are_told_with_their_sample_and_file(
    command: Command, runs: Path, recipe: Path, store: Path
) -> None:
    surface = pv.read(runs / "run_1" / "boundary_1.vtp")
    assert isinstance(surface, pv.PolyData)
    surface.points = np.zeros((surface.n_points, 3), np.float32)
    surface.save(runs / "run_1" / "boundary_1.vtp")
    line = pv.Line()
    add_arrays(line, {"pMeanTrim": 1, "wallShearStressMeanTrim": 3, "T": 1})
    save(line, runs / "run_2" / "boundary_2.vtp")
    ended = command("convert", runs, store, "--recipe", recipe, "--workers", 1)
    assert "remark: surface_normals is (0, 0, 0), as where a cell has no area, at 9 points in 1 of 2" in ended.err
    assert re.search(r"broken: run_2: .*boundary_2\.vtp: cell 0 is a line", ended.err)


def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    command: Command, tmp_path: Path, recipe: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs" / "run_1" / "boundary_1.vtp"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"# vtk DataFile Version 3.0\n\nBINARY\nDATASET POLYDATA\n")
    monkeypatch.setitem(sys.modules, "vtkmodules.vtkIOLegacy", None)
    ended = command("convert", tmp_path / "runs", store, "--recipe", recipe, "--workers", 1)
    assert ended.status == 1
    assert re.search(
        r"boundary_1\.vtp needs vtkmodules, which is not installed: run `pip install '\.\[vtk\]'`", ended.err
    )


def test_several_workers_read_files_of_other_kinds_where_there_is_no_torch(
    runs: Path, recipe: Path, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "torch.py").write_text("raise ModuleNotFoundError", encoding="utf-8")
    words = ["-m", "drawpoint_cli", "convert", str(runs), str(store), "--recipe", str(recipe), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "none")}
    ended = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "converted 3 samples" in ended.stdout


def test_a_sample_without_its_file_is_broken_by_its_name_and_appended_once_it_is_there(
    command: Command, runs: Path, recipe: Path, store: Path, tmp_path: Path
) -> None:
    assert command("convert", runs, tmp_path / "whole", "--recipe", recipe, "--workers", 1).status == 0
    path = runs / "run_3" / "boundary_3.vtp"
    path.rename(tmp_path / "kept.vtp")
    (runs / "run_3" / "force_mom_3.csv").touch()
    ended = command("convert", runs, store, "--recipe", recipe, "--workers", 1)
    assert ended.status == 1
    assert ended.err.startswith("broken: run_3: lacks boundary_3.vtp\n1 of 3 samples is broken")
    (tmp_path / "kept.vtp").rename(path)
    ended = command("convert", runs, store, "--recipe", recipe, "--append", "--workers", 1)
    assert (ended.status, ended.err) == (0, "")
    assert files_below(store) == files_below(tmp_path / "whole")


def test_a_recipe_that_changed_converts_anew(command: Command, runs: Path, recipe: Path, store: Path) -> None:
    assert command("convert", runs, store, "--recipe", recipe, "--workers", 1).status == 0
    recipe.write_text(RECIPE.replace("scale = -1.0", "scale = 1.0"), encoding="utf-8")
    ended = command("verify", store, "--source", runs, "--recipe", recipe, "--workers", 1)
    assert ended.status == 1
    assert "surface_friction of sample 'run_1' differs in 9 of 9 rows" in ended.out
    ended = command("convert", runs, store, "--recipe", recipe, "--overwrite", "--workers", 1)
    assert (ended.status, "resumed" in ended.out) == (0, False)
    assert command("verify", store, "--source", runs, "--recipe", recipe, "--workers", 1).status == 0


def test_a_wrong_recipe_or_array_ends_with_a_sentence_and_no_store(
    command: Command, runs: Path, recipe: Path, store: Path
) -> None:
    recipe.write_text(RECIPE.replace('"pMeanTrim"', '"pMean"'), encoding="utf-8")
    ended = command("convert", runs, store, "--recipe", recipe, "--workers", 1)
    assert ended.status == 1
    assert ended.err == (
        "drawpoint convert: sample 'run_1': boundary_1.vtp has no cell array 'pMean' (near: pMeanTrim); there is: cell "
        "arrays pMeanTrim, wallShearStressMeanTrim (3), T; point arrays pMeanTrim, wallShearStressMeanTrim (3), T\n"
    )
    assert not store.exists()
    ended = command("convert", runs, store, "--recipe", "drivaermll")
    assert ended.status == 2
    assert "'drivaermll' is no file and no shipped recipe; near names: drivaerml" in ended.err
    ended = command("convert", runs, store, "--recipe", recipe, "--filemap", "drivaerml")
    assert ended.status == 2
    assert "argument --filemap: not allowed with argument --recipe" in ended.err


def test_the_shipped_recipes_are_listed_with_a_line_each_and_printed_as_they_are(command: Command) -> None:
    ended = command("recipes")
    assert ended.status == 0
    assert [line.split()[0] for line in ended.out.splitlines()] == list(shipped_recipes())
    assert all(len(line) <= 120 for line in ended.out.splitlines())
    for name, text in shipped_recipes().items():
        assert command("recipes", name).out == text
    assert command("recipes", "airfran") == (
        1,
        "",
        "drawpoint recipes: 'airfran' is no shipped recipe; near names: airfrans.\n",
    )
