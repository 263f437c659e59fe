"""docs/recipes.md: each of its recipes reads a data set that is as the page says, and it names every key."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from conftest import REPOSITORY
from drawpoint_store.conversion.recipes.check_recipe import KINDS
from drawpoint_store.conversion.recipes.domain_recipe import METRES, DomainRecipe
from drawpoint_store.conversion.recipes.field_recipe import FieldRecipe
from drawpoint_store.conversion.recipes.id_list import IdFile
from drawpoint_store.conversion.recipes.recipe import Recipe
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe, shipped_recipes
from drawpoint_store.conversion.recipes.recipe_model import RecipeModel
from drawpoint_store.conversion.recipes.row_condition import RowCondition
from drawpoint_store.conversion.recipes.scalar_recipe import ScalarRecipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.data_files.opening import READERS
from vtk_files import add_arrays, block, body, save, split

PAGE = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
NAME, SAMPLE = 'name = "page"\n', 'sample = "run_{n}"\n'
SURFACE = '[surface]\nfile = "boundary_{n}.vtp"\nplace = "cell"\n'


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    for number in range(1, 5):
        run = root / f"run_{number}"
        surface, volume = body(number), block(number)
        add_arrays(surface, {"p": 1, "tau": 3, "fx": 1, "fy": 1, "fz": 1, "n": 3}, {"p": 1, "tau": 3}, seed=number)
        add_arrays(volume, {"p": 1, "U": 3, "u": 1, "v": 1, "w": 1})
        for path in (run / f"body_{number}.stl", root / "shared_body.stl"):
            save(surface, path)
        for path in (run / f"boundary_{number}.vtp", run / f"other_{number}.vtp"):
            save(surface, path)
        save(surface, root / "pressure" / "fast" / f"F_{number}.vtp")
        save(surface, root / "friction" / "fast" / f"F_{number}.vtp")
        with tarfile.open(run / f"packed_{number}.tgz", "w:gz") as packed:
            packed.add(run / f"boundary_{number}.vtp", f"boundary_{number}.vtp")
        save(volume, run / f"volume_{number}.vtu")
        split(run / f"volume_{number}.vtu", 2)
        np.save(run / f"weights_{number}.npy", np.ones(9))
        (run / f"table_{number}.csv").write_text("x,y,z,p\n0,1,2,3.5\n", encoding="utf-8")
        (run / f"force_mom_{number}.csv").write_text("Cd, Cl\n0.25, -0.125\n", encoding="utf-8")
        (run / "setup.json").write_text('{"inflow": {"density": 1.225}}', encoding="utf-8")
    np.save(root / "loads.npy", np.ones((5, 9)))
    np.save(root / "cp.npy", np.ones((5, 20)))
    np.save(root / "geometry.npy", np.ones((5, 20, 3)))
    (root / "cases.csv").write_text("case,yaw\n1,0\n2,5\n3,10\n4,15\n", encoding="utf-8")
    (root / "lists").mkdir()
    (root / "lists" / "broken.txt").write_text("run_4\n", encoding="utf-8")
    (root / "lists" / "splits.json").write_text('{"full": {"train": ["run_1"]}}', encoding="utf-8")
    return root


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_recipe_of_the_page_reads_such_a_data_set(number: int, data_set: Path) -> None:
    text = BLOCKS[number]
    text = text if re.search("^sample =", text, flags=re.MULTILINE) else SAMPLE + text
    text = text if "name =" in text else NAME + text
    text = text if re.search(r"^\[(surface|volume)\]", text, flags=re.MULTILINE) else text + SURFACE
    source = RecipeSource.scan(data_set, parse_recipe(text, "docs/recipes.md"))
    assert source.broken == {}
    sample_id = source.sample_ids[0]
    for spec in source.specs:
        assert len(source.read(sample_id, spec.canonical)) > 0
    assert set(source.scalars(sample_id)) == {
        name for name, scalar in source.recipe.scalars.items() if not scalar.optional
    }
    assert all(source.splits.values())


def test_the_page_tells_of_every_shipped_recipe() -> None:
    assert re.findall(
        r"^\| `([a-z-]+)` \|", PAGE.partition("## Public data sets")[2].partition("\n## ")[0], flags=re.MULTILINE
    ) == list(shipped_recipes())


def test_the_page_names_every_key_and_kind_of_file() -> None:
    models: tuple[type[RecipeModel], ...] = (
        Recipe,
        DomainRecipe,
        FieldRecipe,
        ScalarRecipe,
        RowCondition,
        IdFile,
        *KINDS.values(),
    )
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()} - {"domains"}
    keys |= {f'"{unit}"' for unit in (*METRES, *KINDS)}
    assert [key for key in sorted(keys) if not re.search(rf"`[^`\n]*(?<!\w){re.escape(key)}(?!\w)[^`\n]*`", PAGE)] == []
    assert [suffix for suffix in READERS if not re.search(rf"[` ]{re.escape(suffix)}[` ]", PAGE)] == []
