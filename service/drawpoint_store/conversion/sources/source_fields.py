"""The fields of one sample of a source, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample

if TYPE_CHECKING:
    from drawpoint_store.conversion.sources.source import Source
    from drawpoint_store.storage import Storage
    from drawpoint_store.storage.storage import ObjectInfo
    from drawpoint_store.writing.stored_array import StoredArray


_NORMALS = "_normals"
"""The end of the names of fields of normals."""


class SourceFields(Mapping[str, "np.ndarray[Any, Any] | StoredArray"]):
    """The arrays of a sample by field, of one state of its files; none is held.

    `files` is the storage of the source's location. `on_read` is told of each field before it is read, and how many
    were read before. `kept` are arrays that are given in the place of what the source has. To ask for a field raises
    what `Source.read` raises, and for the last one InvalidSample if a file was rewritten since this was made.
    """

    def __init__(
        self, source: Source, files: Storage, sample_id: str, on_read: Callable[[str, int], object] = lambda *_: None
    ) -> None:
        self.kept: dict[str, StoredArray] = {}
        self.nbytes = 0
        """The bytes of the arrays that were read."""
        self.zero_normals: dict[str, int] = {}
        """How many rows are (0, 0, 0), which is no normal, by field, of those read that have any."""
        self._source = source
        self._files = files
        self._sample_id = sample_id
        self._on_read = on_read
        self._fields = list(source.fields(sample_id))
        self._given: set[str] = set()
        self._before = self._look()

    def keep(self, stored: Mapping[str, StoredArray]) -> None:
        """Give these arrays from now on, for those of the sample's fields that they are of."""
        self.kept = {field: stored[field] for field in self._fields if field in stored}

    def __getitem__(self, field: str) -> np.ndarray[Any, Any] | StoredArray:
        if field not in self._fields:
            raise KeyError(field)
        values: np.ndarray[Any, Any] | StoredArray
        if field in self.kept:
            values = self.kept[field]
        else:
            self._on_read(field, len(self._given - self.kept.keys()))
            values = self._source.read(self._sample_id, field)
            self.nbytes += values.nbytes
            if field.endswith(_NORMALS) and (n_zero := len(values) - np.count_nonzero(values.any(axis=-1))):
                self.zero_normals[field] = int(n_zero)
        self._given.add(field)
        if len(self._given) == len(self._fields) and self.have_changed():
            raise InvalidSample("its files were rewritten while they were read")
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def have_changed(self) -> bool:
        """Tell whether a file of the sample is another than before the first field was read."""
        return self._look() != self._before

    def are_as_listed(self) -> bool:
        """Tell whether the files were those that the source has listed, before the first field was read."""
        listed = self._source.files(self._sample_id)
        return [(file.size, file.stamp) for file in listed] == [
            None if found is None else (found.nbytes, found.stamp) for found in self._before
        ]

    def _look(self) -> list[ObjectInfo | None]:
        return list(self._files.infos([file.path for file in self._source.files(self._sample_id)]))
