"""Which arrays of a file are meant by a field of a recipe."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample
from drawpoint_store.wording import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drawpoint_store.conversion.recipes.field_recipe import FieldRecipe
    from drawpoint_store.data_files.data_file import ArrayInfo, Place

MAX_COMPONENTS = 16
"""Of a field of a store, so that a longer axis of an array is one of points."""

_SHOWN = 40


@dataclass(frozen=True, slots=True)
class ArrayChoice:
    """The arrays that hold a field, and which of their components it has; None for all."""

    arrays: tuple[ArrayInfo, ...]
    components: tuple[int, ...] | None = None

    @property
    def dim(self) -> int:
        """The number of the field's components."""
        if self.components is not None:
            return len(self.components)
        return sum(array.components for array in self.arrays)


class ArrayMissing(InvalidSample):
    """The file has no such array."""


def choose_arrays(
    arrays: Sequence[ArrayInfo], file: str, place: Place, recipe: FieldRecipe, dim: int | None
) -> ArrayChoice:
    """Return the arrays at `place` that `recipe` names, or else the active one, or the only one.

    Of components by name and an array, which are two forms of one vector, the components count if all are there.

    `dim` is the number of components that the field is known to have: of an active scalar and an active vector it tells
    which is meant. Raises ArrayMissing, listing what is there with its place, and InvalidSample where it is unclear.
    """
    names = [str(name) for name in recipe.components or () if isinstance(name, str)]
    here = {array.name for array in arrays if array.place == place}
    if names and (recipe.array is None or here.issuperset(names) or recipe.array not in here):
        found = tuple(find_array(arrays, file, place, name) for name in names)
        wide = next((array for array in found if array.components != 1), None)
        if wide is not None:
            raise InvalidSample(
                f"{file} has {describe(wide)}, which cannot be one component of a vector; name it with array"
            )
        return ArrayChoice(found)
    name = recipe.array_name
    array = _unnamed(arrays, file, place, dim) if name is None else find_array(arrays, file, place, name)
    numbers = () if names else tuple(int(number) for number in recipe.components or ())
    if recipe.index is None and any(number >= array.components for number in numbers):
        raise InvalidSample(
            f"{file} has {describe(array)}, so that there is no component {max(numbers)}; they are counted from 0"
        )
    return ArrayChoice((array,), numbers or None)


def describe(array: ArrayInfo) -> str:
    """Return what an array is called in messages: `cell array 'UMean' (3 components)`."""
    components = f" ({array.components} components)" if array.components > 1 else ""
    return f"{array.place} array {array.name!r}{components}"


def list_arrays(arrays: Sequence[ArrayInfo]) -> str:
    """Return the arrays of a file by place: `cell arrays pMean, UMean (3); point arrays pMean`."""
    listed = []
    for place in sorted({array.place for array in arrays}):
        members = [array for array in arrays if array.place == place]
        shown = [f"{each.name} ({each.components})" if each.components > 1 else each.name for each in members[:_SHOWN]]
        more = ", ..." if len(members) > _SHOWN else ""
        noun = "array" if len(members) == 1 else "arrays"
        listed.append(printable(f"{place} {noun} {', '.join(shown)}{more}"))
    return "; ".join(listed) or "no arrays"


def find_array(arrays: Sequence[ArrayInfo], file: str, place: Place, name: str) -> ArrayInfo:
    """Return the array of that name and place; raises ArrayMissing, listing what is there with its place."""
    for array in arrays:
        if array.name == name and array.place == place:
            return array
    elsewhere = next((array.place for array in arrays if array.name == name), None)
    near = difflib.get_close_matches(name, {array.name for array in arrays if array.place == place})
    hint = f" (but a {elsewhere} array of that name)" if elsewhere else f" (near: {', '.join(near)})" if near else ""
    raise ArrayMissing(f"{file} has no {place} array {name!r}{hint}; there is: {list_arrays(arrays)}")


def _unnamed(arrays: Sequence[ArrayInfo], file: str, place: Place, dim: int | None) -> ArrayInfo:
    here = [array for array in arrays if array.place == place]
    for found in ([array for array in here if array.active], here):
        fitting = [array for array in found if array.components == dim] if len(found) > 1 and dim else found
        if len(fitting) == 1:
            return fitting[0]
    problem = f"no {place} array" if not here else f"{len(here)} {place} arrays of which none is the active one"
    kind: type[InvalidSample] = InvalidSample if here else ArrayMissing
    raise kind(f"{file} has {problem}, so that a field needs the name of its array; there is: {list_arrays(arrays)}")
