"""What all tables of a recipe have in common: they are frozen, and know no keys but their own."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""A text, or several."""


class RecipeModel(BaseModel):
    """A table of a recipe; an unknown key is refused with near names, or with all there are."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: ClassVar[str]
    """What messages call such a table."""

    own_tables: ClassVar[str | None] = None
    """The attribute that holds the tables which a recipe names itself; no key of the file."""

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            keys = [field.alias or name for name, field in cls.model_fields.items() if name != cls.own_tables]
            for key in data:
                if key not in (*keys, cls.own_tables):
                    near = difflib.get_close_matches(str(key), keys)
                    hint = f"near names: {', '.join(near)}" if near else f"there is: {', '.join(keys)}"
                    raise ValueError(f"{str(key)[:60]!r} is no key of {cls.kind}; {hint}")
        return data
