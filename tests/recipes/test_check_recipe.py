"""`[checks]` of a recipe: what is refused, and what they do not change."""

from __future__ import annotations

from pathlib import Path

import pytest

from checked import AHMED_RECIPE
from drawpoint.errors import InvalidSettings
from drawpoint_store.conversion.recipes.check_recipe import ForceCheck
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource

HEAD = """name = "a"
sample = "run_{n}"
[surface]
file = "b.vtp"
[surface.fields]
pressure = "p"
normals = { derive = "normals" }
area = { derive = "area" }
[checks.drag]
"""
FORCE = HEAD + 'check = "force"\nfriction = false\n'

WRONG = {
    HEAD: "checks.drag: it does not say what it checks; give it a key check; there is: force, pressure_coefficient",
    HEAD + 'check = "forces"': "it checks 'forces', which is no kind of check; give it a key check; near names: force",
    HEAD + 'check = ["force"]': "it checks ['force'], which is no kind of check",
    FORCE: "checks.drag.force.expected: it is required",
    FORCE + "expected = true": "it is a number or the name of a scalar, not true or false",
    FORCE + 'expected = "C d"': "'C d' is no name of a scalar",
    FORCE + "expected = 1.0\ntoleranse = 1": "'toleranse' is no key of a check; near names: tolerance",
    FORCE + "expected = 1.0\ntolerance = -1": "checks.drag.force.tolerance: it must be at least 0, not -1",
    FORCE + 'expected = 1.0\ndirection = "up"': "'up' is no direction; give an axis such as 'x' or '-z', or three",
    FORCE + "expected = 1.0\ndirection = [1, 0]": "it has 2 numbers; give an axis",
    FORCE + "expected = 1.0\ndirection = [0, 0, 0]": "it has no direction; give an axis",
    FORCE + 'expected = 1.0\ndynamic_pressure = "sqrt(q)"': "'sqrt(q)' is no expression in scalars, such as",
    FORCE + "expected = 1.0\nfriction_sign = 2": "checks.drag.force.friction_sign: it must be -1 or 1, not 2",
    FORCE + 'expected = 1.0\npressure = "presure"': "'presure' of surface, which has no such field; near names:",
    FORCE.replace("false", "true") + "expected = 1.0": "it is the name of a field, or false for none",
    HEAD + 'check = "force"\nexpected = 1.0': "'friction' of surface, which has no such field; friction = false leaves",
    HEAD + 'check = "inflow"': "it is of 'volume', which is no domain of the recipe; there is: surface",
    HEAD.replace("[checks.drag]", "[checks]\ndrag = 3"): "checks.drag: it must be named values, not 3",
    HEAD.replace("[checks.drag]", "[check.drag]\ncheck = 1"): "'check' is no domain, since it has none of its keys",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_check_that_is_none_is_refused_by_its_key(text: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        parse_recipe(text, "mine.toml")
    assert str(refused.value).startswith("mine.toml is no recipe: ")
    assert WRONG[text] in str(refused.value)


def test_a_direction_is_of_unit_length_and_a_number_an_expression() -> None:
    text = FORCE + "expected = 1\ndirection = [0, -3, 4]\ndynamic_pressure = 800"
    check = parse_recipe(text, "mine.toml").checks["drag"]
    assert isinstance(check, ForceCheck)
    assert check.direction == (0.0, -0.6, 0.8)
    assert check.dynamic_pressure == "800.0"


def test_an_edited_tolerance_converts_nothing_again(tmp_path: Path) -> None:
    text = AHMED_RECIPE.read_text(encoding="utf-8")
    recipe, edited = parse_recipe(text, "shipped"), parse_recipe(text.replace("= 0.005", "= 0.05"), "edited")
    assert recipe.checks != edited.checks
    assert RecipeSource.scan(tmp_path, recipe).settings == RecipeSource.scan(tmp_path, edited).settings
