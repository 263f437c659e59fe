"""Reading ahead in threads, for jobs without worker processes."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

Request = TypeVar("Request")
Result = TypeVar("Result")

IN_FLIGHT = 4
"""Enough to hide a round trip behind a training step, and far below the limits of a service."""


def prefetch(
    read: Callable[[Request], Result], requests: Iterable[Request], *, in_flight: int = IN_FLIGHT
) -> Iterator[Result]:
    """Iterate over `read(request)` for each of `requests`, in order, reading ahead in threads.

    `read` may be a reader's method or a dataset's `__getitem__`. At most `in_flight` reads run at once, and at most
    as many results wait to be taken. `requests` may be endless. An error of a read is raised in its place and ends
    the iteration. When the iteration ends, also by `break`, running reads are waited for, and no thread is left.

    Raises ValueError for `in_flight` below 1.
    """
    if in_flight < 1:
        raise ValueError(f"in_flight must be an integer >= 1, not {in_flight}.")
    return _read_ahead(read, requests, in_flight)


def _read_ahead(read: Callable[[Request], Result], requests: Iterable[Request], in_flight: int) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(in_flight, "drawpoint-prefetch")
    try:
        for request in requests:
            waiting.append(pool.submit(read, request))
            # One more than there are threads, so that all of them work while a result is used.
            if len(waiting) > in_flight:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
