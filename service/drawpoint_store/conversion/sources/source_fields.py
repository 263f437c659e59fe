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


class SourceFields(Mapping[str, np.ndarray[Any, Any]]):
    """The arrays of a sample by field, of one state of its files; none is kept.

    `files` is the storage of the source's location. `on_read` is told of each field before it is read, and how many
    were read before. To read a field raises what `Source.read` raises, and the last one InvalidSample if a file was
    rewritten since the first.
    """

    def __init__(
        self, source: Source, files: Storage, sample_id: str, on_read: Callable[[str, int], object] = lambda *_: None
    ) -> None:
        self._source = source
        self._files = files
        self._sample_id = sample_id
        self._on_read = on_read
        self._unread = dict.fromkeys(source.fields(sample_id), True)
        self._before = self._look()

    def __getitem__(self, field: str) -> np.ndarray[Any, Any]:
        if field not in self._unread:
            raise KeyError(field)
        self._on_read(field, list(self._unread.values()).count(False))
        values = self._source.read(self._sample_id, field)
        self._unread[field] = False
        if not any(self._unread.values()) and self.have_changed():
            raise InvalidSample("its files were rewritten while they were read")
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._unread)

    def __len__(self) -> int:
        return len(self._unread)

    def have_changed(self) -> bool:
        """Tell whether a file of the sample is another than before the first field was read."""
        return self._look() != self._before

    def _look(self) -> list[ObjectInfo | None]:
        return [self._files.info(file.path) for file in self._source.files(self._sample_id)]
