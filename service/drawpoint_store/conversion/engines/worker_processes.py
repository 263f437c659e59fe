"""Worker processes of this machine, which end with this one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from drawpoint.errors import DrawpointError
from drawpoint_store.conversion.engines.prefetch import prefetched
from drawpoint_store.conversion.sample_conversion import GO_ON
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.storage.temporary_folder import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

    from drawpoint_store.conversion.sample_conversion import Notify, Outcome, SampleConverter, Task
    from drawpoint_store.conversion.scratch.sample_copy import SampleCopy

_MOST_BYTES = 500
"""Of a message: less than a pipe takes in one piece (PIPE_BUF)."""


def run_in_processes(
    tasks: Sequence[Task], converter: SampleConverter, workers: int, notify: Notify | None = None
) -> Generator[Outcome]:
    """Yield the outcomes as they come, of one worker process or several; closing the generator ends them.

    `notify` is told of the work within samples that take long. Raises DrawpointError if a worker process dies, and what
    SampleConverter raises.
    """
    # A fork of this process would inherit locks that its threads may hold. The server's forks are of a process that
    # has imported what workers need, and started no thread.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", __name__])
    others = set(multiprocessing.active_children())
    # A worker that is ended cannot remove its temporary files: this process does.
    with temporary_folder() as folder, _listening(context, notify) as messages:
        given = (converter, str(Path.cwd()), dict(os.environ), str(folder), messages)
        pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=given)
        ended: SimpleQueue[Future[Outcome]] = SimpleQueue()

        def submit(task: Task, copy: SampleCopy | None) -> None:
            pool.submit(_convert, task, copy).add_done_callback(ended.put)

        try:
            with prefetched(tasks, converter, submit, ended.put, ahead=workers) as release:
                for _ in tasks:
                    outcome = ended.get().result()
                    release(outcome.sample_id)
                    yield outcome
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


def _convert(task: Task, copy: SampleCopy | None) -> Outcome:
    assert _converter is not None
    if copy is not None:
        assert isinstance(_converter.source, RecipeSource)
        _converter.source.use(task.sample_id, copy)
    return _converter.convert(task, None if _messages is None else _send)


def _send(message: str) -> None:
    assert _messages is not None
    _messages.send_bytes(message.encode(errors="replace")[:_MOST_BYTES])
