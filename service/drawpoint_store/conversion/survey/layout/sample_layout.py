"""Where the samples of a source lie, and which files play the same part in each."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drawpoint_store.conversion.recipes.pattern import natural_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint_store.conversion.survey.layout.source_unit import SourceUnit

SHARE = 0.2
"""A file belongs to samples if at least so many of them have it."""

PART_WORDS = frozenset(
    {
        *("surface", "surfaces", "volume", "volumes", "boundary", "internal", "aerofoil", "body", "mesh", "geometry"),
        *("slice", "slices", "field", "fields", "points", "position", "positions", "xyz", "coords", "preprocessed"),
        *("pressure", "velocity", "friction", "normals", "area", "vorticity", "p", "u", "wss"),
    }
)
"""Words in the names of what is part of a sample, so that two such files are not two samples."""


@dataclass(frozen=True)
class FileGroup:
    """The files that play the same part in all samples: their pattern as a recipe has it, and the file of each sample.

    A pattern that begins with `/` is below the source, others are below a sample's folder; `""` is the sample itself,
    where samples are files, and `.` where it is a folder. `sample` is the pattern of all samples.
    """

    pattern: str
    kind: str
    units: Mapping[str, SourceUnit]
    sample: str

    @property
    def name(self) -> str:
        """The pattern of the files, also where they are samples themselves."""
        return self.sample if self.pattern in ("", ".") else self.pattern

    @property
    def label(self) -> str:
        """What the files are called without what differs, to name a domain after: `boundary`; "" if nothing is left."""
        stem = posixpath.splitext(posixpath.basename(self.name).rstrip("*"))[0]
        constant = re.sub(r"\{[a-z0-9_]+\}", "", stem).strip("._- ")
        folder = posixpath.dirname(self.name).rpartition("/")[2]
        return constant or ("" if "{" in folder else folder)


@dataclass(frozen=True)
class SampleLayout:
    """The samples of a source: a recipe's pattern of them, their paths, their files, and the files of none."""

    sample: str
    samples: tuple[str, ...]
    groups: tuple[FileGroup, ...]
    id: str | None = None
    others: tuple[SourceUnit, ...] = field(default=())

    def lacking(self, group: FileGroup) -> list[str]:
        """Return the samples that have no file of a group."""
        return [sample for sample in self.samples if sample not in group.units]


def as_groups(found: Mapping[str, Mapping[str, SourceUnit]], sample: str) -> tuple[FileGroup, ...]:
    return tuple(
        FileGroup(pattern, next(iter(units.values())).kind, dict(units), sample)
        for pattern, units in sorted(found.items(), key=lambda item: natural_key(item[0]))
    )


def is_plain(name: str, unit: SourceUnit) -> bool:
    """Tell whether a name can stand in a recipe: what it captures is ours, and `*` is that of pieces."""
    text = re.sub(r"\{(n|id)\}", "", name.removesuffix("*") if unit.path.endswith("*") else name)
    return is_literal(text)


def is_literal(text: str) -> bool:
    """Tell whether a pattern may have a text as it is."""
    return text.isprintable() and not set(text) & set("{}*\\")
