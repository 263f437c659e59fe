"""Converting samples in this process, or in worker processes that end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drawpoint.errors import DrawpointError, InvalidSample
from drawpoint_store.conversion.journal import FinishedSample, Journal
from drawpoint_store.conversion.sources.file_tree import open_source
from drawpoint_store.writing.field_arrays import UnderflowWarning
from drawpoint_store.writing.writer import ZarrStoreWriter

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np

    from drawpoint_store.conversion.sources.source import Source
    from drawpoint_store.storage import Storage

GO_ON = "samples that are finished are kept: run the same command again to go on"

_MOST_READS = 3
"""How often a sample is read whose files change meanwhile; then it is broken."""


@dataclass(frozen=True, slots=True)
class Task:
    """A sample to convert, and the fingerprint of what its bytes depend on."""

    sample_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a task: the finished sample, or the reason why it is broken.

    `bytes_read` is the size of its files; `resumed` tells whether an interrupted run had finished it.
    """

    sample_id: str
    bytes_read: int
    finished: FinishedSample | None = None
    reason: str = ""
    resumed: bool = False


@dataclass(frozen=True)
class SampleConverter:
    """Converts one sample at a time: its files in, a group and its record in the journal out.

    It is pickled into each worker process. `writer_settings` are the arguments of ZarrStoreWriter, `published` the
    paths of groups that readers may be reading.
    """

    source: Source
    writer_settings: dict[str, Any]
    published: frozenset[str]

    @cached_property
    def files(self) -> Storage:
        return open_source(self.source.location)

    @cached_property
    def writer(self) -> ZarrStoreWriter:
        return ZarrStoreWriter(**self.writer_settings)

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.writer.storage)

    def convert(self, task: Task) -> Outcome:
        """Convert one sample; raises StoreUnreadable where source or store do not answer."""
        sample_id = task.sample_id
        size = sum(file.size for file in self.source.files(sample_id))
        finished = self.journal.find(task)
        if finished is not None and finished.entry.relpath not in self.published:
            return Outcome(sample_id, size, finished, resumed=True)
        try:
            fields = self._read_unchanged(sample_id)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnderflowWarning)  # reported once for all samples
                entry = self.writer.write_group(sample_id, fields)
        except InvalidSample as error:
            # The report gives the sample's name beside the reason.
            reason = str(error).removeprefix(f"sample {sample_id!r}").removeprefix(":").strip().rstrip(".")
            return Outcome(sample_id, size, reason=reason)
        except MemoryError:
            return Outcome(sample_id, size, reason="does not fit in the memory that is left; try fewer --workers")
        underflows = self.writer.underflows.pop(sample_id, {})
        nbytes = self.writer.storage.count_bytes(entry.relpath)
        finished = FinishedSample(entry=entry, nbytes=nbytes, underflows=underflows)
        self.journal.add(task, finished)
        return Outcome(sample_id, size, finished)

    def _read_unchanged(self, sample_id: str) -> dict[str, np.ndarray[Any, Any]]:
        """Return the arrays of one state of the source: files that are rewritten meanwhile are read again.

        Raises InvalidSample for a sample that changes every time.
        """
        files = self.source.files(sample_id)
        before = [self.files.info(file.path) for file in files]
        for _ in range(_MOST_READS):
            fields = {field: self.source.read(sample_id, field) for field in self.source.fields(sample_id)}
            after = [self.files.info(file.path) for file in files]
            if after == before:
                return fields
            before = after
        raise InvalidSample(
            f"its files were rewritten while they were read, {_MOST_READS} times; convert it when they are complete"
        )


def run_tasks(tasks: Sequence[Task], converter: SampleConverter, workers: int) -> Generator[Outcome]:
    """Yield the outcomes as they come; closing the generator ends the worker processes.

    Raises DrawpointError if a worker process dies, and what SampleConverter raises.
    """
    if workers == 1:
        yield from map(converter.convert, tasks)
        return
    # A fork of this process would inherit locks that its threads may hold. The server's forks are of a process that
    # has imported what workers need, and started no thread.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", __name__])
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers, context, initializer=_start, initargs=(converter, str(Path.cwd()), dict(os.environ))
    )
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


_converter: SampleConverter | None = None  # of a worker process, which has one for its whole life


def _start(converter: SampleConverter, directory: str, environment: dict[str, str]) -> None:
    global _converter  # noqa: PLW0603  how an initializer hands something to the tasks of its process
    os.chdir(directory)  # the fork server has those of the time when it was started
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all; the parent ends its workers
    # numcodecs makes a lock in each process; one of this kind need not be removed when this process is ended.
    multiprocessing.set_start_method("fork", force=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch  # noqa: PLC0415  only conversion needs torch

    torch.set_num_threads(1)  # the processes are the parallelism
    _converter = converter


def _end_with_parent() -> None:
    # Without this the workers of a parent that is killed would wait, and write, for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _convert(task: Task) -> Outcome:
    assert _converter is not None
    return _converter.convert(task)
