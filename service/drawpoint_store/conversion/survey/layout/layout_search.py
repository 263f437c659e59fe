"""How the samples of a source are found, by the names of its files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawpoint_store.conversion.survey.layout.file_layout import layout_of_files
from drawpoint_store.conversion.survey.layout.folder_layout import layout_of_folders
from drawpoint_store.conversion.survey.layout.sample_layout import SampleLayout, as_groups, is_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drawpoint_store.conversion.survey.layout.source_unit import SourceUnit

_COVERED = 0.3
"""Folders are samples if more than this share of the data lies in files that they have in common."""

_GEOMETRY = ".stl"
"""Bodies are commonly shipped beside what was computed around them."""


def find_layout(units: Sequence[SourceUnit]) -> SampleLayout | None:
    """Return where the samples lie; None without any file that is read.

    Samples are folders that have files of the same names in common, or else files whose names differ in a number or
    altogether, or else all is one sample.
    """
    readable = [unit for unit in units if unit.is_data]
    data = [unit for unit in readable if unit.kind != _GEOMETRY] or readable
    data = data or [unit for unit in units if unit.kind in (".csv", ".tsv")]
    if not data:
        return None
    names = {unit.path for unit in data}
    common = _common_depth(data)
    deepest = max(unit.path.count("/") + unit.is_folder for unit in data)
    best: tuple[float, SampleLayout] | None = None
    for depth in range(max(common, 1), deepest + 1):
        found = layout_of_folders(units, names, depth)
        if found is not None and len(found[1].samples) > 1 and found[0] > (best[0] if best else _COVERED):
            best = found
    if best is not None:
        return best[1]
    flat = layout_of_files(units, data, common)
    if flat is not None:
        return flat
    found = layout_of_folders(units, names, common) if common else None
    return found[1] if found is not None else _one_sample(units)


def _one_sample(units: Sequence[SourceUnit]) -> SampleLayout:
    groups = {unit.path or ".": {"": unit} for unit in units if is_plain(unit.path, unit)}
    return SampleLayout(".", ("",), as_groups(groups, "."), others=tuple(u for u in units if not is_plain(u.path, u)))


def _common_depth(data: Sequence[SourceUnit]) -> int:
    """Return the depth of the folder that holds all units: 0 for the source itself."""
    above = [unit.path.split("/")[: None if unit.is_folder else -1] if unit.path else [] for unit in data]
    shared = 0
    while all(len(steps) > shared and steps[shared] == above[0][shared] for steps in above):
        shared += 1
    return shared
