"""The conversion of one sample: its files in, a group and its record in the journal out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from drawpoint.errors import InvalidSample, ValueOverflow
from drawpoint_store.conversion.journal import FinishedSample, Journal
from drawpoint_store.conversion.scalars import merge_scalars
from drawpoint_store.conversion.sources.file_tree import open_source
from drawpoint_store.conversion.sources.source_fields import SourceFields
from drawpoint_store.statistics.sample_statistics import WrittenRows
from drawpoint_store.writing.sample_id import REWRITTEN
from drawpoint_store.writing.writer import ZarrStoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drawpoint.format.manifest import SampleEntry
    from drawpoint.format.precision import FieldPrecision
    from drawpoint_store.conversion.sources.source import Source
    from drawpoint_store.storage import Storage

    Notify = Callable[[str], object]

GO_ON = "samples that are finished are kept: run the same command again to go on"

_MOST_READS = 3
"""How often a sample is read whose files change meanwhile; then it is broken."""


@dataclass(frozen=True, slots=True)
class Task:
    """A sample to convert, and the fingerprint of what its bytes and scalars depend on.

    `common` is the fingerprint of all but the dtypes and what is given beside the source: `scalars`. Of a `probe`, it
    is only looked at what would be rounded, and nothing is written.
    """

    sample_id: str
    fingerprint: str
    common: str
    scalars: Mapping[str, float] = field(default_factory=dict)
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a task: the finished sample, or the reason why it is broken.

    `bytes_read` is the size of its files; `resumed` tells whether an interrupted run had finished it; `precision` is
    what the stored dtypes round; `kept` counts the arrays that were taken over from a run with other dtypes, of which
    nothing was read. `overflow` is the field that is broken by a value beyond the range of its dtype, and a
    dtype that holds it.
    """

    sample_id: str
    bytes_read: int
    finished: FinishedSample | None = None
    reason: str = ""
    resumed: bool = False
    kept: int = 0
    precision: Mapping[str, FieldPrecision] = field(default_factory=dict)
    overflow: tuple[str, str] | None = None


