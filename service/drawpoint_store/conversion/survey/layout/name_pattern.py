"""Names that differ in a number, or in all, as one pattern."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIGITS = re.compile(r"\d+")


def mask(text: str) -> str:
    """Return a text with `#` for each number: what names that differ in numbers have in common."""
    return _DIGITS.sub("#", text)


def numbered(names: Sequence[str]) -> str | None:
    """Return the pattern of names that differ in one number alone, `run_{n}`; None where they do not.

    A single name is taken to differ from others in its only number. Equal names are no pattern.
    """
    if len({mask(name) for name in names}) != 1 or "{" in names[0] or "}" in names[0]:
        return None
    numbers = [_DIGITS.findall(name) for name in names]
    varying = [place for place in range(len(numbers[0])) if len({each[place] for each in numbers}) > 1]
    if len(set(names)) == 1:
        varying = list(range(len(numbers[0])))
    if len(varying) != 1:
        return None
    found = list(_DIGITS.finditer(names[0]))[varying[0]]
    return f"{names[0][: found.start()]}{{n}}{names[0][found.end() :]}"


def with_number(text: str, number: str) -> str:
    """Return `text` with `{n}` wherever it has this number."""
    return re.sub(rf"(?<!\d){re.escape(number)}(?!\d)", "{n}", text)
