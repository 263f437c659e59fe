"""Conditions on the rows of a domain: which of them are kept."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from drawpoint_store.conversion.recipes.recipe_model import RecipeModel

_COMPARISONS = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "at_most": np.less_equal,
    "greater": np.greater,
    "at_least": np.greater_equal,
}


class RowCondition(RecipeModel):
    """What the values of an array must be in the rows that are kept: all that is given must hold.

    The array is one of the domain's file, at the domain's place, as it is in the file. A vector needs `component`.
    NaN is not equal to anything, and neither less nor greater; `finite = true` drops it.
    """

    kind: ClassVar[str] = "a mask"

    array: str
    component: int | None = Field(default=None, ge=0)
    equal: float | None = None
    not_equal: float | None = None
    less: float | None = None
    at_most: float | None = None
    greater: float | None = None
    at_least: float | None = None
    finite: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.finite and all(getattr(self, name) is None for name in _COMPARISONS):
            raise ValueError(f"it says nothing of {self.array!r:.60}; give one of {', '.join(_COMPARISONS)}, finite")
        return self

    def holds(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return in which rows of `values`, shape (n,), the condition holds, as bool (n,)."""
        kept = np.isfinite(values) if self.finite else np.ones(len(values), bool)
        for name, compare in _COMPARISONS.items():
            bound = getattr(self, name)
            if bound is not None:
                kept &= compare(values, bound)
        return kept


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, dict | RowCondition) else value


RowConditions = Annotated[tuple[RowCondition, ...], BeforeValidator(_listed)]
"""One condition, or several that must all hold."""
