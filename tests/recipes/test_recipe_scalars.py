"""The scalars that a recipe finds: in a sample's files, in tables of all, in its id, or in the recipe itself."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drawpoint.errors import InvalidSample
from drawpoint_store import FileMap, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource

RECIPE = """
name = "made"
sample = "run_{n}_U{speed}"
[surface]
file = "points.npz"
place = "row"
[surface.fields]
position = "xyz"
pressure = "p"
[scalars]
U_inf = { from_id = "_U([0-9]+)$" }
gear = { from_id = "_U([0-9]+)$", values = { 20 = 0.5 }, optional = true }
A_ref = { value = 0.112 }
Cd = { file = "force_{n}.csv", column = "Cd", optional = true }
drag = { file = "force_{n}.csv", column = "Cd", optional = true, scale = 10.0, offset = 1.0 }
length = { file = "/geometry.csv", column = "L", row = { run = "{n}" } }
lift = { file = "force_{n}.csv", column = "Clift", optional = true }
yaw = { file = "setup.json", key = "inflow.yaw", optional = true }
"""
GEOMETRY = "run, L, note\n1, 1.5, a\n02, 2.5, b\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("run_1_U20", "run_2_U30"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        np.savez(folder / "points.npz", xyz=rng.random((9, 3)), p=rng.random(9))
    (tmp_path / "runs" / "geometry.csv").write_text(GEOMETRY)
    (tmp_path / "runs" / "run_1_U20" / "force_1.csv").write_text("Cd, Cl\n0.25, -0.125\n")
    (tmp_path / "runs" / "run_1_U20" / "setup.json").write_text('{"inflow": {"yaw": 5}}')
    return tmp_path / "runs"


@pytest.fixture
def source(tree: Path) -> Callable[[str], RecipeSource]:
    return lambda text: RecipeSource.scan(tree, parse_recipe(text, "test.toml"))


def test_each_form_gives_its_number_and_the_store_has_them(
    tree: Path, tmp_path: Path, source: Callable[[str], RecipeSource]
) -> None:
    found = source(RECIPE)
    writer = ZarrStoreWriter(tmp_path / "store", **{"filemap": FileMap(), **found.writer_settings})
    assert convert(found, writer).broken == {}
    reader = ZarrChunkReader(tmp_path / "store")
    given = {"A_ref": 0.112, "Cd": 0.25, "U_inf": 20.0, "drag": 3.5, "gear": 0.5, "length": 1.5, "yaw": 5.0}
    assert reader.scalars("run_1_U20") == given
    assert reader.scalars("run_2_U30") == {"A_ref": 0.112, "U_inf": 30.0, "length": 2.5}
    assert found.scalars("run_3_U40") == {}
    assert {file.path for file in found.files("run_1_U20")} >= {"geometry.csv", "run_1_U20/force_1.csv"}


def test_a_table_of_all_samples_is_read_anew_when_it_changes(tree: Path, source: Callable[[str], RecipeSource]) -> None:
    found = source(RECIPE)
    assert found.scalars("run_1_U20")["length"] == 1.5
    (tree / "geometry.csv").write_text(GEOMETRY.replace("1, 1.5", "1.0, 3.75"))
    assert found.scalars("run_1_U20")["length"] == 3.75
    assert found.scalars("run_2_U30")["length"] == 2.5
    assert pickle.loads(pickle.dumps(found)).scalars("run_1_U20")["length"] == 3.75
    (tree / "geometry.csv").unlink()
    with pytest.raises(InvalidSample, match="there is no scalar 'length'"):
        found.scalars("run_1_U20")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0-9]+)$", "a-z]+)$", "there is no scalar 'U_inf' in its id; add it, or optional = true to"),
        (
            'column = "L"',
            'column = "Length"',
            r"'length' of geometry\.csv: there is no column 'Length', only run, L, not",
        ),
        ('column = "L"', 'column = "note"', r"scalar 'length' of geometry\.csv, line 2: 'a' is no finite number"),
        (
            ', row = { run = "{n}" }',
            "",
            r"'length' of geometry\.csv: 2 rows are of this sample; tell them apart with row",
        ),
        ('run = "{n}"', "run = 7", r"there is no scalar 'length' in /geometry\.csv"),
        ('"inflow.yaw"', '"inflow"', r"scalar 'yaw' of setup\.json: \{'yaw': 5\} is no number"),
        ("drag =", '"my drag" =', "'my drag' is no name of a scalar"),
    ],
)
def test_what_is_wrong_is_named_by_scalar_and_file(
    source: Callable[[str], RecipeSource], old: str, new: str, message: str
) -> None:
    assert old in RECIPE
    with pytest.raises(InvalidSample, match=message):
        source(RECIPE.replace(old, new)).scalars("run_1_U20")
