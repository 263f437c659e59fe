"""A pipe that ties this process to another one: it closes when the other ends, however that ends."""

from __future__ import annotations

import os
import signal
import threading

_READ_BYTES = 4096


def end_with(pipe: int) -> None:
    """End this process as SIGTERM does once nobody holds the other end of `pipe`, a descriptor that can be read.

    A pipe closes with its holder even if SIGKILL gives that no time to tell anybody, and on every POSIX system: Linux's
    PR_SET_PDEATHSIG is for Linux alone, and fires when the thread that started the process ends.
    """
    threading.Thread(target=_watch, args=(pipe,), name="lifeline", daemon=True).start()


def _watch(pipe: int) -> None:
    while os.read(pipe, _READ_BYTES):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
