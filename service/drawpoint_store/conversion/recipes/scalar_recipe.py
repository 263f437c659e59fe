"""Where a number of a sample comes from: a file beside it, its id, or the recipe."""

from __future__ import annotations

import re
from typing import ClassVar, Self

from pydantic import Field, model_validator

from drawpoint_store.conversion.recipes.file_reference import FileReference
from drawpoint_store.conversion.recipes.pattern import Pattern
from drawpoint_store.conversion.recipes.recipe_model import RecipeModel


class ScalarRecipe(RecipeModel):
    """A number of each sample, in one of four forms.

    `file` and `column` are those of a CSV table, of one row or with `row`, the values that some columns have in the
    sample's row; `file` and `key` those of a JSON or TOML file, whose inner tables are named with dots. `value` is the
    number itself, the same for all. `from_id` is a regular expression whose one group finds it in the sample's id, or a
    text that stands for one of the numbers `values`. In all four, `scale * number + offset` is stored. A sample without
    an `optional` number is not broken.
    """

    kind: ClassVar[str] = "a scalar"

    file: str | None = None
    column: str | None = None
    row: dict[str, str | int | float] = Field(default_factory=dict)
    key: str | None = None
    value: float | None = None
    from_id: str | None = None
    values: dict[str, float] = Field(default_factory=dict)
    optional: bool = False
    scale: float = 1.0
    offset: float = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        in_file = self.column is not None or self.key is not None
        forms = [self.column is not None, self.key is not None, self.value is not None, self.from_id is not None]
        if sum(forms) != 1 or (self.file is not None) != in_file or (self.row and self.column is None):
            raise ValueError(
                "a scalar is { file, column } or { file, column, row } of a CSV file, { file, key } of a JSON file, "
                "{ value } or { from_id }"
            )
        if self.values and self.from_id is None:
            raise ValueError("values are numbers for texts that from_id finds in the id")
        if self.file is not None:
            Pattern(self.file)
        if self.from_id is not None:
            try:
                groups = re.compile(self.from_id).groups
            except re.error as error:
                raise ValueError(f"from_id is no regular expression: {error}") from None
            if groups != 1:
                raise ValueError(f"from_id has {groups} groups; put the number alone in parentheses, others in (?:...)")
        return self

    @property
    def own_file(self) -> FileReference | None:
        """The file of the sample that the number is in."""
        return None if self.file is None else FileReference((self.file,))
