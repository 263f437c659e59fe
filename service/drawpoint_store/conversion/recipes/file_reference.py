"""How a recipe refers to a file of a sample: by patterns, and the member of what can be taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator, Field

from drawpoint_store.conversion.recipes.pattern import Pattern
from drawpoint_store.conversion.recipes.recipe_model import Texts

PIECE = ".part"
"""The suffix of the pieces of a file that was too large for one."""

_ARCHIVES = (".tgz", ".tar.gz", ".tar", ".zip")


def is_archive(name: str) -> bool:
    """Tell whether a file of this name has to be unpacked before it can be opened."""
    return name.lower().endswith(_ARCHIVES)


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        Pattern(name)
        if len(names) > 1 and not name.endswith((PIECE, "*")):
            raise ValueError(
                f"several files are joined bytewise if they are pieces of one, named .part; {name!r} is none: give one "
                "file, and fields of other files a file of their own"
            )
    return names


FileNames = Annotated[Texts, Field(min_length=1), AfterValidator(_check_names)]
"""A file pattern, or those of the pieces of a file in their order."""


@dataclass(frozen=True)
class FileReference:
    """A file by its patterns; several are those of its pieces, which are joined bytewise in that order.

    A pattern is below the sample's folder, or below SOURCE if it begins with `/`. `member` is the path of the file in
    an archive; without one an archive has to hold a single file. Of an OpenFOAM case, whose folder is the file, it
    names patches.
    """

    names: tuple[str, ...]
    member: str | None = None

    @cached_property
    def patterns(self) -> tuple[Pattern, ...]:
        return tuple(Pattern(name) for name in self.names)

    @property
    def is_shared(self) -> bool:
        """Whether it is the same file for all samples."""
        return all(pattern.text.startswith("/") and not pattern.captures for pattern in self.patterns)

    def __str__(self) -> str:
        return ", ".join(self.names)


SAMPLE_ITSELF = FileReference(())
"""The file that is a sample, where the recipe's samples are files."""
