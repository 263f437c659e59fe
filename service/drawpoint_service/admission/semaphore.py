"""A fair, weighted semaphore whose refusals are queued."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from drawpoint.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY_SECONDS = 2.0
"""How long an answer waits for memory. Nobody overtakes it, so a large one gets what small ones release."""

RESERVED_SECONDS = 5.0
"""How long what an answer was refused for is kept for its next attempt: Retry-After, what clients add, and the wait."""

NO_MEMORY = (
    "the answers that are under way take all the memory that the service has for them; try again after the time that "
    "Retry-After names, or ask for fewer points or fields at once."
)

REFUSED_AT_ONCE = 2
PAUSE_SECONDS = 0.016
"""A refusal costs some 0.2 ms, and a client that is refused at once may come back at once: a service that refuses as
fast as it is asked does nothing else. So a few are refused at once, and the next ones when the event loop has had a
turn for all others, 125 a second at most. A request that waits for its refusal costs nothing, and may be let in."""


class RefusalQueue:
    """Refuses in order and at a bounded rate. It belongs to one event loop."""

    def __init__(self) -> None:
        self._queue: deque[Callable[[], bool]] = deque()
        self._is_running = False

    def put(self, refuse: Callable[[], bool]) -> None:
        """Call `refuse` in its turn; it returns False if there was nobody left to be refused."""
        self._queue.append(refuse)
        if not self._is_running:
            self._is_running = True
            self._refuse_next()

    async def wait_turn(self) -> None:
        """Return when it is the caller's turn to be refused."""
        future = asyncio.get_running_loop().create_future()

        def refuse() -> bool:
            if not future.done():
                future.set_result(None)
            return True

        self.put(refuse)
        await future

    def _refuse_next(self) -> None:
        refused = 0
        while self._queue and refused < REFUSED_AT_ONCE:
            refused += self._queue.popleft()()
        self._is_running = bool(self._queue) or refused > 0
        if self._is_running:
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._refuse_next)


class FairSemaphore:
    """`limit` units to acquire, first come, first served; whatever waits longer than `seconds` joins the refusals.

    A request for more units than there are gets them when nobody else holds any. After a refusal as many units are
    reserved until the client may have come back, so that small requests do not keep a large one out for ever; if it is
    refused again, the time after that is for the others. It belongs to one event loop.
    """

    def __init__(self, limit: int, seconds: float, refusals: RefusalQueue) -> None:
        self._limit = limit
        self._seconds = seconds
        self._refusals = refusals
        self._held = 0
        self._reserved = 0
        self._reserved_until = -float("inf")
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def acquire(self, amount: int, refusal: str) -> Callable[[], None]:
        """Return what releases `amount` units once they are held; raises Overloaded with the message `refusal`."""
        if self._waiters or not self._fits(amount):
            await self._wait(amount, refusal)
        else:
            self._hold(amount)

        def release() -> None:
            self._held -= amount
            self._wake()

        return release

    async def _wait(self, amount: int, refusal: str) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiter = amount, future
        self._waiters.append(waiter)

        def refuse() -> bool:
            if future.done():
                return False
            self._waiters.remove(waiter)
            self._reserve(amount)
            future.set_exception(Overloaded(refusal))
            self._wake()
            return True

        timer = loop.call_later(self._seconds, self._refusals.put, refuse)
        try:
            await future
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not future.cancelled() and future.exception() is None:  # it came just now
                self._held -= amount
            self._wake()
            raise
        finally:
            timer.cancel()

    def _wake(self) -> None:
        while self._waiters and self._fits(self._waiters[0][0]):
            amount, future = self._waiters.popleft()
            if not future.done():  # whoever waited may have been cancelled just now
                self._hold(amount)
                future.set_result(None)

    def _hold(self, amount: int) -> None:
        self._held += amount
        if amount >= self._reserved:
            self._reserved = 0

    def _reserve(self, amount: int) -> None:
        if amount > self._reserved:
            self._reserved, self._reserved_until = amount, asyncio.get_running_loop().time() + RESERVED_SECONDS
        elif amount == self._reserved:
            # Not twice in a row: else one that cannot be served would keep out all others for as long as it asks.
            self._reserved = 0

    def _fits(self, amount: int) -> bool:
        if asyncio.get_running_loop().time() >= self._reserved_until:
            self._reserved = 0
        kept = self._reserved if amount < self._reserved else 0
        return not self._held or self._held + kept + amount <= self._limit
