"""Zarr arrays and groups in folders, whose arrays have their paths below the folder as names."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.tables.table_file import SlicedArray, TableFile, cannot_open, place_of

if TYPE_CHECKING:
    from pathlib import Path


def open_zarr(path: Path) -> TableFile:
    """Open a folder with a Zarr array, which has no name then, or a group, of format 2 or 3.

    A chunk that is not there is damage: Zarr would give its fill value, and nobody could tell whether that was written.
    """
    import zarr  # noqa: PLC0415  heavy, and needed for this kind of file alone

    try:
        node = zarr.open(store=str(path), mode="r")
        found = {"": node} if isinstance(node, zarr.Array) else dict(node.members(max_depth=None))
    except Exception as error:  # zarr raises errors of many kinds for what is no array
        raise cannot_open(path, error, "a Zarr array or group") from error
    leaves = ((name, array) for name, array in found.items() if isinstance(array, zarr.Array))
    arrays: dict[str, SlicedArray] = {name: _Complete(array, place_of(name, path)) for name, array in leaves}
    return TableFile(path, arrays)


class _Complete:
    """A Zarr array that is known to have all its chunks before any is read."""

    def __init__(self, array: Any, where: str) -> None:
        self._array = array
        self._where = where
        self.shape: tuple[int, ...] = array.shape
        self.dtype = array.dtype

    @cached_property
    def _n_missing(self) -> int:
        missing: int = self._array.nchunks - self._array.nchunks_initialized
        return missing

    def __getitem__(self, rows: Any) -> Any:
        if self._n_missing > 0:
            raise InvalidSample(
                f"{self._where} lacks {self._n_missing:,} of {self._array.nchunks:,} chunks, which Zarr reads as "
                f"{self._array.fill_value}: copy it again, or write it with `write_empty_chunks` if that is meant."
            )
        return self._array[rows]
