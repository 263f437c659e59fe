"""The event loop that storages are awaited on: one thread a process, however many reads are under way."""

from __future__ import annotations

import asyncio
import os
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

Result = TypeVar("Result")


def submit(work: Coroutine[Any, Any, Result]) -> Future[Result]:
    """Begin `work` on the loop, and return the future of its result; from any thread and any other loop."""
    return asyncio.run_coroutine_threadsafe(work, _loop_of(os.getpid()))


@lru_cache(maxsize=1)
def _loop_of(process: int) -> asyncio.AbstractEventLoop:
    # Keyed by the process: a thread does not survive a fork.
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=f"drawpoint-loop-{process}", daemon=True).start()
    return loop
