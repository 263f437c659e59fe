"""Locks that a fork does not leave held."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from types import TracebackType


class ForkSafeLock:
    """A lock that is free in a forked child, whichever thread of the parent held it at that moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def free(self) -> None:
        """Forget who holds it."""
        self._lock = threading.Lock()


_locks: WeakSet[ForkSafeLock] = WeakSet()


def _free_all() -> None:
    for lock in _locks:
        lock.free()


os.register_at_fork(after_in_child=_free_all)
