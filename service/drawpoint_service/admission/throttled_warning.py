"""A warning about what may happen a thousand times a second: logged once, and then counted for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging


class ThrottledWarning:
    """Warns of `event` at most once in `seconds`, with the number of times since the last line."""

    def __init__(self, log: logging.Logger, event: str, *, seconds: float) -> None:
        self._log = log
        self._event = event
        self._seconds = seconds
        self._warned_at = -float("inf")
        self._count = 0

    def warn(self, reason: str) -> None:
        """Count once more, and warn if it is time to."""
        self._count += 1
        now = time.monotonic()
        if now - self._warned_at >= self._seconds:
            times = "" if self._count == 1 else f" ({self._count} times since the last line)"
            self._log.warning("%s%s: %s", self._event, times, reason)
            self._warned_at, self._count = now, 0
