"""Recipes as files: what is refused, and how the sentence names it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawpoint.errors import InvalidSettings
from drawpoint_store.conversion.recipes.pattern import Pattern, natural_key
from drawpoint_store.conversion.recipes.recipe_file import load_recipe, parse_recipe, shipped_recipes

TOP = """name = "a"
sample = "run_{n}"
"""
HEAD = TOP + '[surface]\nfile = "b_{n}.vtp"\n'
FIELD = HEAD + "[surface.fields]\np = "

WRONG = {
    'sample = "run_{n}"': "name: it is required",
    TOP: "it has no domain; add a table such as [surface]",
    TOP + 'foo = 1\n[surface]\nfile = "x.vtp"': "'foo' is no key of a recipe; there is: name, ",
    'name = "a"\nsampel = "run_{n}"\n[surface]\nfile = "x.vtp"': "'sampel' is no key of a recipe; near names: sample",
    HEAD + "[scalers]\nx = { value = 1.0 }": "'scalers' is no domain, since it has none of its",
    TOP + '[surface]\nfil = "x.vtp"': "surface: 'fil' is no key of a domain; near names: file",
    TOP + '[surface]\nfile = "x_{m}.vtp"': "has no capture '{m}'; near names: {n}",
    TOP + '[surface]\nfile = "../x.vtp"': "'../x.vtp' is no path below the source",
    'name = "a"\nsample = "/run_{n}"\n[surface]\nfile = "x.vtp"': "samples always lie below SOURCE",
    'name = "a"\nsample = "run_{n"\n[surface]\nfile = "x.vtp"': "has a brace that captures nothing",
    TOP + '[Surface]\nfile = "x.vtp"': "'Surface' is no name of a domain or field",
    TOP + 'id = "{m}"\n[surface]\nfile = "x.vtp"': "id of the recipe 'a' has no capture '{m}'",
    TOP + '[surface]\nfile = ["x.vtp", "y.vtp"]': "'x.vtp' is none",
    TOP + '[surface]\nplace = "cell"': "surface names no file, and samples are folders",
    FIELD + '{ array = "x", file = "a.zip", member = "{m}.vtp" }': "fields.p of the recipe 'a' has no capture '{m}'",
    FIELD + '{ array = "x", file = "/a.npy", index = "{m}" }': "has no capture '{m}'",
    HEAD + '[scalars]\nCd = { file = "/x.csv", column = "Cd", row = { case = "{m}" } }': "scalars.Cd of the recipe",
    HEAD + 'place = "cel"': "surface.place: it must be 'cell', 'point' or 'row', not 'cel'",
    HEAD + 'place = ["cell", "pint"]': "surface.place: it must be 'cell', 'point' or 'row', not 'pint'",
    HEAD + 'place = ["cell", "row"]': 'a list of places is ["cell", "point"] or ["point", "cell"]',
    HEAD + 'place = "row"': "rows have no mesh, so that their position has to be named",
    HEAD + 'length_unit = "furlong"': "surface.length_unit: 'furlong' is no unit of length",
    HEAD + 'axes = ["x", "z", "z"]': "surface.axes: it must name x, y and z once each",
    HEAD + "crop = { x = [1, 0] }": "surface.crop.x: a range begins with its lower end",
    HEAD + 'mask = { array = "p" }': "it says nothing of 'p'; give one of equal, not_equal",
    HEAD + '[surface.fields]\np = { arry = "x" }': "'arry' is no key of a field; near names: array",
    FIELD + "3": "surface.fields.p: it must be named values, not 3",
    FIELD + '{ derive = "normal" }': "p.derive: it must be 'normals', 'area', 'volume', 'centre', 'vorticity' or",
    FIELD + '{ derive = "normals", mode = "flop" }': "is 'shipped' or 'flip' or 'orient', not 'flop'",
    FIELD + '{ derive = "area", array = "x" }': "a field that is derived has no array",
    FIELD + '{ array = "x", mode = "flip" }': "mode says how a field is derived",
    FIELD + '{ array = "x", join = "position" }': 'join = "position" is with another file',
    FIELD + '{ array = "x", dtype = "int8" }': "surface.fields.p.dtype: dtype 'int8' is not one of float16",
    HEAD + '[scalars]\nCd = { file = "x.csv" }': "scalars.Cd: a scalar is { file, column }",
    HEAD + "[scalars]\nCd = { value = 1.0, values = { a = 2.0 } }": "values are numbers for texts that from_id finds",
    HEAD + '[scalars]\nCd = { from_id = "run_.*" }': "from_id has 0 groups",
    HEAD + '[splits]\n"../train" = ["run_1"]': "split='../train' is refused",
    "name = ": "is not TOML",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_a_recipe_that_is_wrong_is_refused_by_the_name_of_its_key(text: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        parse_recipe(text, "mine.toml")
    assert str(caught.value).startswith("mine.toml is no")
    assert WRONG[text] in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_is_found_by_its_name_in_any_spelling_and_says_what_it_is_for(name: str) -> None:
    recipe = load_recipe(name.upper().replace("-", ""))
    assert recipe.name == name
    assert recipe.description
    assert recipe == load_recipe(name)


def test_a_recipe_that_is_not_there_is_named_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"'drivaermll' is no file and no shipped recipe; near names: drivaerml"):
        load_recipe("drivaermll")
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidSettings, match="is not UTF-8 text"):
        load_recipe(tmp_path / "mine.toml")


NAMES = st.text("abcXYZ019_-. ", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))


@settings(max_examples=40)
@given(number=st.integers(0, 10**6), kind=NAMES, sample_id=st.lists(NAMES, min_size=1, max_size=3).map("/".join))
def test_what_a_pattern_captures_fills_it_to_the_same_path(number: int, kind: str, sample_id: str) -> None:
    pattern = Pattern("sets/{class}/{id}/run_{n}/boundary_{n}.vtp")
    path = pattern.fill({"n": str(number), "class": kind, "id": sample_id})
    captured = pattern.match(path)
    assert captured == {"n": str(number), "class": kind, "id": sample_id}
    assert pattern.match(path.replace(f"boundary_{number}", f"boundary_{number}1")) is None


@settings(max_examples=40)
@given(st.lists(st.integers(0, 10**4), min_size=1, unique=True))
def test_names_are_sorted_as_people_count(numbers: list[int]) -> None:
    names = sorted((f"volume.vtu.{number}.part" for number in numbers), key=natural_key)
    assert names == [f"volume.vtu.{number}.part" for number in sorted(numbers)]
