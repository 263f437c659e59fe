"""CSV and Parquet files, whose columns are arrays; pyarrow reads both, with the types that it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint.extras import importing
from drawpoint_store.data_files.tables.table_file import TableFile, cannot_open

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

_TEXT = np.dtype(object)
"""Stands for what is no number, which nobody reads as an array."""


def open_csv(path: Path) -> TableFile:
    """Open a table of comma-separated values, or of tab-separated ones (.tsv), with a line of names.

    The whole table is in memory, numbers as int64 or float64. Blanks around names are left out. A column with an empty
    cell, or with anything but numbers, is refused when it is read.
    """
    with importing("raw", f"reading {path}"):
        from pyarrow import ArrowException, csv  # noqa: PLC0415  pyarrow is an extra's
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        table = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter))
        names = [name.strip() for name in table.column_names]
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise cannot_open(path, error, "a table of comma-separated values in UTF-8") from error
    number = next((name for name in names if _is_number(name)), None)
    if number is not None:
        raise InvalidSample(f"{path} begins with the number {number}, where its first line should name the columns.")
    _require_distinct(names, path)
    columns = table.rename_columns(names)
    return TableFile(path, {name: _CsvColumn(columns[name], f"column {name!r} of {path}") for name in names})


def open_parquet(path: Path) -> TableFile:
    """Open a Parquet file: columns of numbers, or of lists of as many numbers each, read by the row groups needed."""
    with importing("raw", f"reading {path}"):
        from pyarrow import ArrowException  # noqa: PLC0415  pyarrow is an extra's
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415  pyarrow is an extra's
    try:
        file = ParquetFile(path, page_checksum_verification=True)
        fields = list(file.schema_arrow)
    except (ArrowException, OSError) as error:
        raise cannot_open(path, error, "a Parquet file") from error
    _require_distinct([field.name for field in fields], path)
    arrays = {field.name: _ParquetColumn(file, field, path) for field in fields}
    return TableFile(path, arrays, file.close)


class _CsvColumn:
    def __init__(self, column: pa.ChunkedArray, where: str) -> None:
        self._column = column
        self._where = where
        self.shape = (len(column),)
        self.dtype = _numpy_dtype(column.type)

    def __getitem__(self, rows: Any) -> Any:
        return _without_nulls(self._column[rows], self._where).to_numpy()


class _ParquetColumn:
    def __init__(self, file: ParquetFile, field: pa.Field, path: Path) -> None:
        from pyarrow import types  # noqa: PLC0415  pyarrow is an extra's

        self._file = file
        self._name = field.name
        self._where = f"column {field.name!r} of {path}"
        n_rows, is_list = file.metadata.num_rows, types.is_fixed_size_list(field.type)
        self.shape = (n_rows, field.type.list_size) if is_list else (n_rows,)
        self.dtype = _numpy_dtype(field.type.value_type if is_list else field.type)

    def __getitem__(self, rows: slice) -> Any:
        first, stop, _ = rows.indices(self.shape[0])
        values, begin = np.empty((stop - first, *self.shape[1:]), self.dtype), 0
        for group in range(self._file.num_row_groups):
            end = begin + self._file.metadata.row_group(group).num_rows
            low, high = max(first, begin), min(stop, end)
            if low < high:
                column = self._file.read_row_group(group, columns=[self._name]).column(0)
                part = _without_nulls(column[low - begin : high - begin], self._where)
                if len(self.shape) > 1:
                    part = _without_nulls(part.combine_chunks().flatten(), self._where)
                values[low - first : high - first] = part.to_numpy().reshape(high - low, *self.shape[1:])
            begin = end
        return values


def _require_distinct(names: list[str], path: Path) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidSample(f"{path} has several columns of the name {twice!r}; give each one of its own.")


def _numpy_dtype(kind: pa.DataType) -> np.dtype[Any]:
    from pyarrow import types  # noqa: PLC0415  pyarrow is an extra's

    if types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    return _TEXT


def _without_nulls(column: Any, where: str) -> Any:
    if column.null_count:
        raise InvalidSample(f"{where} has no value in {column.null_count:,} of {len(column):,} rows.")
    return column


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
