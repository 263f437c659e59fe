"""What a recipe does to the values of a field: scale, offset, axes and unit of length, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drawpoint_store.conversion.recipes.field_recipe import FieldRecipe

_BLOCK = 2**20
"""Rows that are computed at a time."""


def transform(
    values: np.ndarray[Any, Any], recipe: FieldRecipe, axes: Sequence[str] | None, factor: float
) -> np.ndarray[Any, Any]:
    """Return `factor * turned(scale * values + offset)`, computed in float64, in the dtype of floats `values` (n, dim).

    `values` are never changed themselves, since a file may keep them; they are returned where nothing is to be done.
    Otherwise integers and float16 become float64 and float32. `axes` turn vectors of three components. Raises
    InvalidSample where scale, offset or axes do not fit the number of components.
    """
    dim = values.shape[1]
    for key, numbers in (("scale", recipe.scale), ("offset", recipe.offset)):
        if len(numbers) not in (1, dim):
            raise InvalidSample(f"{key} has {len(numbers)} numbers, and the field {dim} components; give one, or {dim}")
    turned = axes if axes is not None and dim > 1 and tuple(axes) != ("x", "y", "z") else None
    if turned is not None and dim != len(turned):
        raise InvalidSample(
            f"axes turn vectors of 3 components, and the field has {dim}; make a field of each of its components"
        )
    if turned is None and factor == 1 and set(recipe.scale) == {1.0} and set(recipe.offset) == {0.0}:
        return values
    dtype = {"f2": np.float32, "f4": np.float32}.get(values.dtype.str[1:], np.float64)
    changed = np.empty(values.shape, dtype)
    for first in range(0, len(values), _BLOCK):
        block = values[first : first + _BLOCK].astype(np.float64)
        block = block * recipe.scale + recipe.offset
        if turned is not None:
            block = block[:, ["xyz".index(axis[-1]) for axis in turned]]
            block *= [-1.0 if axis.startswith("-") else 1.0 for axis in turned]
        with np.errstate(over="ignore"):  # what becomes infinite is refused by the writer
            changed[first : first + _BLOCK] = block * factor
    return changed


def handedness(axes: Sequence[str] | None) -> float:
    """Return 1 for axes that turn, and -1 for axes that mirror, which changes the sign of a curl."""
    if axes is None:
        return 1.0
    order = ["xyz".index(axis[-1]) for axis in axes]
    signs = np.diag([-1.0 if axis.startswith("-") else 1.0 for axis in axes])
    return float(np.sign(np.linalg.det(signs @ np.eye(3)[order])))
