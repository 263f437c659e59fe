"""Lines of the log about what may happen a thousand times a second: said once, and then counted for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging


class Report:
    """Warns of `what` at most once in `seconds`, with the number of times since the last line."""

    def __init__(self, log: logging.Logger, what: str, *, seconds: float) -> None:
        self._log = log
        self._what = what
        self._seconds = seconds
        self._said_at = -float("inf")
        self._count = 0

    def say(self, why: str) -> None:
        """Count one more, and warn if it is time to."""
        self._count += 1
        now = time.monotonic()
        if now - self._said_at >= self._seconds:
            times = "" if self._count == 1 else f" ({self._count} times since this was last said)"
            self._log.warning("%s%s: %s", self._what, times, why)
            self._said_at, self._count = now, 0
