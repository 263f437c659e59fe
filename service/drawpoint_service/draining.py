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
        loop = asyncio.get_running_loop()
        end = signal.getsignal(signal.SIGTERM)

        def begin(number: int, frame: FrameType | None) -> None:
            if not callable(end):
                raise SystemExit(0)
            if self.begun:
                end(number, frame)
                return
            self.begun = True
            loop.call_soon_threadsafe(loop.call_later, self._seconds, end, number, frame)

        signal.signal(signal.SIGTERM, begin)
