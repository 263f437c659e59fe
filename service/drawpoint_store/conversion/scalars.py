"""Scalars in files: of all samples in one table, or of one sample in a file beside its fields; CSV, JSON and TOML."""

from __future__ import annotations

import csv
import io
import json
import math
import posixpath
import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from drawpoint.errors import InvalidSample, SampleNotFound
from drawpoint.format.scalars import check_scalar_name, check_scalars
from drawpoint_store.conversion.sources.file_tree import open_source, read_file

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Sequence

SUFFIXES = (".csv", ".tsv", ".json", ".toml")
BESIDE = ("scalars.toml", "scalars.json", "scalars.csv")
"""The files in a sample's directory that hold its scalars."""

_ID_COLUMNS = ("sample", "id")


class CsvRow(NamedTuple):
    """A row of a CSV file: the line on which it ends, and its cells by column, without white space around them."""

    line: int
    cells: dict[str, str]


class ScalarTable(dict[str, dict[str, float]]):
    """The scalars of many samples by id, from the file `name`; `lines` says where each sample stands in it."""

    def __init__(
        self, rows: Mapping[str, dict[str, float]], name: str = "scalars", lines: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(rows)
        self.name = name
        self.lines = dict(lines or {})

    def place(self, sample_id: str) -> str:
        """Return where the scalars of a sample stand, as messages name it."""
        return f"{self.name}, line {self.lines[sample_id]}" if sample_id in self.lines else self.name


def read_scalar_table(location: str | os.PathLike[str]) -> ScalarTable:
    """Read the scalars of many samples from a file, a path or URL; its suffix says what it is.

    A CSV file has a row a sample. The column `sample`, or `id`, or else the first one has the ids; each other column is
    a scalar, which a sample with an empty cell does not have. JSON and TOML map sample ids to named numbers. Raises
    InvalidSample, naming file, line and column, for anything else, and StoreUnreadable where a storage does not answer.
    """
    folder, name = posixpath.split(str(location))
    data = read_file(open_source(folder or "."), name)
    if data is None:
        raise InvalidSample(f"{location} does not exist; give a CSV, JSON or TOML file of scalars.")
    return parse_scalar_table(str(location), data)


def parse_scalar_table(name: str, data: bytes) -> ScalarTable:
    """Parse the bytes of a table of scalars, of the file `name`; raises what read_scalar_table raises."""
    if _suffix(name) in (".csv", ".tsv"):
        columns, rows = read_csv(name, data)
        if len(columns) == 1:
            raise InvalidSample(f"{name} has one column, {columns[0]!r:.60}, where ids and at least one scalar are.")
        id_column = next((each for key in _ID_COLUMNS for each in columns if each.casefold() == key), columns[0])
        table = ScalarTable({}, name)
        for row in rows:
            sample_id = row.cells[id_column]
            if sample_id in table:
                raise InvalidSample(
                    f"{name}: sample {sample_id!r} stands on line {table.lines[sample_id]} and {row.line}."
                )
            if not sample_id:
                raise InvalidSample(f"{name}, line {row.line}: there is no sample id in column {id_column!r}.")
            table[sample_id] = _numbers(name, row, [column for column in columns if column != id_column])
            table.lines[sample_id] = row.line
        return table
    found = parse_document(name, data)
    for sample_id, scalars in found.items():
        if not isinstance(scalars, Mapping):
            raise InvalidSample(
                f"{name}: {sample_id!r} is {scalars!r:.60}, not the scalars of a sample; the file maps sample ids to "
                "named numbers, such as run_1 to U_inf = 20.0."
            )
    return ScalarTable({key: _checked(f"{name}, {key}", scalars) for key, scalars in found.items()}, name)


def parse_scalars(name: str, data: bytes) -> dict[str, float]:
    """Parse the bytes of the scalars of one sample: a CSV file of one row, or named numbers in JSON or TOML.

    Raises InvalidSample, naming the file, and of a CSV file the line and the column.
    """
    if _suffix(name) not in (".csv", ".tsv"):
        return _checked(name, parse_document(name, data))
    columns, rows = read_csv(name, data)
    if len(rows) != 1:
        raise InvalidSample(f"{name} has {len(rows)} rows of numbers, where a sample has one.")
    return _numbers(name, rows[0], columns)


def read_csv(name: str, data: bytes) -> tuple[list[str], list[CsvRow]]:
    """Return columns and rows of a CSV file with a line of names; commas separate cells, tabs in a `.tsv` file.

    Empty lines are left out. Raises InvalidSample, naming file and line, for text that is not UTF-8, columns without a
    name or of one name (the first may have none), and rows with more or fewer cells.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSample(f"{name} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    delimiter = "\t" if _suffix(name) == ".tsv" else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    columns: list[str] = []
    rows = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            if not columns:
                columns = _check_columns(f"{name}, line {reader.line_num}", stripped, delimiter)
                continue
            if len(stripped) != len(columns):
                raise InvalidSample(
                    f"{name}, line {reader.line_num}: there are {len(stripped)} cells, and {len(columns)} columns."
                )
            rows.append(CsvRow(reader.line_num, dict(zip(columns, stripped, strict=True))))
    except csv.Error as error:
        raise InvalidSample(f"{name}, line {reader.line_num}: {error}.") from error
    if not columns:
        raise InvalidSample(f"{name} is empty; its first line names the columns.")
    return columns, rows


def parse_number(text: str, where: str) -> float:
    """Return the finite number that a text is; raises InvalidSample, naming `where` it stands, for any other text."""
    try:
        number = math.nan if "_" in text else float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidSample(f"{where}: {text!r:.60} is no finite number.")
    return number


def check_samples(scalars: Mapping[str, object], known: Collection[str], where: str) -> None:
    """Raise SampleNotFound, naming near ones, for scalars of a sample that is not among those `known`."""
    for sample_id in scalars:
        if sample_id not in known:
            place = f"{scalars.place(sample_id)}: " if isinstance(scalars, ScalarTable) else ""
            raise SampleNotFound.among("sample", sample_id, sorted(known), where=f"{place}{where}", sample=sample_id)


def merge_scalars(found: Mapping[str, float], given: Mapping[str, float]) -> dict[str, float]:
    """Return the scalars that the source has of a sample, and those given besides.

    Raises InvalidSample for one that has two values.
    """
    for name in found.keys() & given.keys():
        if found[name] != given[name]:
            raise InvalidSample(
                f"the scalar {name!r} is {found[name]} in the source, and {given[name]} in the scalars that were given"
            )
    return {**found, **given}


def name_parameters(values: Sequence[float], names: Sequence[str] = ()) -> dict[str, float]:
    """Return design parameters by name: `names`, or `design_parameters_0` and so on.

    Raises InvalidSample where there are more or fewer values than names.
    """
    if names and len(names) != len(values):
        raise InvalidSample(f"there are {len(values)} design parameters, and {len(names)} names of them")
    return dict(zip(names or [f"design_parameters_{index}" for index in range(len(values))], values, strict=True))


def _check_columns(where: str, columns: list[str], delimiter: str) -> list[str]:
    other = next((each for each in ";\t" if len(columns) == 1 and each in columns[0]), None)
    if other is not None:
        raise InvalidSample(
            f"{where}: {columns[0]!r:.60} is one column; separate cells by {delimiter!r}, not by {other!r}, "
            "and write decimal points."
        )
    for index, column in enumerate(columns):
        if not column and index:
            raise InvalidSample(f"{where}: column {index + 1} has no name.")
        if column in columns[:index]:
            raise InvalidSample(f"{where}: columns {columns.index(column) + 1} and {index + 1} are both {column!r}.")
    return columns


def _numbers(name: str, row: CsvRow, columns: Sequence[str]) -> dict[str, float]:
    found = {}
    for column in columns:
        where = f"{name}, line {row.line}, column {column!r}"
        if not row.cells[column]:
            continue
        try:
            check_scalar_name(column)
        except ValueError as error:
            raise InvalidSample(f"{where}: {error}.") from error
        try:
            found[column] = parse_number(row.cells[column], where)
        except InvalidSample as error:
            raise InvalidSample(f"{error} A sample that does not have it has an empty cell.") from error
    return found


def _checked(where: str, scalars: Mapping[str, Any]) -> dict[str, float]:
    try:
        return check_scalars(scalars)
    except ValueError as error:
        raise InvalidSample(f"{where}: {error}.") from error


def parse_document(name: str, data: bytes) -> dict[str, Any]:
    """Return the named values of a JSON or TOML file; raises InvalidSample for anything else."""
    if _suffix(name) not in SUFFIXES:
        raise InvalidSample(f"{name} is none of {', '.join(SUFFIXES)}, which scalars are read from.")
    try:
        text = data.decode("utf-8-sig")
        found = tomllib.loads(text) if _suffix(name) == ".toml" else json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidSample(f"{name} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidSample(f"{name} holds a {type(found).__name__}, not named values.")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return found


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()
