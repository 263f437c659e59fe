"""The event loop that storages are awaited on: one thread a process, however many reads are under way."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from drawpoint_store.storage.locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

Result = TypeVar("Result")


def submit(work: Coroutine[Any, Any, Result]) -> Future[Result]:
    """Begin `work` on the loop, and return the future of its result; from any thread and any other loop."""
    return asyncio.run_coroutine_threadsafe(work, _Running.loop_of(os.getpid()))


class _Running:
    """The loop of a process; by the process, because a thread does not survive a fork."""

    _lock = ForkSafeLock()
    _loop: asyncio.AbstractEventLoop
    _process = 0

    @classmethod
    def loop_of(cls, process: int) -> asyncio.AbstractEventLoop:
        with cls._lock:
            if cls._process != process:
                cls._loop, cls._process = asyncio.new_event_loop(), process
                name = f"drawpoint-loop-{process}"
                threading.Thread(target=cls._loop.run_forever, name=name, daemon=True).start()
            return cls._loop
