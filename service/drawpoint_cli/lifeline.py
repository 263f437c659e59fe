"""A process that ends with another one: a pipe between them closes when the other ends, however that ends."""

from __future__ import annotations

import os
import signal
import threading

_READ_BYTES = 4096


def end_with(pipe: int) -> None:
    """End this process as SIGTERM does once the other end of `pipe`, a descriptor to read from, is closed.

    A pipe closes with the process that holds it, even if that is killed, on every POSIX system. Linux's
    PR_SET_PDEATHSIG is for Linux alone, and fires when the thread that started the process ends.
    """
    threading.Thread(target=_watch, args=(pipe,), name="lifeline", daemon=True).start()


def _watch(pipe: int) -> None:
    while os.read(pipe, _READ_BYTES):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
