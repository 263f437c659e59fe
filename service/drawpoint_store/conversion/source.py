"""What a conversion reads: samples by id, each a set of files that becomes field arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file by its path below the source's location, its size in bytes, and what changes when it is rewritten."""

    path: str
    size: int
    stamp: str


class Source(Protocol):
    """A data set in files of some format, as `convert` reads it; it is pickled into each worker process."""

    @property
    def location(self) -> str:
        """The path or URL below which all files lie."""

    @property
    def sample_ids(self) -> Sequence[str]:
        """The ids of the samples that have all their files, sorted; raises InvalidSample for a source without any."""

    @property
    def broken(self) -> Mapping[str, str]:
        """The ids of the samples that cannot be read, sorted, each with the reason."""

    @property
    def unmapped_files(self) -> Mapping[str, int]:
        """The names of files that look like fields and belong to none, with the number of samples that have each."""

    def files(self, sample_id: str) -> Mapping[str, SourceFile]:
        """Return the files of a sample by canonical field: what its bytes in the store depend on."""

    def read(self, sample_id: str, fields: Collection[str] | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """Return the arrays of a sample by canonical field, of all fields or of `fields` alone.

        Raises InvalidSample, naming the file, for one that cannot be read, and StoreUnreadable where the storage does
        not answer, which says nothing of the sample.
        """
