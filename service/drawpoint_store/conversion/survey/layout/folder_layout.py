"""Samples that are folders with files of the same names."""

from __future__ import annotations

import posixpath
from collections import Counter
from typing import TYPE_CHECKING

from drawpoint_store.conversion.recipes.pattern import Pattern, natural_key
from drawpoint_store.conversion.sources.file_tree import folders_above
from drawpoint_store.conversion.survey.layout.name_pattern import mask, numbered, with_number
from drawpoint_store.conversion.survey.layout.sample_layout import (
    PART_WORDS,
    SHARE,
    SampleLayout,
    as_groups,
    is_literal,
    is_plain,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from drawpoint_store.conversion.survey.layout.source_unit import SourceUnit

    Units = dict[str, list[tuple[SourceUnit, str]]]
    """The units in each folder, with a name below it."""

_FEW = 5
"""Of up to so many samples, a file in one alone is its own, and not a stray."""

_SERIES = 8
"""Up to so many arrays in files that differ in a number (`p_0.npy`, `p_1.npy`) are parts of one sample."""


def layout_of_folders(
    units: Sequence[SourceUnit], data: set[str], depth: int, only: Container[str] | None = None
) -> tuple[float, SampleLayout] | None:
    """Return the layout whose samples are the folders of a depth, and the share of the data that it explains.

    `data` are the paths of what is to be explained. `only` are the folders that may be samples: those that have nothing
    in common with others are not. None where the folders' names say that they are no samples.
    """
    inside = _inside(units, data, depth, only)
    sample = _folder_pattern(list(inside))
    lasts = {posixpath.basename(folder).lower() for folder in inside}
    if sample is None or (len(lasts) > 1 and lasts <= PART_WORDS):
        return None
    named = _named(inside, Pattern(sample.rpartition("/")[2]))
    counts = Counter(name for held in named.values() for _, name in held)
    least = min(len(inside), max(2, SHARE * len(inside)))
    groups: dict[str, dict[str, SourceUnit]] = {}
    rare: dict[str, dict[str, SourceUnit]] = {}
    for folder, unit, name in _parts(named, counts):
        if counts[name] >= least:
            groups.setdefault(name, {})[folder] = unit
        elif len(inside) <= _FEW and "/" not in name:
            rare.setdefault(name, {})[folder] = unit
    covered = {unit.path for held in groups.values() for unit in held.values()}
    sharing = {folder for held in groups.values() for folder, unit in held.items() if unit.path in data}
    if only is None and 0 < len(sharing) < len(inside):
        return layout_of_folders(units, data, depth, sharing)
    sizes = {unit.path: unit.size + 1 for unit in units if unit.path in data}
    share = sum(size for path, size in sizes.items() if path in covered) / sum(sizes.values())
    groups |= rare
    covered |= {unit.path for held in rare.values() for unit in held.values()}
    others = tuple(unit for unit in units if unit.path not in covered)
    return share, SampleLayout(sample, tuple(sorted(inside, key=natural_key)), as_groups(groups, sample), others=others)


def _inside(units: Sequence[SourceUnit], data: set[str], depth: int, only: Container[str] | None) -> Units:
    """Return the units in each folder of a depth that has data, with their paths below it; `.` is the folder itself."""
    inside: Units = {}
    for unit in units:
        steps = unit.path.split("/")
        if len(steps) > depth or (unit.is_folder and len(steps) == depth):
            inside.setdefault("/".join(steps[:depth]), []).append((unit, "/".join(steps[depth:]) or "."))
    return {
        folder: held
        for folder, held in inside.items()
        if (only is None or folder in only) and any(unit.path in data for unit, _ in held)
    }


def _named(inside: Units, step: Pattern) -> Units:
    """Return the units in each folder with the pattern of their names that most folders have."""
    variants = {folder: [(unit, _variants(rel, step, folder)) for unit, rel in held] for folder, held in inside.items()}
    counts = Counter(each for held in variants.values() for _, both in held for each in set(both))
    return {
        folder: [(unit, max(both, key=counts.__getitem__)) for unit, both in held] for folder, held in variants.items()
    }


def _parts(named: Units, counts: Mapping[str, int]) -> Iterator[tuple[str, SourceUnit, str]]:
    """Yield folder, unit and name of what is one part of a sample, and not one of many files or folders alike."""
    series = Counter(mask(name) for name in counts)
    for folder, held in named.items():
        above = Counter(mask(name) for name in {each for _, name in held for each in folders_above(name)})
        masks = Counter(mask(name) for _, name in held)
        for unit, name in held:
            is_repeated = masks[mask(name)] > 1 and (unit.is_mesh or series[mask(name)] > _SERIES)
            has_siblings = any(above[mask(step)] > 1 for step in folders_above(name))
            if not is_repeated and not has_siblings and is_plain(name, unit):
                yield folder, unit, name


def _folder_pattern(folders: Sequence[str]) -> str | None:
    """Return a recipe's pattern of these folders, which are of one depth; None where their names cannot be in one."""
    if not folders:
        return None
    levels = list(zip(*(folder.split("/") for folder in folders), strict=True))
    steps = []
    for number, names in enumerate(levels[:-1]):
        steps.append(names[0] if len(set(names)) == 1 else "{class}" if number == 0 else f"{{class{number + 1}}}")
        if len(set(names)) == 1 and not is_literal(names[0]):
            return None
    steps.append(numbered(levels[-1]) or "{id}")
    return "/".join(steps)


def _variants(rel: str, step: Pattern, folder: str) -> tuple[str, ...]:
    """Return the pattern that a file's path below its sample may have: with what names the sample left open, or not."""
    name = posixpath.basename(folder)
    captured = step.match(name) or {}
    if "n" in captured:
        return tuple(dict.fromkeys((with_number(rel, captured["n"]), rel)))
    return tuple(dict.fromkeys((rel.replace(name, "{id}"), rel))) if len(name) > 1 else (rel,)
