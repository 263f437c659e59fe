"""What is wrong with a value that one of our models refused, in words that need no knowledge of pydantic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pydantic import ValidationError

_SHOWN = 60
"""Characters of a value that are shown."""

_TYPES = {
    "int": "an integer",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "a string",
    "tuple": "a list",
    "list": "a list",
    "dict": "named values",
    "model": "named values",
}
_BOUNDS = {
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "string_too_short": "of length {min_length} or more",
}


def explain(error: ValidationError, *, within: Sequence[str] = (), secret: Collection[str] = ()) -> str:
    """Return what is wrong with the first value that `error` is about: `port: it must be at most 65535, not 70000`.

    `within` is where the model lies. What lies at a name of `secret` is not shown, nor are the members of lists and of
    named values.
    """
    found = error.errors(include_url=False)
    first = found[0]
    kind, path = first["type"], [str(part) for part in (*within, *first["loc"]) if part != "[key]"]
    context = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in first.get("ctx", {}).items()
    }
    if kind == "value_error":  # of a check of ours, which has said it
        reason = str(context["error"])
    elif kind == "missing":
        beside = [each["loc"] for each in found if each["type"] == kind and each["loc"][:-1] == first["loc"][:-1]]
        missing = [str(loc[-1]) for loc in beside]
        path[-1] = ", ".join(missing)
        reason = "it is required" if len(missing) == 1 else "they are required"
    elif kind in ("extra_forbidden", "no_such_attribute"):
        reason = "there is no such name"
    else:
        allowed = _BOUNDS.get(kind, "").format(**context) or _TYPES.get(kind.partition("_")[0], "another value")
        shown = "" if any(part in secret for part in path) else f", not {_show(first['input'])}"
        reason = f"it must be {allowed}{shown}"
    return ": ".join(filter(None, (".".join(map(_printable, path)), reason)))


def _show(value: Any) -> str:
    if isinstance(value, bool | None):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, dict):
        return "named values"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value) if isinstance(value, str) else _printable(str(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]
