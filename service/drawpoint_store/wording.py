"""Numbers and names in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def count(number: int, noun: str) -> str:
    """Return `1 sample`, `1,024 samples`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def first_few(names: Sequence[str], limit: int = 3) -> str:
    """Return the first names, and an ellipsis where there are more: `a, b, c, ...`."""
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def printable(text: str) -> str:
    """Return `text` with characters that a terminal does not show but obeys, such as escape sequences, escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def find_spelled(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that has the letters and digits of `name`: `drivaer-ml` for `DrivAerML`."""
    return next((each for each in known if _letters(each) == _letters(name)), None)


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
