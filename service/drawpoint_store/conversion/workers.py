"""Who converts the samples: one process, or several that end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drawpoint.errors import DrawpointError, InvalidSample
from drawpoint_store.conversion.journal import Finished, Journal, count_bytes
from drawpoint_store.conversion.tensors import read_tensor
from drawpoint_store.conversion.tree import open_filesystem, stamp_file
from drawpoint_store.storage import objects as stores
from drawpoint_store.storage.locations import is_remote
from drawpoint_store.writing.field_arrays import UnderflowWarning
from drawpoint_store.writing.writer import ZarrStoreWriter

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np

    from drawpoint_store.conversion.tree import SourceSample

GO_ON = "samples that are finished are kept: run the same command again to go on"


_MOST_READS = 3
"""How often a sample is read whose files change meanwhile, before it is taken for broken."""


@dataclass(frozen=True, slots=True)
class Task:
    """A sample to convert, and the fingerprint of what its bytes depend on."""

    sample: SourceSample
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sample: it is finished, or broken for a reason; `resumed` from an interrupted run."""

    sample: SourceSample
    finished: Finished | None = None
    reason: str = ""
    resumed: bool = False


@dataclass(frozen=True)
class Conversion:
    """What a process needs to know to convert samples.

    `published` are the group paths that readers may be reading; `resume` tells whether a journal is there.
    """

    location: str
    writer: dict[str, Any]
    published: frozenset[str]
    resume: bool


class SampleConverter:
    """Converts one sample at a time: files in, a group and its record in the journal out."""

    def __init__(self, conversion: Conversion) -> None:
        self._conversion = conversion
        self._filesystem = open_filesystem(conversion.location)[0]
        self._writer = ZarrStoreWriter(**conversion.writer)
        self._journal = Journal(self._writer.store_root)

    def convert(self, task: Task) -> Outcome:
        """Convert one sample; raises StoreUnreadable where source or store do not answer."""
        root = self._writer.store_root
        sample = task.sample
        try:
            if self._conversion.resume:
                finished = self._journal.find(sample.sample_id, task.fingerprint)
                if finished is not None and finished.entry.relpath not in self._conversion.published:
                    return Outcome(sample, finished, resumed=True)
            fields = self._read_fields(sample)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnderflowWarning)  # reported once for all samples
                entry = self._writer.write_group(sample.sample_id, fields)
            underflows = self._writer.underflows.pop(sample.sample_id, {})
            nbytes = count_bytes(stores.join(root, entry.relpath))
            finished = Finished(fingerprint=task.fingerprint, entry=entry, nbytes=nbytes, underflows=underflows)
            self._journal.add(sample.sample_id, finished)
        except InvalidSample as error:
            return Outcome(sample, reason=_reason(sample.sample_id, error))
        except MemoryError:
            return Outcome(sample, reason="does not fit in the memory that is left; try fewer --workers")
        return Outcome(sample, finished)

    def _read_fields(self, sample: SourceSample) -> dict[str, np.ndarray[Any, Any]]:
        """Return the fields of one state of the source: what is rewritten while it is read is read again.

        Raises InvalidSample for a sample that changes every time.
        """
        before: dict[str, tuple[int, str] | None]
        before = {file.path: (file.size, file.stamp) for file in sample.files.values()}
        if is_remote(self._conversion.location):  # whose listings may stamp a file otherwise than it does itself
            before = self._stamps(sample)
        for _ in range(_MOST_READS):
            fields = {field: read_tensor(self._filesystem, file.path) for field, file in sample.files.items()}
            after = self._stamps(sample)
            if after == before:
                return fields
            before = after
        raise InvalidSample(
            f"its files were rewritten while they were read, {_MOST_READS} times; convert it when they are complete"
        )

    def _stamps(self, sample: SourceSample) -> dict[str, tuple[int, str] | None]:
        return {file.path: stamp_file(self._filesystem, file.path) for file in sample.files.values()}


def run_tasks(tasks: Sequence[Task], conversion: Conversion, workers: int) -> Generator[Outcome]:
    """Yield the outcomes as they come; closing the generator ends the worker processes.

    Raises DrawpointError if a worker process dies, and what SampleConverter raises.
    """
    if workers == 1:
        converter = SampleConverter(conversion)
        yield from map(converter.convert, tasks)
        return
    # A fork of this process would inherit locks that its threads may hold. The server's forks are of a process that
    # has imported what workers need, and started no thread.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", __name__])
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers, context, initializer=_start, initargs=(conversion, str(Path.cwd()), dict(os.environ))
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


def _start(conversion: Conversion, directory: str, environment: dict[str, str]) -> None:
    global _converter  # noqa: PLW0603  how an initializer hands something to the tasks of its process
    os.chdir(directory)  # the server has those of the time when it was first used
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all; it is the parent that ends us
    # numcodecs makes a lock in each process; one of this kind needs nobody to remove it when we are ended.
    multiprocessing.set_start_method("fork", force=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch  # noqa: PLC0415  only conversion needs torch

    torch.set_num_threads(1)  # the processes are the parallelism
    _converter = SampleConverter(conversion)


def _end_with_parent() -> None:
    # A parent that is killed tells nobody; its workers would wait, and write, for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _convert(task: Task) -> Outcome:
    assert _converter is not None
    return _converter.convert(task)


def _reason(sample_id: str, error: InvalidSample) -> str:
    """Return the error's message without the sample's name, which the report gives beside it."""
    return str(error).removeprefix(f"sample {sample_id!r}").removeprefix(":").strip().rstrip(".")
