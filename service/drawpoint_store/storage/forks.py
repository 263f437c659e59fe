"""What threads leave behind in a forked child, and when the interpreter ends.

A forked child has locks that are free, an event loop of its own, and no obstore.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from drawpoint.errors import StoreUnreadable

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future
    from types import TracebackType

Result = TypeVar("Result")

LEAVE_SECONDS = 0.05
"""How long the interpreter's end waits for obstore's threads to let go of futures that they have completed.

CPython aborts (SIGABRT, status -6) when such a thread wants to run Python afterwards. On a busy machine that happened
to one process in ten that read a bucket; with this pause it happened to none of 390.
"""


class ForkSafeLock:
    """A lock that is free in a forked child, whichever thread of the parent held it at that moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def free(self) -> None:
        """Forget who holds it."""
        self._lock = threading.Lock()


_locks: WeakSet[ForkSafeLock] = WeakSet()


class _EventLoop:
    """The loop of this process, in a thread of its own, which does not survive a fork."""

    lock = ForkSafeLock()
    loop: asyncio.AbstractEventLoop | None = None
    thread: threading.Thread


def submit(work: Coroutine[Any, Any, Result]) -> Future[Result]:
    """Begin `work` on the event loop that storages are awaited on, and return the future of its result.

    There is one loop a process. Call this from any thread and any other loop.
    """
    with _EventLoop.lock:
        if _EventLoop.loop is None:
            _EventLoop.loop = asyncio.new_event_loop()
            name = f"drawpoint-loop-{os.getpid()}"
            _EventLoop.thread = threading.Thread(target=_EventLoop.loop.run_forever, name=name, daemon=True)
            _EventLoop.thread.start()
        return asyncio.run_coroutine_threadsafe(work, _EventLoop.loop)


@atexit.register
def _end_loop() -> None:
    if _EventLoop.loop is not None:
        _EventLoop.loop.call_soon_threadsafe(_EventLoop.loop.stop)
        _EventLoop.thread.join()
        time.sleep(LEAVE_SECONDS)


class _Runtime:
    """Whether obstore's threads run in this process, or did in the one that it was forked from."""

    used = False
    lost = False


def refuse_fork() -> None:
    """Raise StoreUnreadable where obstore would wait for ever: its threads do not survive a fork."""
    if _Runtime.lost:
        raise StoreUnreadable(
            "a process that was forked after a bucket had been read cannot read one: start workers with spawn or "
            "forkserver (multiprocessing_context='spawn' of a DataLoader), or read through `drawpoint serve`."
        )
    _Runtime.used = True


def _after_fork() -> None:
    for lock in _locks:
        lock.free()
    _EventLoop.loop = None
    _Runtime.lost = _Runtime.used


os.register_at_fork(after_in_child=_after_fork)
