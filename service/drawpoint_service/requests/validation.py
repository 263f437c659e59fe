"""How requests are checked: strict models, and the errors of ours for what they refuse."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from drawpoint.draw.seeds import MAX_SEED
from drawpoint.errors import DrawpointError, InvalidParameter, UnknownParameter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidatorFunctionWrapHandler

SHOWN = 200
"""Characters that an error shows of what it refuses."""

ALL = "all"
"""Stands for the count of all points."""

_DIGITS = re.compile(r"[0-9]{1,19}")


def allowed(*forms: str, has_members: bool = False) -> WrapValidator:
    """Refuse what the annotated type does not take by saying what it does: `forms`. Errors of its members stay."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if has_members and (first["loc"] or first["type"] == "unknown"):
                raise
            raise PydanticCustomError("not_allowed", "not allowed", {"allowed": forms}) from None

    return WrapValidator(validate)


def parse_digits(text: str) -> int | str:
    """Return the integer that a parameter of a URL is, or the text as it is for the validator to refuse."""
    return int(text) if _DIGITS.fullmatch(text) else text


Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED), allowed(f"an integer in 0..{MAX_SEED}")]
UrlSeed = Annotated[Seed, BeforeValidator(parse_digits)]
Dtype = Annotated[
    Literal["float32", "stored"],
    Field(description="`float32` for every field, or each as it is `stored`."),
    allowed("float32", "stored"),
]
Revision = Annotated[str | None, Field(description="The revision that the store has to be at."), allowed("a text")]

COUNT = {"type": "integer", "minimum": 1, "maximum": MAX_SEED}
_Count = Annotated[int, Field(strict=True, ge=1, le=MAX_SEED)]
UrlCount = Annotated[
    _Count | None,
    BeforeValidator(lambda text: None if text == ALL else parse_digits(text)),
    allowed(f"an integer in 1..{MAX_SEED}", ALL),
    WithJsonSchema({"anyOf": [COUNT, {"const": ALL}]}),
]
BodyCount = Annotated[
    _Count | None,
    BeforeValidator(lambda value: None if value == ALL else value),
    allowed(f"an integer in 1..{MAX_SEED}", f'"{ALL}"'),
    WithJsonSchema({"anyOf": [COUNT, {"const": ALL}, {"type": "null"}]}),
]


class RequestModel(BaseModel):
    """A model that takes the names of its fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for name in values:
            if name not in cls.model_fields:  # the first will do: there may be thousands
                raise PydanticCustomError("unknown", "unknown", {"unknown": name, "known": tuple(cls.model_fields)})
        # What is missing is refused as null is, by a sentence that says what has to be there.
        return {**{name: None for name, field in cls.model_fields.items() if field.is_required()}, **values}


def numpy_dtype(dtype: str) -> str | None:
    """Return the dtype of the tensors of an answer, None for each as it is stored."""
    return None if dtype == "stored" else dtype


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: str, prefix: str = "") -> UnknownParameter:
    """Return the error for a name that means nothing, with near ones."""
    error = UnknownParameter.among(kind, name, known := tuple(known), where=where)
    error.parameter, error.allowed = f"{prefix}{name}"[:SHOWN], known
    return error


def refusal_of(error: ValidationError, document: str = "") -> DrawpointError:
    """Return the error of ours for the first thing that a model of a `document`, or of a URL's query, refused."""
    first = error.errors(include_url=False)[0]
    context = first.get("ctx", {})
    if isinstance(context.get("error"), DrawpointError):  # of a validator that says all
        found: DrawpointError = context["error"]
        return found
    if not document:
        return InvalidParameter.of(str(first["loc"][-1]), str(first["input"]), *context["allowed"])
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).removeprefix(".")
    if "unknown" in context:
        prefix, where = (f"{path}.", path) if path else ("", f"the {document}")
        return unknown_name("key", context["unknown"], context["known"], where=where, prefix=prefix)
    return InvalidParameter.of((path or document)[:SHOWN], json.dumps(first["input"]), *context["allowed"])
