"""OpenFOAM cases by recipe: cells and patches of each."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from foam import FoamCase, cell_faces

RECIPE = """
name = "cases"
sample = "design_{n}"
[volume]
file = "."
place = "cell"
centre = "centroid"
[volume.fields]
pressure = "p"
velocity = "U"
[surface]
file = "."
member = "wa*"
place = "cell"
[surface.fields]
pressure = "p"
normals = { derive = "normals", mode = "flip" }
"""


@pytest.fixture
def cases(tmp_path: Path) -> list[FoamCase]:
    grid = pv.ImageData(dimensions=(4, 3, 3)).cast_to_unstructured_grid()
    made = []
    for number in (1, 2):
        case = FoamCase(tmp_path / f"design_{number}", grid, cell_faces(grid), binary=number == 2)
        case.write_mesh()
        case.write_field("0", "p", np.zeros(grid.n_cells), {})
        for name, values in (("p", np.arange(grid.n_cells)), ("U", np.asarray(grid.cell_centers().points))):
            walls = case.patches["wall"]
            case.write_field("250", name, values * 1.0, {"wall": walls if name == "U" else walls[:, 0] * number})
        made.append(case)
    return made


def test_cells_and_walls_of_the_latest_time_become_two_domains(cases: list[FoamCase], tmp_path: Path) -> None:
    source = RecipeSource.scan(tmp_path, parse_recipe(RECIPE, "test.toml"))
    assert (source.sample_ids, source.broken) == (["design_1", "design_2"], {})
    for case in cases:
        sample_id = case.path.name
        read = {field: source.read(sample_id, field) for field in source.fields(sample_id)}
        assert np.array_equal(read["volume_pressure"][:, 0], np.arange(case.grid.n_cells))
        assert np.allclose(read["volume_velocity"], read["volume_position"])
        assert np.allclose(read["volume_position"], case.grid.cell_centers().points)
        assert np.allclose(read["surface_position"], case.patches["wall"])
        assert np.allclose(read["surface_pressure"][:, 0], case.patches["wall"][:, 0] * int(sample_id[-1]))
        assert np.allclose(read["surface_normals"], [0, 0, 1])  # the wall is below the cells, and its faces turn down

    named = RecipeSource.scan(tmp_path, parse_recipe(RECIPE.replace('file = "."', 'file = "0"'), "test.toml"))
    for time, found in (("250", source), ("0", named)):
        files = {file.path.removeprefix("design_1/") for file in found.files("design_1")}
        assert files >= {f"{time}/p", "constant/polyMesh/points", "constant/polyMesh/owner", "system/controlDict"}
        assert not any(file.startswith("0/" if time == "250" else "250/") for file in files)


def test_a_case_without_the_time_that_is_read_is_broken(cases: list[FoamCase], tmp_path: Path) -> None:
    for time in ("0", "250"):
        shutil.rmtree(cases[0].path / time)
    source = RecipeSource.scan(tmp_path, parse_recipe(RECIPE, "test.toml"))
    assert source.sample_ids == ["design_2"]
    assert "design_1 is an OpenFOAM case without results" in source.broken["design_1"]


def test_a_patch_that_a_case_lacks_is_named_with_those_that_it_has(cases: list[FoamCase], tmp_path: Path) -> None:
    source = RecipeSource.scan(tmp_path, parse_recipe(RECIPE.replace("wa*", "body*"), "test.toml"))
    with pytest.raises(InvalidSample, match=r"no patch 'body\*'; it has: wall, farField"):
        source.read("design_1", "surface_pressure")
