"""What the service has a bounded amount of, and gives out in the order of asking."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from drawpoint.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY_SECONDS = 2.0
"""How long an answer waits for memory. Nobody overtakes it, so a large one gets what small ones give back."""

RESERVED_SECONDS = 5.0
"""How long what an answer was refused for is kept for its next attempt: Retry-After, what clients add, and the wait."""

NO_MEMORY = (
    "the answers that are under way take all the memory that the service has for them; try again after the time that "
    "Retry-After names, or ask for fewer points or fields at once."
)

REFUSED_AT_ONCE = 2
PAUSE_SECONDS = 0.016
"""A refusal costs some 0.2 ms, and who is refused at once may come back at once: a service that refuses as fast as it
is asked does nothing else. So a few are refused at once, and the next ones when the event loop has had a turn for all
others, 125 a second at most. Whoever waits for a refusal costs nothing, and may be let in meanwhile."""


class Pace:
    """Refuses one after the other, in the order of `add`. It belongs to one event loop."""

    def __init__(self) -> None:
        self._line: deque[Callable[[], bool]] = deque()
        self._is_running = False

    def add(self, refuse: Callable[[], bool]) -> None:
        """Call `refuse` in its turn; it returns False if there was nobody left to be refused."""
        self._line.append(refuse)
        if not self._is_running:
            self._is_running = True
            self._go_on()

    async def wait(self) -> None:
        """Return when it is the caller's turn to be refused."""
        turn = asyncio.get_running_loop().create_future()

        def refuse() -> bool:
            if not turn.done():
                turn.set_result(None)
            return True

        self.add(refuse)
        await turn

    def _go_on(self) -> None:
        refused = 0
        while self._line and refused < REFUSED_AT_ONCE:
            refused += self._line.popleft()()
        self._is_running = bool(self._line) or refused > 0
        if self._is_running:
            asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._go_on)


class Budget:
    """`limit` units of something; who finds too few waits for `seconds`, and some more where refusals are paced.

    Nobody is overtaken, so that who needs much gets it in the end, and one who needs more than there is gets it when
    nobody else holds any. For who is refused nevertheless, because others hold theirs for long, as much is reserved
    until it may have come back; if it is refused again, the time after that is for the others. It belongs to one event
    loop.
    """

    def __init__(self, limit: int, seconds: float, pace: Pace) -> None:
        self._limit = limit
        self._seconds = seconds
        self._pace = pace
        self._held = 0
        self._reserved = 0
        self._reserved_until = -float("inf")
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, amount: int, refusal: str) -> Callable[[], None]:
        """Return what gives `amount` back, once it is there; raises Overloaded, with the words of `refusal`, if not."""
        if self._line or not self._fits(amount):
            await self._wait(amount, refusal)
        else:
            self._hold(amount)

        def give_back() -> None:
            self._held -= amount
            self._advance()

        return give_back

    async def _wait(self, amount: int, refusal: str) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        waiting = amount, turn
        self._line.append(waiting)

        def refuse() -> bool:
            if turn.done():
                return False
            self._line.remove(waiting)
            self._reserve(amount)
            turn.set_exception(Overloaded(refusal))
            self._advance()
            return True

        timer = loop.call_later(self._seconds, self._pace.add, refuse)
        try:
            await turn
        except asyncio.CancelledError:
            if waiting in self._line:
                self._line.remove(waiting)
            elif not turn.cancelled() and turn.exception() is None:  # it came just now
                self._held -= amount
            self._advance()
            raise
        finally:
            timer.cancel()

    def _advance(self) -> None:
        while self._line and self._fits(self._line[0][0]):
            amount, turn = self._line.popleft()
            if not turn.done():  # whoever waited may have been cancelled just now
                self._hold(amount)
                turn.set_result(None)

    def _hold(self, amount: int) -> None:
        self._held += amount
        if amount >= self._reserved:
            self._reserved = 0

    def _reserve(self, amount: int) -> None:
        if amount > self._reserved:
            self._reserved, self._reserved_until = amount, asyncio.get_running_loop().time() + RESERVED_SECONDS
        elif amount == self._reserved:
            # Not twice in a row: else one who cannot be served would keep out all others for as long as it asks.
            self._reserved = 0

    def _fits(self, amount: int) -> bool:
        if asyncio.get_running_loop().time() >= self._reserved_until:
            self._reserved = 0
        kept = self._reserved if amount < self._reserved else 0
        return not self._held or self._held + kept + amount <= self._limit
