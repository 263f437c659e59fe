"""Patterns of paths: `run_{n}/boundary_{n}.vtp`, where names in braces capture text and `*` stands for any."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from drawpoint.errors import InvalidSettings, UnknownName

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ID = "id"
NUMBER = "n"
Step: TypeAlias = tuple[str, ...]
"""A step of a path: a name, or the texts between which any text may be."""

_PART = re.compile(r"\{(?P<name>[a-z_][a-z0-9_]*)\}|(?P<any>\*)|(?P<brace>[{}])|(?P<text>[^{}*]+)")
_CAPTURED = {ID: r"[^/]+(?:/[^/]+)*?", NUMBER: r"[0-9]+"}
"""What a capture matches; of other names, a part of a path without slashes. An id may hold them."""


@dataclass(frozen=True)
class Pattern:
    """A path below a data set's folder, of which some is captured.

    `{n}` captures a number, `{id}` any name, also one with slashes, and `{other}` a name without slashes; what is
    captured twice is the same both times. `*` is any text without slashes. Raises InvalidSettings for a path that could
    leave the folder, and for braces that capture nothing.
    """

    text: str

    def __post_init__(self) -> None:
        steps = self.text.removeprefix("/").split("/")
        if self.text != "." and (
            any(step in ("", ".", "..") for step in steps) or not self.text.isprintable() or "\\" in self.text
        ):
            raise InvalidSettings(
                f"{self.text!r} is no path below the source; write one such as run_{{n}}/surface.vtp, without '.', "
                "'..' and backslashes (a path that begins with / begins at SOURCE)"
            )
        for part in _PART.finditer(self.text):
            if part["brace"]:
                raise InvalidSettings(
                    f"{self.text!r} has a brace that captures nothing; names in braces are lower case letters, digits "
                    "and _, such as {n} and {id}"
                )

    @cached_property
    def captures(self) -> tuple[str, ...]:
        """The names in braces, each once."""
        return captures_of(self.text)

    @property
    def is_any_name(self) -> bool:
        """Whether the last step of the path is a name of which nothing is known."""
        step = self.text.rpartition("/")[2]
        return all(part["any"] or part["name"] not in (None, NUMBER) for part in _PART.finditer(step))

    @property
    def rows(self) -> tuple[Pattern, str] | None:
        """The file and the capture of a pattern such as `data.npy[{n}]`, each row of whose first array is meant."""
        found = re.fullmatch(r"(.+)\[\{([a-z_][a-z0-9_]*)\}\]", self.text)
        return None if found is None else (Pattern(found[1]), found[2])

    @property
    def names_files(self) -> bool:
        """Whether the path may be that of a file: its last step has a dot."""
        return self.text != "." and "." in re.sub(r"\{[^}]*\}", "", self.text.rpartition("/")[2])

    def match(self, path: str) -> dict[str, str] | None:
        """Return what the pattern captures of a whole path, None where it does not match."""
        found = self._regex.fullmatch(path)
        return None if found is None else found.groupdict()

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with `values` for its captures; `*` stays."""
        return fill(self.text, values)

    def steps(self, values: Mapping[str, str]) -> list[Step]:
        """Return the steps of the path with `values` for its captures."""
        steps: list[Step] = []
        for step in self.text.removeprefix("/").split("/"):
            texts = tuple(fill(text, values) for text in step.split("*"))
            steps += [texts] if len(texts) > 1 else [(name,) for name in texts[0].split("/")]  # an id may hold slashes
        return steps

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        written, seen = "", set()
        for part in _PART.finditer(self.text.removeprefix("/")):
            name = part["name"]
            if name is None:
                written += _literal(part)
            else:
                written += f"(?P={name})" if name in seen else f"(?P<{name}>{_CAPTURED.get(name, '[^/]+')})"
                seen.add(name)
        return re.compile(written, re.DOTALL)


def fits(step: Step, name: str) -> bool:
    """Tell whether the name of a file or folder is one that a step with a `*` stands for."""
    first, *others, last = step
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    start, stop = len(first), len(name) - len(last)
    for text in others:
        found = name.find(text, start, stop)
        if found < 0:
            return False
        start = found + len(text)
    return True


def captures_of(text: str) -> tuple[str, ...]:
    """Return the names in braces of a text, each once."""
    return tuple(dict.fromkeys(part["name"] for part in _PART.finditer(text) if part["name"]))


def check_captures(text: str, known: Collection[str], where: str) -> None:
    """Raise UnknownName for a name in braces that is not among `known`."""
    for name in captures_of(text):
        if name not in known:
            raise UnknownName.among("capture", f"{{{name}}}", [f"{{{each}}}" for each in known], where=where)


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with `values` for the names in braces."""
    return "".join(values[part["name"]] if part["name"] else part[0] for part in _PART.finditer(text))


def natural_key(text: str) -> tuple[tuple[str, int], ...]:
    """Return the key that sorts names as people count: `part.2` before `part.10`."""
    return tuple((letters, int(digits or -1)) for letters, digits in re.findall(r"(\D*)(\d*)", text))


def _literal(part: re.Match[str]) -> str:
    return "[^/]*" if part["any"] else re.escape(part[0])
