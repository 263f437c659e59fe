"""`drawpoint check`: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from checked import ellipsoid, write_checked
from cli.conftest import Command
from drawpoint_cli.commands import check
from drawpoint_cli.findings_table import MOST_ROWS, findings_table
from drawpoint_store import FileMap, ZarrStoreWriter
from drawpoint_store.inspecting.physics.finding import Finding
from drawpoint_store.reading.manifest import StoreManifest

RECIPE = """
name = "made"
sample = "run_{n}"
[surface]
file = "b.vtp"
place = "cell"
[surface.fields]
pressure = "p"
normals = { derive = "normals" }
area = { derive = "area" }
[scalars]
U_inf = { value = 2.0 }
A_ref = { value = 1.0 }
[checks.drag]
check = "force"
expected = "Cd"
friction = false
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "made.toml").write_text(RECIPE, encoding="utf-8")
    return tmp_path / "made.toml"


def sphere(root: Path, **scalars: float) -> Path:
    """A sphere in a pressure that falls along x: the force is its volume."""
    arrays = ellipsoid()
    arrays["surface_pressure"] = -arrays["surface_position"][:, 0]
    return write_checked(root, arrays, "run_1", scalars)


CD = 2.035  # of 12 rings: the volume, 4.07, by 0.5 * 2**2 * 1


def test_what_holds_is_a_line_of_a_table(tmp_path: Path, recipe: Path, command: Command) -> None:
    ended = command("check", sphere(tmp_path / "store", Cd=CD), "--recipe", recipe)
    assert (ended.status, ended.err) == (0, "")
    head, drag, *others = ended.out.splitlines()
    assert head.split() == ["sample", "check", "found", "expected", "difference", "verdict"]
    assert drag.split()[:2] == ["run_1", "drag"]
    assert drag.endswith("holds")
    assert len(others) == 5


def test_a_wrong_coefficient_is_named_with_what_would_explain_it(
    tmp_path: Path, recipe: Path, command: Command
) -> None:
    ended = command("check", sphere(tmp_path / "store", Cd=-CD), "--recipe", recipe)
    assert ended.status == 1
    assert "fails: run_1, drag: " in ended.out
    cause = (
        'if the normals pointed the other way (mode = "flip", or scale = -1), or with surface_pressure of the other '
    )
    assert f"\n    it would be {-CD:.4g} {cause}sign\n" in ended.out
    assert ended.err.startswith("drawpoint check: 1 check of run_1 does not hold; ")


def test_a_sample_without_the_coefficient_is_named_and_fails_if_strict(
    tmp_path: Path, recipe: Path, command: Command
) -> None:
    root = sphere(tmp_path / "store")
    ended = command("check", root, "--recipe", recipe)
    assert ended.status == 0
    assert "not checked: drag in 1 sample (run_1): there is no scalar 'Cd'; `drawpoint annotate`" in ended.out
    assert command("check", root, "--recipe", recipe, "--strict").status == 1


