"""NumPy's .npy and .npz files, of which only the rows asked for are read."""

from __future__ import annotations

import os
import posixpath
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.joined_file import SoughtFile
from drawpoint_store.data_files.tables.table_file import TableFile, cannot_open, place_of

if TYPE_CHECKING:
    from drawpoint_store.data_files.joined_file import FilePath

_READ_BYTES = 1 << 20
"""How much is read at a time: a member of an archive is copied on the way."""

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""Readers of the header by version; version 3 is for arrays whose columns have names, which are no numbers."""


def open_npy(path: FilePath) -> TableFile:
    """Open a .npy file: one array, with no name."""
    if not isinstance(path, Path):
        return TableFile(path, {"": NpyArray(SoughtFile(path), path.size, str(path))}, path.close)
    try:
        file = path.open("rb")
    except OSError as error:
        raise InvalidSample(f"{path} cannot be opened: {error.strerror}.") from error
    try:
        return TableFile(path, {"": NpyArray(file, os.fstat(file.fileno()).st_size, str(path))}, file.close)
    except BaseException:
        file.close()
        raise


def open_npz(path: Path) -> TableFile:
    """Open a .npz file, compressed or not: its arrays by name.

    The checksum of an array is compared when it is read to its end, from its beginning.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise cannot_open(path, error, "an .npz file") from error
    try:
        arrays = {
            name: NpyArray(archive.open(member), member.file_size, place_of(name, path))
            for name, member in _members(archive, path).items()
        }
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        archive.close()
        raise cannot_open(path, error, "an .npz file") from error
    except BaseException:
        archive.close()
        raise
    return TableFile(path, arrays, archive.close)


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays in an archive by name."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name, ends_with = posixpath.splitext(member.filename)
        if ends_with == ".npy":
            if name in members:
                raise InvalidSample(f"{path} has several arrays of the name {name!r}; give each one of its own.")
            _require_plausible(member, path)
            members[name] = member
    return members


def _require_plausible(member: zipfile.ZipInfo, path: Path) -> None:
    """Refuse an array that claims more than its bytes can hold: deflate makes at most 1032 bytes of one."""
    bounds = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
    present = path.stat().st_size - member.header_offset
    if member.file_size > min(member.compress_size, present) * bounds.get(member.compress_type, 0):
        raise InvalidSample(
            f"{path} is damaged: {member.filename} claims {member.file_size:,} bytes, more than its "
            f"{member.compress_size:,} can hold."
        )


class NpyArray:
    """An array in NumPy's format in a file that can be sought.

    Rows of an array in Fortran's order, whose columns follow each other, are read column by column. Raises
    InvalidSample for a header that claims more or less than the `nbytes` that the file has.
    """

    def __init__(self, file: IO[bytes] | SoughtFile, nbytes: int, where: str) -> None:
        self._file = file
        self._where = where
        try:
            version = np.lib.format.read_magic(file)
            self.shape, self._by_columns, self.dtype = _HEADERS[version](file)
        except KeyError as error:
            raise InvalidSample(f"{where} has columns with names, or a later version of NumPy's format.") from error
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise InvalidSample(f"{where} is no array in NumPy's format: {error}.") from error
        self._begin = file.tell()
        if self.dtype.hasobject:
            raise InvalidSample(f"{where} holds Python objects, which are not loaded for safety.")
        expected = prod(self.shape) * self.dtype.itemsize
        if nbytes - self._begin != expected or min(self.shape, default=0) < 0:
            raise InvalidSample(
                f"{where} is damaged: its header claims {self.shape} of {self.dtype}, {expected:,} bytes, where it has "
                f"{nbytes - self._begin:,}."
            )

    def span_of(self, row: int) -> tuple[int, int] | None:
        """Return where a row lies in the file, from a byte to another; None where it does not lie in one piece."""
        if self._by_columns or not self.shape or not 0 <= row < self.shape[0]:
            return None
        width = prod(self.shape[1:]) * self.dtype.itemsize
        return self._begin + row * width, self._begin + (row + 1) * width

    def __getitem__(self, rows: slice | tuple[()]) -> np.ndarray[Any, Any]:
        if isinstance(rows, tuple):
            return self._values(0, 1).reshape(())
        first, stop, _ = rows.indices(self.shape[0])
        others = self.shape[1:]
        width = prod(others)
        if not self._by_columns or width == 1:
            return self._values(first * width, stop * width).reshape(stop - first, *others)
        columns = [self._values(k * self.shape[0] + first, k * self.shape[0] + stop) for k in range(width)]
        return np.stack(columns).reshape(*reversed(others), stop - first).T

    def _values(self, first: int, stop: int) -> np.ndarray[Any, Any]:
        values = np.empty(stop - first, self.dtype)
        view = values.data.cast("B") if values.size else memoryview(b"")
        self._file.seek(self._begin + first * self.dtype.itemsize)
        while view:
            count = self._file.readinto(view[:_READ_BYTES])  # type: ignore[union-attr]  # files and members of archives have it
            if not count:
                raise InvalidSample(f"{self._where} ends too early, or was cut while it was read.")
            view = view[count:]
        return values
