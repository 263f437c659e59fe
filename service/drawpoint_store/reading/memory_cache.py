"""What readers keep in memory, bounded by the bytes of it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from drawpoint_store.storage.forks import ForkSafeLock

Value = TypeVar("Value")


class ByteBoundedCache(Generic[Value]):
    """The most recently used values whose bytes, as stated when they were put, stay below `limit` together.

    Safe for threads, and over fork.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._lock = ForkSafeLock()

    def get(self, key: str) -> Value | None:
        """Return the value of `key`, or None."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: str, value: Value, nbytes: int) -> None:
        """Hold `value`, and let go of the least recently used ones that no longer fit; the newest always stays."""
        with self._lock:
            if key in self._values:
                self._held -= self._values.pop(key)[1]
            self._values[key] = value, nbytes
            self._held += nbytes
            while self._held > self._limit and len(self._values) > 1:
                self._held -= self._values.popitem(last=False)[1][1]

    def drop(self, key: str) -> None:
        """Let go of the value of `key`, if there is one."""
        with self._lock:
            if key in self._values:
                self._held -= self._values.pop(key)[1]

    def drop_below(self, prefix: str) -> None:
        """Let go of the values of all keys that begin with `prefix`."""
        with self._lock:
            for key in [key for key in self._values if key.startswith(prefix)]:
                self._held -= self._values.pop(key)[1]
