"""What a conversion reads: samples by id, each a set of fields and numbers that lie in files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from drawpoint_store.writing.layout import FieldSpec


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
    def settings(self) -> Mapping[str, Any]:
        """What decides, beside the files, which values are read: a file map or a recipe, as JSON has it."""

    @property
    def specs(self) -> Sequence[FieldSpec]:
        """The fields that the samples have, in the order in which a store lists them."""

    @property
    def sample_ids(self) -> Sequence[str]:
        """The ids of the samples that have all their files, sorted; raises InvalidSample for a source without any."""

    @property
    def broken(self) -> Mapping[str, str]:
        """The ids of the samples that cannot be read, sorted, each with the reason."""

    @property
    def unmapped_files(self) -> Mapping[str, int]:
        """The names of files that look like fields and belong to none, with the number of samples that have each."""

    @property
    def splits(self) -> Mapping[str, Sequence[str]]:
        """The ids of each split that the data set names, also those of samples that are not there.

        Raises InvalidSample for a list that cannot be read.
        """

    def only(self, sample_id: str) -> Source:
        """Return a source of this sample alone: small when pickled, with an absolute location in the place of a path.

        It is for a process that sees the same files: what it gives of the sample is what this source gives.
        """

    def files(self, sample_id: str) -> Sequence[SourceFile]:
        """Return the files of a sample, each once: what its bytes in the store depend on."""

    def fields(self, sample_id: str) -> Sequence[str]:
        """Return the canonical fields that a sample has, in the order of `specs`; none for an unknown sample."""

    def scalars(self, sample_id: str) -> Mapping[str, float]:
        """Return the numbers that files of a sample hold of it as a whole, by name; none for an unknown sample.

        Those files are among `files`. Raises what `read` raises.
        """

    def where(self, field: str) -> str:
        """Return the file, or the array and its file, that a field is read from, as messages name it."""

    def read(self, sample_id: str, field: str) -> np.ndarray[Any, Any]:
        """Return one field of a sample: shape (n_points, dim), or (n_points,) for a scalar.

        Raises InvalidSample, naming the file, for one that cannot be read, and StoreUnreadable where the storage does
        not answer, which says nothing of the sample.
        """

    def close(self, *, keep: bool = False) -> None:
        """Let go of what this thread has open of a sample; with `keep` it will soon be read again."""
