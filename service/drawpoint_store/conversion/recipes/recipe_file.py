"""Recipes in TOML: the shipped ones by name, and files of the user's own."""

from __future__ import annotations

import difflib
import os
import tomllib
from importlib import resources

from pydantic import ValidationError

from drawpoint.errors import InvalidSettings
from drawpoint.format.invalid_values import explain
from drawpoint_store.conversion.recipes.recipe import Recipe
from drawpoint_store.storage.locations import local_path
from drawpoint_store.wording import find_spelled

_SUFFIX = ".toml"


def shipped_recipes() -> dict[str, str]:
    """Return the TOML of the recipes that drawpoint ships, by name, sorted."""
    folder = resources.files("drawpoint_store.conversion.recipes") / "shipped"
    files = {file.name.removesuffix(_SUFFIX): file for file in folder.iterdir() if file.name.endswith(_SUFFIX)}
    return {name: files[name].read_text(encoding="utf-8") for name in sorted(files)}


def find_shipped(name: str) -> tuple[str, str]:
    """Return name and TOML of the shipped recipe that is called so, in any spelling (`DrivAerML`).

    Raises InvalidSettings, with near names, if there is none.
    """
    shipped = shipped_recipes()
    found = find_spelled(name, shipped)
    if found is not None:
        return found, shipped[found]
    near = difflib.get_close_matches(name, shipped)
    hint = f"near names: {', '.join(near)}" if near else f"there is: {', '.join(shipped)}"
    raise InvalidSettings(f"{name!r} is no shipped recipe; {hint}.")


def load_recipe(name: str | os.PathLike[str]) -> Recipe:
    """Return the shipped recipe of that name, in any spelling (`DrivAerML`), or else that in the TOML file `name`.

    Raises InvalidSettings, a ValueError, if it is neither, or if the file is no recipe: the sentence names the key.
    """
    try:
        shipped, text = find_shipped(os.fspath(name))
    except InvalidSettings as error:
        path = local_path(name)
        if not path.is_file():
            raise InvalidSettings(f"{str(error).replace('is no', 'is no file and no', 1)}") from None
    else:
        return parse_recipe(text, f"the shipped recipe {shipped}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidSettings(f"{path} is not UTF-8 text; a recipe is TOML.") from None
    return parse_recipe(text, str(path))


def parse_recipe(text: str, where: str) -> Recipe:
    """Return the recipe in a TOML text; raises InvalidSettings, naming `where` and the key."""
    try:
        return Recipe.model_validate(tomllib.loads(text))
    except ValidationError as error:
        raise InvalidSettings(
            f"{where} is no recipe: {explain(error).removeprefix('domains.').rstrip('.')}."
        ) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidSettings(f"{where} is not TOML: {error}.") from error
