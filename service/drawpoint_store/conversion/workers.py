"""Converting samples in this process, or in worker processes that end with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drawpoint.errors import DrawpointError, InvalidSample, ValueOverflow
from drawpoint_store.conversion.journal import FinishedSample, Journal
from drawpoint_store.conversion.scalars import merge_scalars
from drawpoint_store.conversion.sources.file_tree import open_source
from drawpoint_store.conversion.sources.source_fields import SourceFields
from drawpoint_store.storage.temporary_folder import temporary_folder
from drawpoint_store.writing.writer import ZarrStoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

    from drawpoint.format.manifest import SampleEntry
    from drawpoint.format.precision import FieldPrecision
    from drawpoint_store.conversion.sources.source import Source
    from drawpoint_store.storage import Storage

    Notify = Callable[[str], object]

GO_ON = "samples that are finished are kept: run the same command again to go on"

_MOST_READS = 3
"""How often a sample is read whose files change meanwhile; then it is broken."""

_MOST_BYTES = 500
"""Of a message: less than a pipe takes in one piece (PIPE_BUF)."""


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
    ZarrStoreWriter, `published` the paths of groups that readers may be reading.
    """

    source: Source
    writer_settings: dict[str, Any]
    published: frozenset[str]
    quiet_seconds: float = 2.0
    """For so long nothing is told of the fields of a sample: most samples are done by then."""

    def __reduce__(self) -> tuple[type[SampleConverter], tuple[Any, ...]]:
        return type(self), (self.source, self.writer_settings, self.published, self.quiet_seconds)

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
        sample_id = task.sample_id
        size = sum(file.size for file in self.source.files(sample_id))
        found = self.journal.find(task)
        if found is not None and found.fingerprint == task.fingerprint and found.entry.relpath not in self.published:
            return Outcome(sample_id, size, found, resumed=True, precision=found.precision)
        if task.probe and found is not None:  # with other dtypes: all but the fields that are stored wider is known
            return Outcome(sample_id, size)
        try:
            if task.probe:
                fields = SourceFields(self.source, self.files, sample_id)
                return Outcome(sample_id, size, precision=self.writer.probe(sample_id, fields))
            entry, precision, fields = self._write_unchanged(task, found, notify)
        except InvalidSample as error:
            # The report gives the sample's name beside the reason.
            reason = str(error).removeprefix(f"sample {sample_id!r}").removeprefix(":").strip().rstrip(".")
            overflow = (error.field, error.wider) if isinstance(error, ValueOverflow) and error.field else None
            return Outcome(sample_id, size, reason=reason, overflow=overflow)
        except MemoryError:
            return Outcome(sample_id, size, reason="does not fit in the memory that is left; try fewer --workers")
        before = found.zero_normals if found is not None else {}
        zeros = fields.zero_normals | {field: before[field] for field in fields.kept if field in before}
        nbytes = self.writer.storage.count_bytes(entry.relpath)
        finished = FinishedSample(
            entry=entry, nbytes=nbytes, fingerprint=task.fingerprint, precision=precision, zero_normals=zeros
        )
        self.journal.add(task, finished)
        size = fields.nbytes if fields.kept else size
        return Outcome(sample_id, size, finished, kept=len(fields.kept), precision=precision)

    def _write_unchanged(
        self, task: Task, found: FinishedSample | None, notify: Notify | None
    ) -> tuple[SampleEntry, dict[str, FieldPrecision], SourceFields]:
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
                entry = self.writer.write_group(sample_id, fields, scalars, precision)
            except InvalidSample:
                if not fields.have_changed():
                    raise
            else:
                return entry, precision, fields
        raise InvalidSample(
            f"its files were rewritten while they were read, {_MOST_READS} times; convert it when they are complete"
        )


def run_tasks(
    tasks: Sequence[Task], converter: SampleConverter, workers: int, notify: Notify | None = None
) -> Generator[Outcome]:
    """Yield the outcomes as they come; closing the generator ends the worker processes.

    `notify` is told of the work within samples that take long. Raises DrawpointError if a worker process dies, and what
    SampleConverter raises.
    """
    if workers == 1:
        for task in tasks:
            yield converter.convert(task, notify)
        return
    # A fork of this process would inherit locks that its threads may hold. The server's forks are of a process that
    # has imported what workers need, and started no thread.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", __name__])
    others = set(multiprocessing.active_children())
    # A worker that is ended cannot remove its temporary files: this process does.
    with temporary_folder() as folder, _listening(context, notify) as messages:
        given = (converter, str(Path.cwd()), dict(os.environ), str(folder), messages)
        pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=given)
        try:
            for future in as_completed([pool.submit(_convert, task) for task in tasks]):
                yield future.result()
        except BaseException as error:
            # The pool ends its processes itself if one dies, but may miss one that it was starting at that moment.
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise DrawpointError(
                    f"a worker process died, perhaps for lack of memory; {GO_ON}, with fewer --workers if it was that."
                ) from error
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _listening(context: ForkServerContext, notify: Notify | None) -> Iterator[Connection | None]:
    """Give what worker processes send their messages to, None where nobody listens.

    They share one pipe without a lock, which one that is killed could hold: short messages are written whole.
    """
    if notify is None:
        yield None
        return

    def listen() -> None:
        while message := receiver.recv_bytes():
            notify(message.decode(errors="ignore"))

    receiver, sender = context.Pipe(duplex=False)
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield sender
    finally:
        sender.send_bytes(b"")
        listener.join()
        receiver.close()
        sender.close()


_converter: SampleConverter | None = None  # of a worker process, which has one for its whole life
_messages: Connection | None = None


def _start(
    converter: SampleConverter, directory: str, environment: dict[str, str], temporary: str, messages: Connection | None
) -> None:
    global _converter, _messages
    os.chdir(directory)  # the fork server has those of the time when it was started
    os.environ.update(environment)
    tempfile.tempdir = temporary
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all; the parent ends its workers
    # numcodecs makes a lock in each process; one of this kind need not be removed when this process is ended.
    multiprocessing.set_start_method("fork", force=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(ImportError):  # sources of other files than torch's are read without it
        import torch  # noqa: PLC0415  only conversion needs torch

        torch.set_num_threads(1)  # the processes are the parallelism
    _converter, _messages = converter, messages


def _end_with_parent() -> None:
    # Without this the workers of a parent that is killed would wait, and write, for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _convert(task: Task) -> Outcome:
    assert _converter is not None
    return _converter.convert(task, None if _messages is None else _send)


def _send(message: str) -> None:
    assert _messages is not None
    _messages.send_bytes(message.encode(errors="replace")[:_MOST_BYTES])
