"""A file of named arrays without a mesh, whatever library reads its slices."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from drawpoint.errors import DrawpointError, InvalidSample
from drawpoint_store.data_files.data_file import ArrayInfo, Closing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from drawpoint_store.data_files.joined_file import FilePath


class SlicedArray(Protocol):
    """An array of a file that is read by slices of its first dimension: what h5py, zarr and NumPy have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, () for one number."""

    @property
    def dtype(self) -> Any:
        """NumPy's dtype."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Return some rows, or all that there is for `()`."""


class TableFile(Closing):
    """A DataFile of arrays by name, all with place "row"; the only one is the active one.

    An array of one dimension has one component, one of no dimension one row. Values that are no real numbers are
    listed, and refused when they are read.
    """

    def __init__(
        self, path: FilePath, sources: Mapping[str, SlicedArray], close: Callable[[], None] = lambda: None
    ) -> None:
        self._path = path
        self._sources = sources
        self._close = close
        self.arrays = [_info(name, source, active=len(sources) == 1) for name, source in sources.items()]

    def read(self, array: ArrayInfo, first: int = 0, stop: int | None = None) -> np.ndarray[Any, Any]:
        """Return rows `first` to `stop` of an array, shape (n, components), in its dtype."""
        stop = array.stop_of(first, stop)
        source = self._sources[array.name]
        where = place_of(array.name, self._path)
        if not _is_real(source):
            raise InvalidSample(f"{where} holds {array.dtype}, not real numbers.")
        try:
            found = source[first:stop] if source.shape else [source[()]][first:stop]
            rows = np.asarray(found, np.dtype(array.dtype))
        except (DrawpointError, MemoryError):
            raise
        except Exception as error:  # there is no telling what each library raises for damaged files
            raise InvalidSample(f"{where} cannot be read: {first_line(error)}.") from error
        return rows.reshape(stop - first, array.components)

    def close(self) -> None:
        """Close the file."""
        self._close()


def place_of(name: str, path: FilePath) -> str:
    """Return what an error calls an array: the file itself if the array has no name."""
    return f"array {name!r} of {path}" if name else str(path)


def cannot_open(path: Path, error: Exception, kind: str) -> InvalidSample:
    """Return the error for a file that a library cannot open as one of its `kind`."""
    return InvalidSample(f"{path} cannot be read as {kind}: {first_line(error)}; it is damaged, or no such file.")


def first_line(error: Exception) -> str:
    """Return what an error of a library says first, as the end of a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]


def _is_real(source: SlicedArray) -> bool:
    return getattr(source.dtype, "kind", "") in tuple("biuf")


def _info(name: str, source: SlicedArray, *, active: bool) -> ArrayInfo:
    n_rows, *others = source.shape or (1,)
    shape = source.shape if len(others) > 1 else ()
    return ArrayInfo(name, "row", getattr(source.dtype, "name", str(source.dtype)), n_rows, prod(others), active, shape)
