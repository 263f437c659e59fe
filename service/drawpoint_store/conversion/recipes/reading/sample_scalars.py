"""The scalars of a sample as a recipe finds them: in its files, in its id, or in the recipe itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from drawpoint.errors import InvalidSample
from drawpoint.format.scalars import check_scalars
from drawpoint_store.conversion.recipes.pattern import fill
from drawpoint_store.conversion.scalars import parse_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint_store.conversion.recipes.reading.sample_files import SampleFiles
    from drawpoint_store.conversion.recipes.reading.scalar_files import CsvTable, ScalarFiles
    from drawpoint_store.conversion.recipes.scalar_recipe import ScalarRecipe


def read_scalars(recipes: Mapping[str, ScalarRecipe], sample: SampleFiles, files: ScalarFiles) -> dict[str, float]:
    """Return the scalars of a sample by name; one that is optional and not there is left out.

    Raises InvalidSample, naming the scalar and its file, for one that is not there or is no finite number, and
    StoreUnreadable where a file cannot be read.
    """
    found = {}
    for name, recipe in recipes.items():
        value = _find(f"scalar {name!r}", recipe, sample, files)
        if value is not None:
            found[name] = recipe.scale * value + recipe.offset
        elif not recipe.optional:
            raise InvalidSample(
                f"there is no scalar {name!r} in {recipe.file or 'its id'}; add it, or optional = true to the recipe's"
            )
    try:
        return check_scalars(found)
    except ValueError as error:
        raise InvalidSample(str(error)) from error


def stated_scalars(recipes: Mapping[str, ScalarRecipe], sample_id: str) -> dict[str, float]:
    """Return the scalars that need no file: those that the recipe states, or finds in the id of a sample.

    Raises InvalidSample for a text of the id that is no number.
    """
    found = {name: _find_stated(f"scalar {name!r}", recipe, sample_id) for name, recipe in recipes.items()}
    return {
        name: recipes[name].scale * value + recipes[name].offset for name, value in found.items() if value is not None
    }


def _find_stated(what: str, recipe: ScalarRecipe, sample_id: str) -> float | None:
    if recipe.from_id is None:
        return recipe.value
    matched = re.search(recipe.from_id, sample_id)
    if matched is None or matched[1] is None:
        return None
    return recipe.values.get(matched[1]) if recipe.values else parse_number(matched[1], f"{what} of the id")


def _find(what: str, recipe: ScalarRecipe, sample: SampleFiles, files: ScalarFiles) -> float | None:
    if recipe.own_file is None:
        return _find_stated(what, recipe, sample.sample_id)
    file = sample.found.get(recipe.own_file)
    if file is None:
        return None
    where = f"{what} of {file.name}"
    if recipe.column is None:
        return _find_key(where, recipe.key or "", files.document(file))
    return _find_cell(where, recipe, sample, files.table(file))


def _find_cell(where: str, recipe: ScalarRecipe, sample: SampleFiles, table: CsvTable | None) -> float | None:
    if table is None:
        return None
    assert recipe.column is not None
    for column in (*recipe.row, *(() if recipe.optional else (recipe.column,))):
        if column not in table.columns:
            raise InvalidSample(f"{where}: there is no column {column!r}, only {', '.join(table.columns)}")
    chosen = table.find({column: fill(str(value), sample.captures) for column, value in recipe.row.items()})
    if len(chosen) > 1:
        raise InvalidSample(f"{where}: {len(chosen)} rows are of this sample; tell them apart with row = {{ ... }}")
    cell = chosen[0].cells.get(recipe.column, "") if chosen else ""
    return parse_number(cell, f"{where}, line {chosen[0].line}") if cell else None


def _find_key(where: str, key: str, found: Any) -> float | None:
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise InvalidSample(f"{where}: {found!r:.60} is no number")
    return float(found)
