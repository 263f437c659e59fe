"""The way out: on SIGTERM the service first says that it is leaving, and leaves a little later."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Draining:
    """`begun` tells whether the service is about to end.

    A load balancer has to learn that before the listening socket closes, or it goes on sending requests to a closed
    door. So SIGTERM reaches the server only `seconds` later; a second one reaches it at once.
    """

    def __init__(self, seconds: float) -> None:
        self.begun = False
        self._seconds = seconds

    def watch(self) -> None:
        """Step in between SIGTERM and the server's handler; call it in the running loop, once the server has one."""
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
