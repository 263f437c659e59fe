"""Reads ahead: for jobs that load data without worker processes."""

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
"""Enough to hide a round trip behind a training step, and far below what a service takes on at once."""


def prefetch(
    read: Callable[[Request], Result], requests: Iterable[Request], *, in_flight: int = IN_FLIGHT
) -> Iterator[Result]:
    """Return an iterator over `read(request)` for each of `requests`, in their order, read ahead by threads.

    `read` may be any reader's method, or a data set's `__getitem__`. At most `in_flight` reads are under way at once,
    and at most as many results wait to be taken. `requests` may be endless: no more of it is taken than is read. What
    a read raises is raised in its place, and ends the iteration. When that ends, by `break` and by an exception too,
    the reads under way are waited for (each ends by the deadline of its connection), no other begins, and no thread is
    left.

    Raises ValueError for `in_flight` below 1.
    """
    if in_flight < 1:
        raise ValueError(f"in_flight is how many reads are under way at once, 1 or more; not {in_flight}.")
    return _read_ahead(read, requests, in_flight)


def _read_ahead(read: Callable[[Request], Result], requests: Iterable[Request], in_flight: int) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(in_flight, "drawpoint-prefetch")
    try:
        for request in requests:
            waiting.append(pool.submit(read, request))
            # One more than there are threads: while a result is used, each of them has something to do.
            if len(waiting) > in_flight:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
