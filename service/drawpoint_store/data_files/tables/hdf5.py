"""HDF5 files, whose datasets are arrays by path: `t0_fields/pressure`."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from drawpoint.errors import InvalidSample
from drawpoint.extras import importing
from drawpoint_store.data_files.tables.table_file import TableFile, cannot_open, place_of

if TYPE_CHECKING:
    from pathlib import Path


def open_hdf5(path: Path) -> TableFile:
    """Open an HDF5 file; a dataset of which not all is in the file is damaged, never filled with zeros.

    Links are not followed. A virtual or external dataset, whose data lie in other files, is refused when it is read:
    HDF5 would fill up what is missing, and follow any path.
    """
    with importing("raw", f"reading {path}"):
        import h5py  # noqa: PLC0415  h5py is an extra's
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise cannot_open(path, error, "an HDF5 file") from error
    found: dict[str, _Dataset] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = _Dataset(item, place_of(name, path))

    try:
        file.visititems(add)
    except (OSError, RuntimeError, KeyError) as error:
        file.close()
        raise cannot_open(path, error, "an HDF5 file") from error
    return TableFile(path, found, file.close)


class _Dataset:
    """A dataset whose bytes are known to be in the file before any is read."""

    def __init__(self, dataset: Any, where: str) -> None:
        self._dataset = dataset
        self._where = where
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype = dataset.dtype

    def __getitem__(self, rows: Any) -> Any:
        dataset = self._dataset
        if dataset.is_virtual or dataset.external:
            kind = "a virtual dataset" if dataset.is_virtual else "an external dataset"
            raise InvalidSample(
                f"{self._where} is {kind}: its data lie in other files, which are not followed; copy its values into a "
                "dataset of its own."
            )
        if not dataset.size:
            return dataset[rows]
        if dataset.chunks is None:
            stored, needed, unit = dataset.id.get_storage_size(), dataset.size * dataset.dtype.itemsize, "bytes"
        else:
            needed = prod(-(-n // chunk) for n, chunk in zip(dataset.shape, dataset.chunks, strict=True))
            stored, unit = dataset.id.get_num_chunks(), "chunks"
        if stored < needed:
            raise InvalidSample(
                f"{self._where} is not complete: it claims {self.shape} of {self.dtype}, but {stored:,} of {needed:,} "
                f"{unit} were written."
            )
        return dataset[rows]
