"""Samples that are files, with files of other names that belong to them."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from drawpoint_store.conversion.recipes.pattern import Pattern, natural_key
from drawpoint_store.conversion.survey.layout.name_pattern import mask, numbered
from drawpoint_store.conversion.survey.layout.sample_layout import PART_WORDS, SHARE, SampleLayout, as_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drawpoint_store.conversion.survey.layout.source_unit import SourceUnit


def layout_of_files(units: Sequence[SourceUnit], data: Sequence[SourceUnit], common: int) -> SampleLayout | None:
    """Return the layout whose samples are files, with files of other names or folders that have the same ids."""
    families: dict[str, dict[str, SourceUnit]] = {}
    for root, held in _by_root(data, common).items():
        for pattern, members in _families(root, held):
            families.setdefault(pattern, {}).update(members)
    families = {pattern: members for pattern, members in families.items() if len(members) > 1}
    if not families:
        return None
    first = max(families, key=lambda pattern: (len(families[pattern]), sum(u.size for u in families[pattern].values())))
    own = families[first]
    samples = {key: unit.path for key, unit in own.items()}
    groups: dict[str, dict[str, SourceUnit]] = {"": {samples[key]: unit for key, unit in own.items()}}
    for pattern, members in families.items():
        shared = own.keys() & members.keys()
        if pattern != first and Pattern(pattern).captures == Pattern(first).captures and len(shared) > SHARE * len(own):
            groups["/" + pattern] = {samples[key]: members[key] for key in shared}
    covered = {unit.path for held in groups.values() for unit in held.values()}
    others = tuple(unit for unit in units if unit.path not in covered)
    ordered = tuple(sorted(samples.values(), key=natural_key))
    named_by_id = "/" in first.replace("{id}", "") and first.count("{") == 1
    return SampleLayout(
        first, ordered, as_groups(groups, first), "{id}" if named_by_id and "{id}" in first else None, others
    )


def _by_root(data: Sequence[SourceUnit], common: int) -> dict[str, list[SourceUnit]]:
    """Return the units by the folder below which their ids begin: parallel folders, or the one that all lie in."""
    parallel: dict[str, list[SourceUnit]] = {}
    for unit in data:
        steps = unit.path.split("/")
        parallel.setdefault("/".join(steps[: min(common + 1, len(steps) - 1)]), []).append(unit)
    ids = {root: {_stem(unit)[len(root) :] for unit in held} for root, held in parallel.items()}
    largest = max(ids, key=lambda root: len(ids[root]))
    if any(len(ids[root] & ids[largest]) * 2 > len(ids[root]) for root in ids if root != largest):
        return parallel
    return {"/".join(data[0].path.split("/")[:common]): list(data)}


def _families(root: str, held: Sequence[SourceUnit]) -> Iterator[tuple[str, dict[str, SourceUnit]]]:
    """Yield patterns of files below a folder, each with the files by what the pattern captures."""
    by_suffix: dict[str, list[SourceUnit]] = {}
    for unit in held:
        by_suffix.setdefault(unit.path.rstrip("*")[len(_stem(unit)) :], []).append(unit)
    for suffix, members in by_suffix.items():
        masks: dict[str, list[SourceUnit]] = {}
        for unit in members:
            masks.setdefault(mask(_stem(unit)), []).append(unit)
        patterns = [numbered([_stem(unit) for unit in each]) for each in masks.values()]
        distinct = all(len({_stem(unit) for unit in each}) == len(each) > 1 for each in masks.values())
        distinct &= len({posixpath.dirname(unit.path) for unit in members}) == 1
        end = suffix + ("*" if members[0].path.endswith("*") else "")
        if distinct and None not in patterns:
            for pattern, each in zip(patterns, masks.values(), strict=True):
                captured = [Pattern(str(pattern)).match(_stem(unit)) for unit in each]
                yield f"{pattern}{end}", {c["n"]: unit for c, unit in zip(captured, each, strict=True) if c}
        elif not all(posixpath.basename(_stem(unit)).lower().split("_")[0] in PART_WORDS for unit in members):
            begin = f"{root}/" if root else ""
            yield f"{begin}{{id}}{end}", {_stem(unit)[len(begin) :]: unit for unit in members}


def _stem(unit: SourceUnit) -> str:
    return posixpath.splitext(unit.path.rstrip("*"))[0]