def test_of_many_samples_that_fail_alike_the_first_are_explained_and_the_rest_counted(
    root: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [Finding(f"run_{i:03}", "drag", "fails", 1.0 + i, 0.0, 0.1, "it is not 0", ("a cause",)) for i in range(100)]
    monkeypatch.setattr(check, "check_physics", lambda *_, **__: iter([[finding] for finding in made]))
    ended = command("check", root)
    assert ended.status == 1
    *told, more, head, row = ended.out.splitlines()
    assert told[::2] == [f"fails: run_{i:03}, drag: it is not 0" for i in range(20)]
    assert more == "fails: 80 more samples, drag: --json has them"
    assert head.startswith("sample")
    assert row.startswith("run_099")
    assert row.endswith("fails in 100 samples, this the farthest off")


def test_a_remark_on_a_scalar_is_nothing_that_was_checked(
    root: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    remark = Finding("run_1", "scalar Cd", "remark", message="it is 1 in the store, which counts, and 2 in the recipe")
    monkeypatch.setattr(check, "check_physics", lambda *_, **__: iter([[remark]]))
    ended = command("check", root)
    assert ended.status == 1
    assert ended.err.startswith("drawpoint check: nothing could be checked; ")


def test_numbers_of_the_store_go_before_those_that_the_recipe_states(
    tmp_path: Path, recipe: Path, command: Command
) -> None:
    root = sphere(tmp_path / "store", Cd=CD / 4, U_inf=4.0)
    ended = command("check", root, "--recipe", recipe)
    assert ended.status == 0
    assert "remark: run_1, scalar U_inf: it is 4 in the store, which counts, and 2 in the recipe\n" in ended.out


def test_a_store_of_which_nothing_can_be_checked_fails(root: Path, tmp_path: Path, command: Command) -> None:
    writer = ZarrStoreWriter(tmp_path / "bare", FileMap(surface_position="p.pt"), "bare")
    writer.write_sample("run_1", {"surface_position": np.zeros((3, 3), np.float32)})
    writer.save_manifest()
    ended = command("check", tmp_path / "bare")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("drawpoint check: nothing could be checked; ")


def test_random_values_in_place_of_normals_fail(root: Path, command: Command) -> None:
    ended = command("check", root)
    assert ended.status == 1
    assert "fails: param0/run, surface unit normals: surface_normals differ from unit length by up to" in ended.out
    assert "areas were given a sign, or hold NaN or inf" in ended.out


def test_json_has_every_finding(tmp_path: Path, recipe: Path, command: Command) -> None:
    ended = command("check", sphere(tmp_path / "store", Cd=-CD), "--recipe", recipe, "--json")
    assert ended.status == 1
    found = {finding["check"]: finding for finding in json.loads(ended.out)}
    assert found["drag"]["verdict"] == "fails"
    assert found["drag"]["difference"] == pytest.approx(2 * CD, rel=0.01)
    assert len(found["drag"]["causes"]) >= 1
    assert found["surface positive areas"]["found"] == 0


def test_samples_are_chosen_and_unknown_ones_named(tmp_path: Path, root: Path, command: Command) -> None:
    ended = command("check", root, "--sample", "param1/run")
    assert "param0" not in ended.out
    ended = command("check", root, "--sample", "param1/rum")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == ("drawpoint check: the store has no sample 'param1/rum'; near names: param1/run, param0/run.\n")


def test_a_damaged_sample_fails_and_the_others_are_checked(root: Path, command: Command) -> None:
    relpath = StoreManifest.load(root).samples["param0/run"].relpath
    folder = root / relpath / StoreManifest.load(root).fields["surface_normals"].array_name
    (shard,) = [path for path in folder.rglob("*") if path.is_file() and path.name != "zarr.json"]
    shard.write_bytes(shard.read_bytes()[:100])
    ended = command("check", root)
    assert ended.status == 1
    assert "fails: param0/run, values: " in ended.out
    assert "`drawpoint verify` tells what is damaged" in ended.out
    assert "param1/run  surface unit normals" in ended.out


def test_a_recipe_without_checks_is_a_remark(root: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "plain.toml").write_text(RECIPE.partition("[checks")[0], encoding="utf-8")
    ended = command("check", root, "--recipe", tmp_path / "plain.toml")
    assert "remark: the recipe made has no [checks]: only normals and areas were looked at" in ended.out


def test_a_recipe_that_is_none_is_wrong_usage(root: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "bad.toml").write_text(RECIPE.replace('"force"', '"forse"'), encoding="utf-8")
    ended = command("check", root, "--recipe", tmp_path / "bad.toml")
    assert ended.status == 2
    assert (
        "checks.drag: it checks 'forse', which is no kind of check; give it a key check; near names: force" in ended.err
    )


def test_what_holds_in_many_samples_is_a_line_a_check() -> None:
    many = [Finding(f"run_{number}", "drag", "holds", 0.3 + number / 1e4, 0.3, 0.1) for number in range(MOST_ROWS)]
    many.append(Finding("run_x", "drag", "fails", 0.5, 0.3, 0.1))
    _, failed, held = findings_table(many)
    assert failed.split()[0] == "run_x"
    assert held.split()[0] == f"run_{MOST_ROWS - 1}"
    assert held.endswith(f"holds in {MOST_ROWS} samples, this the farthest off")
