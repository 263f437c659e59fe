"""The files that scalars are found in, each parsed once while it stays as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drawpoint_store.conversion.scalars import CsvRow, parse_document, read_csv
from drawpoint_store.conversion.sources.file_tree import read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drawpoint_store.conversion.recipes.reading.sample_files import FoundFile
    from drawpoint_store.conversion.scratch.sample_copy import SampleCopy
    from drawpoint_store.storage.storage import ObjectInfo, Storage

_KEPT = 8
"""How many files are kept parsed: the few that all samples share; those of the samples before are let go."""


@dataclass
class CsvTable:
    """The columns and rows of a CSV file, whose rows are found by the cells of some columns."""

    columns: list[str]
    rows: list[CsvRow]
    _by_cells: dict[tuple[str, ...], dict[tuple[str | float, ...], list[CsvRow]]] = field(default_factory=dict)

    def find(self, wanted: Mapping[str, str]) -> list[CsvRow]:
        """Return the rows that have the `wanted` cells by column, as texts or as numbers; all for none."""
        columns = tuple(wanted)
        if columns not in self._by_cells:
            found: dict[tuple[str | float, ...], list[CsvRow]] = {}
            for row in self.rows:
                found.setdefault(tuple(_comparable(row.cells[column]) for column in columns), []).append(row)
            self._by_cells[columns] = found
        return self._by_cells[columns].get(tuple(map(_comparable, wanted.values())), [])


class ScalarFiles:
    """Reads tables and documents of a storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._copy: SampleCopy | None = None
        self._parsed: dict[str, tuple[ObjectInfo | None, Any]] = {}

    def of(self, copy: SampleCopy | None) -> ScalarFiles:
        """Return the same, of which the files of a sample are read from a copy of it."""
        found = ScalarFiles(self.storage)
        found._copy, found._parsed = copy, self._parsed
        return found

    def table(self, file: FoundFile) -> CsvTable | None:
        """Return a CSV file, None if it is gone; raises what `read_csv` and `read_file` raise."""
        table: CsvTable | None = self._get(file, lambda name, data: CsvTable(*read_csv(name, data)))
        return table

    def document(self, file: FoundFile) -> dict[str, Any] | None:
        """Return a JSON or TOML file, None if it is gone; raises what `parse_document` and `read_file` raise."""
        document: dict[str, Any] | None = self._get(file, parse_document)
        return document

    def _get(self, file: FoundFile, parse: Callable[[str, bytes], Any]) -> Any:
        path = file.paths[0]
        copied = None if self._copy is None else self._copy.info(path)
        state = copied or self.storage.info(path)
        if path not in self._parsed or self._parsed[path][0] != state:
            data = self._copy.read(path) if self._copy is not None and copied else read_file(self.storage, path)
            if data is None:
                return None
            self._parsed[path] = state, parse(file.name, data)
        # The latest last, so that the first is the one that was not asked for the longest.
        found = self._parsed[path] = self._parsed.pop(path)
        while len(self._parsed) > _KEPT:
            del self._parsed[next(iter(self._parsed))]
        return found[1]


def _comparable(cell: str) -> str | float:
    """Return the number that a cell is, so that `02` and `2.0` are one, or else its text."""
    try:
        number = float(cell)
    except ValueError:
        return cell
    return cell if math.isnan(number) else number  # NaN is not equal to itself
