"""Where blocking reads run: a sized pool of threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

_REMOTE_AT_ONCE = 4
"""A draw takes some 25 ms of work, and as much again for each 25 ms that the storage is away; 100 ms is remote."""


class ReadPool:
    """Runs blocking calls in `threads` threads; how many requests want that at once is bounded by Admission."""

    def __init__(self, threads: int) -> None:
        self._width = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="read")

    async def run(self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Run `call(*args, **kwargs)` in a thread; the event loop goes on meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: call(*args, **kwargs))

    async def run_each(
        self, call: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, is_remote: bool
    ) -> dict[Item, Result]:
        """Return what `call` returns for each of `items`.

        As many are under way at once as there are threads, so that the calls of other requests take their turn between
        them; some more where the storage `is_remote` and they wait for a storage most of the time.
        """
        results: dict[Item, Result] = {}
        waiting = iter(items)

        async def work() -> None:
            for item in waiting:
                results[item] = await call(item)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._width * (_REMOTE_AT_ONCE if is_remote else 1)):
                group.create_task(work())
        return results

    def close(self) -> None:
        """Let calls that run end, and drop those that wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)
