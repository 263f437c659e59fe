"""The numbers of samples that lie in files beside their data, as a first recipe names them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from drawpoint.errors import DrawpointError
from drawpoint_store.conversion.scalars import parse_document, parse_number, read_csv
from drawpoint_store.conversion.sources.file_tree import read_file
from drawpoint_store.conversion.survey.drafting.domain_draft import toml
from drawpoint_store.conversion.survey.drafting.field_name import distinct, snake

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drawpoint_store.conversion.survey.layout.sample_layout import FileGroup, SampleLayout
    from drawpoint_store.storage import Storage

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_MOST_BYTES = 1 << 20
"""A larger file is no list of a sample's numbers."""


def draft_scalars(layout: SampleLayout, groups: Sequence[FileGroup], storage: Storage) -> tuple[list[str], list[str]]:
    """Return the lines of a recipe's scalars, from tables of one row and documents, and remarks on other tables."""
    lines: list[str] = []
    remarks: list[str] = []
    taken: set[str] = set()
    for group in groups:
        unit = next(iter(group.units.values()))
        if unit.size > _MOST_BYTES:
            continue
        some = ", optional = true" if layout.lacking(group) else ""
        try:
            found = list(_numbers(unit.path, read_file(storage, unit.path) or b""))
        except DrawpointError as error:
            remarks.append(f"left out: {error}")
            continue
        if not found:
            remarks.append(f"left out: {group.pattern}, which is no table of one row of numbers")
        for kind, key, value in found:
            name = distinct(key if _NAME.fullmatch(key) else snake(key)[:60], taken)
            taken.add(name)
            lines.append(f"{name} = {{ file = {toml(group.pattern)}, {kind} = {toml(key)}{some} }}  # {value:.6g}")
    return lines, remarks


def _numbers(path: str, data: bytes) -> Iterator[tuple[str, str, float]]:
    """Yield key, name and value of each number of a sample in a file beside its data."""
    if path.lower().endswith((".csv", ".tsv")):
        columns, rows = read_csv(path, data)
        for column in columns if len(rows) == 1 else ():
            try:
                yield "column", column, parse_number(rows[0].cells[column], column)
            except DrawpointError:
                continue
    else:
        yield from (("key", key, value) for key, value in _leaves("", parse_document(path, data)))


def _leaves(above: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if "." not in str(key):
                yield from _leaves(f"{above}.{key}" if above else str(key), inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield above, float(value)
