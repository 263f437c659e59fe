"""How requests are checked: the values that URLs and bodies have in common, and the errors for what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from drawpoint.draw.seeds import MAX_SEED
from drawpoint.errors import DrawpointError, InvalidParameter, UnknownParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SHOWN = 200
"""Characters that an error shows of what it refuses."""

ALL = "all"
"""Stands for the count of all points."""

Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]
Dtype = Annotated[
    Literal["float32", "stored"], Field(description="`float32` for every field, or each as it is `stored`.")
]
Revision = Annotated[str | None, Field(description="The revision that the store has to be at.")]
Count = Annotated[
    Annotated[int, Field(strict=True, ge=1, le=MAX_SEED)] | None,
    BeforeValidator(lambda value: None if value == ALL else value),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_SEED}, {"const": ALL}, {"type": "null"}]}
    ),
]
MAX_PAGE_SAMPLES = 1000

_ALLOWED = {
    **dict.fromkeys(("seed", "part"), (f"an integer in 0..{MAX_SEED}",)),
    **dict.fromkeys(("fields", "domains"), ("one or more names with commas between them, or a list of them",)),
    "fields[]": ("the name of a field",),
    **dict.fromkeys(("num_points", "coords"), ('an object of counts by domain, such as {"surface": 4096}',)),
    "dtype": ("float32", "stored"),
    "limit": (f"an integer in 1..{MAX_PAGE_SAMPLES}",),
    "samples": ('a list of {"id", "seed", "part"}, at least one',),
    "samples[]": ('an object: {"id", "seed", "part"}',),
    "id": ("the id of a sample",),
    "revision": ("a text",),
}
"""What may stand under a name; those that are not here are domains', which have counts."""


class RequestModel(BaseModel):
    """A model that takes the names of its fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def numpy_dtype(dtype: str) -> str | None:
    """Return the dtype of the tensors of an answer, None for each as it is stored."""
    return None if dtype == "stored" else dtype


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: str) -> UnknownParameter:
    """Return the error for a name that means nothing, with near ones."""
    error = UnknownParameter.among(kind, name, known := tuple(known), where=where)
    error.parameter, error.allowed = name[:SHOWN], known
    return error


def refusal_of(error: ValidationError, show: Callable[[Any], str] = json.dumps) -> DrawpointError:
    """Return the error of ours for the first value that a model refused; `show` is how its text is got."""
    first = error.errors(include_url=False)[0]
    if isinstance(own := first.get("ctx", {}).get("error"), DrawpointError):  # of a validator that says all
        return own
    *_, before, last = "", *first["loc"]
    kind = f"{before}[]" if isinstance(last, int) else str(last)
    value = None if first["type"] == "missing" else first["input"]
    allowed = _ALLOWED.get(kind, (f"an integer in 1..{MAX_SEED}", ALL))
    return InvalidParameter.of(path_of(first["loc"])[:SHOWN], show(value), *allowed)


def path_of(loc: Sequence[int | str]) -> str:
    """Return what a client calls a member: `samples[3].seed`; counts of a URL stand under the names of domains."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return path.removeprefix(".counts").removeprefix(".")
