"""Draining: on SIGTERM the service first reports that it is not ready, and ends a little later."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Draining:
    """Delays SIGTERM; `begun` is whether it has come.

    A load balancer has to learn that before the listening socket closes, or it goes on sending requests to a closed
    port. So SIGTERM reaches the server only `seconds` later; a second one reaches it at once.
    """

    def __init__(self, seconds: float) -> None:
        self.begun = False
        self._seconds = seconds

    def watch(self) -> None:
        """Take SIGTERM before the server's handler does; call it in the running loop, once the server has a handler."""
        # Only a process's main thread handles signals; a server in another thread is ended by other means.
        if threading.current_thread() is not threading.main_thread():
            return
        end = signal.getsignal(signal.SIGTERM)
        if not callable(end):
            return
        loop = asyncio.get_running_loop()
        ended = False

        def finish() -> None:
            nonlocal ended
            # The server raises the signal again once it is done: SIGTERM would then kill the process before it has
            # cleaned up after itself, SIGINT is an exception that its runner catches.
            if not ended:
                ended = True
                end(signal.SIGINT, None)

        def begin(_number: int, _frame: FrameType | None) -> None:
            delay = 0.0 if self.begun else self._seconds
            self.begun = True
            loop.call_soon_threadsafe(loop.call_later, delay, finish)

        signal.signal(signal.SIGTERM, begin)
