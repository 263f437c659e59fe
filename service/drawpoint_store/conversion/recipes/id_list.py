"""Lists of samples: excluded ones, and splits."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, model_validator

from drawpoint_store.conversion.recipes.pattern import Pattern
from drawpoint_store.conversion.recipes.recipe_model import RecipeModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ALL_LISTS = "*"
"""The name of splits that stands for all lists of a JSON file."""

_NUMBER = re.compile(r"[0-9]{1,18}")


class IdFile(RecipeModel):
    """A file of ids below SOURCE: `.txt` with one a line, `.json` with a list (at `key`, with dots), `.npy`.

    An `optional` file that is not there lists nothing.
    """

    kind: ClassVar[str] = "a list of samples"

    file: str
    key: str | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        pattern = Pattern(self.file)
        if pattern.captures or "*" in self.file:
            raise ValueError(f"{self.file!r} names no one file; a list of samples is one file below SOURCE")
        return self


def _file(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


IdList = Annotated[tuple[str | int, ...] | IdFile, BeforeValidator(_file)]
"""Ids, or the file that lists them: a number is a sample's `{n}`, and a name with `*` or `[...]` is all that match."""


def select(listed: Iterable[str | int], samples: Mapping[str, Mapping[str, str]]) -> tuple[list[str], list[str]]:
    """Return the ids of `samples` (with what their paths capture) that are listed, and the entries that name none.

    An entry is an id, its last part, what `{id}` captured, a pattern of ids, or a number that `{n}` captured, which may
    be text if no sample is called so.
    """
    by_name: dict[str, list[str]] = {}
    for sample_id, captures in samples.items():
        names = {sample_id, sample_id.rpartition("/")[2], captures.get("id", sample_id)}
        for name in names:
            by_name.setdefault(name, []).append(sample_id)
    by_number: dict[int, list[str]] = {}
    for sample_id, captures in samples.items():
        if "n" in captures:
            by_number.setdefault(int(captures["n"]), []).append(sample_id)
    found: dict[str, None] = {}
    unknown = []
    for entry in listed:
        if isinstance(entry, int):
            ids = by_number.get(entry, [])
        elif entry in by_name:
            ids = [entry] if entry in samples else by_name[entry]
        else:
            ids = [each for each in samples if fnmatchcase(each, entry)] if set(entry) & set("*?[") else []
            ids = by_number.get(int(entry), []) if _NUMBER.fullmatch(entry) else ids
        found.update(dict.fromkeys(ids))
        if not ids:
            unknown.append(str(entry))
    return list(found), unknown
