"""Where blocking reads run: a sized pool of threads behind a bounded number of requests."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from drawpoint.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")

_FAR_AT_ONCE = 4
"""A draw takes some 25 ms of work, and as much again for each 25 ms that the storage is away; 100 ms is far."""


class ReadPool:
    """Runs blocking calls in `threads` threads, for at most `max_requests` requests at once.

    A request counts from its admission until its answer has been sent: that bounds the memory of answers as well
    as the queue. It belongs to one event loop.
    """

    def __init__(self, threads: int, max_requests: int) -> None:
        self._width = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="read")
        self._max_requests = max_requests
        self._admitted = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count one more request; raises Overloaded, without waiting, when there are too many."""
        if self._admitted >= self._max_requests:
            raise Overloaded(
                f"the service has {self._admitted} reads under way, as many as it takes on at once; try again after "
                "the time that Retry-After names, or with fewer requests at once."
            )
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    async def run(self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Run `call(*args, **kwargs)` in a thread; the event loop goes on meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: call(*args, **kwargs))

    async def run_each(
        self, call: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, far: bool
    ) -> dict[Item, Result]:
        """Return what `call` returns for each of `items`.

        As many are under way at once as there are threads, so that the calls of other requests take their turn between
        them; some more where they are `far` and wait for a storage most of the time.
        """
        results: dict[Item, Result] = {}
        waiting = iter(items)

        async def work() -> None:
            for item in waiting:
                results[item] = await call(item)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._width * (_FAR_AT_ONCE if far else 1)):
                group.create_task(work())
        return results

    def close(self) -> None:
        """Let calls that run end, and drop those that wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)