@dataclass(frozen=True)
class SampleConverter:
    """Converts one sample at a time: its files in, a group and its record in the journal out.

    It is pickled into each worker process, without what it has opened. `writer_settings` are the arguments of
    ZarrStoreWriter, `published` the paths of groups that readers may be reading. With `measures`, the moments of what
    is written are recorded, too.
    """

    source: Source
    writer_settings: dict[str, Any]
    published: frozenset[str]
    quiet_seconds: float = 2.0
    """For so long nothing is told of the fields of a sample: most samples are done by then."""
    measures: bool = False

    def __reduce__(self) -> tuple[type[SampleConverter], tuple[Any, ...]]:
        return type(self), (self.source, self.writer_settings, self.published, self.quiet_seconds, self.measures)

    def only(self, sample_id: str) -> SampleConverter:
        """Return what converts this sample as well as this one does, in any process that sees the same files.

        It is small, and has absolute paths in the place of relative ones.
        """
        settings = self.writer_settings | {"store_root": self.writer.storage.absolute()}
        published = frozenset(self._published_of.get(sample_id, ()))
        return replace(self, source=self.source.only(sample_id), writer_settings=settings, published=published)

    @cached_property
    def _published_of(self) -> dict[str, list[str]]:
        """The published groups by the id in their names."""
        groups: dict[str, list[str]] = {}
        for relpath in self.published:
            groups.setdefault(REWRITTEN.sub("", relpath.removesuffix(".zarr")), []).append(relpath)
        return groups

    @cached_property
    def files(self) -> Storage:
        return open_source(self.source.location)

    @cached_property
    def writer(self) -> ZarrStoreWriter:
        return ZarrStoreWriter(**self.writer_settings)

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.writer.storage)

    def convert(self, task: Task, notify: Notify | None = None) -> Outcome:
        """Convert one sample; raises StoreUnreadable where source or store do not answer.

        `notify` is told which field is at work, from `quiet_seconds` on.
        """
        found = self.journal.find(task)
        return self._finished(task, found) or self._convert(task, found, notify)

    def find(self, task: Task) -> Outcome | None:
        """Return the outcome of a task that an interrupted run has finished, None if there is something to do."""
        return self._finished(task, self.journal.find(task))

    def _finished(self, task: Task, found: FinishedSample | None) -> Outcome | None:
        size = sum(file.size for file in self.source.files(task.sample_id))
        if found is None:
            return None
        if found.fingerprint == task.fingerprint and found.entry.relpath not in self.published:
            return Outcome(task.sample_id, size, found, resumed=True, precision=found.precision)
        # Of a probe with other dtypes all but the fields that are stored wider is known.
        return Outcome(task.sample_id, size) if task.probe else None

    def _convert(self, task: Task, found: FinishedSample | None, notify: Notify | None) -> Outcome:
        sample_id = task.sample_id
        size = sum(file.size for file in self.source.files(sample_id))
        try:
            if task.probe:
                fields = SourceFields(self.source, self.files, sample_id)
                return Outcome(sample_id, size, precision=self.writer.probe(sample_id, fields))
            entry, precision, fields, moments = self._write_unchanged(task, found, notify)
        except InvalidSample as error:
            return self.broken(sample_id, error)
        except MemoryError:
            return Outcome(sample_id, size, reason="does not fit in the memory that is left; try fewer --workers")
        finally:
            self.source.close(keep=task.probe)
        zeros = fields.zero_normals
        if found is not None:  # it also tells of the arrays that were taken over
            zeros |= {field: found.zero_normals[field] for field in fields.kept if field in found.zero_normals}
            moments |= {field: found.moments[field] for field in fields.kept if field in found.moments}
        finished = FinishedSample(
            entry=entry,
            nbytes=self.writer.storage.count_bytes(entry.relpath),
            fingerprint=task.fingerprint,
            precision=precision,
            zero_normals=zeros,
            moments=moments,
        )
        self.journal.add(task, finished)
        size = fields.nbytes if fields.kept else size
        return Outcome(sample_id, size, finished, kept=len(fields.kept), precision=precision)

    def broken(self, sample_id: str, error: InvalidSample) -> Outcome:
        """Return the outcome of a sample that cannot be converted."""
        # The report gives the sample's name beside the reason.
        reason = str(error).removeprefix(f"sample {sample_id!r}").removeprefix(":").strip().rstrip(".")
        overflow = (error.field, error.wider) if isinstance(error, ValueOverflow) and error.field else None
        size = sum(file.size for file in self.source.files(sample_id))
        return Outcome(sample_id, size, reason=reason, overflow=overflow)

    def _write_unchanged(
        self, task: Task, found: FinishedSample | None, notify: Notify | None
    ) -> tuple[SampleEntry, dict[str, FieldPrecision], SourceFields, dict[str, str]]:
        """Write the group of one state of the source: a sample whose files are rewritten meanwhile is read again.

        What was `found` of the same source and other dtypes gives the arrays that would be the same. Raises
        InvalidSample for a sample that changes every time.
        """
        sample_id = task.sample_id
        started, count = time.monotonic(), len(self.source.fields(sample_id))

        def tell(field: str, done: int) -> None:
            if notify is not None and time.monotonic() - started >= self.quiet_seconds:
                notify(f"{sample_id}: {field}, {done + 1} of {count} fields")

        for _ in range(_MOST_READS):
            fields = SourceFields(self.source, self.files, sample_id, tell)
            if found is not None and fields.are_as_listed():
                fields.keep(self.writer.find_stored(found.entry, found.precision))
            try:
                scalars = merge_scalars(self.source.scalars(sample_id), task.scalars)
                precision: dict[str, FieldPrecision] = {}
                rows = WrittenRows()
                measure = rows.push if self.measures else None
                entry = self.writer.write_group(sample_id, fields, scalars, precision, measure)
            except InvalidSample:
                if not fields.have_changed():
                    raise
            else:
                return entry, precision, fields, rows.pack()
        raise InvalidSample(
            f"its files were rewritten while they were read, {_MOST_READS} times; convert it when they are complete"
        )
