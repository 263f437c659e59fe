"""A file of a remote storage, of which a local file holds those parts that were read."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample, StoreUnreadable
from drawpoint_store.storage.storage import RangesRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from drawpoint_store.storage.storage import ObjectInfo, Storage

BLOCK = 1 << 18
"""What is fetched is fetched in whole blocks of so many bytes: 3 ms of a line of 100 MB/s, less than a round trip."""

MOST_BYTES = 1 << 24
"""The most that one request asks for: several that are under way together fill a line that one does not."""

_GAP = 4
"""Blocks between two that are fetched which are fetched with them: they take less time than a request of their own."""

_LOST = "was written again, or cut short, while it was read"


class PartialFile:
    """The bytes of a remote file, each fetched once, into the sparse file at `place`.

    `info` says its size, and the stamp of the state that all bytes are of, as far as the storage compares it. Pickled,
    it knows which of its parts are there. `round_trips` counts the requests that were waited for one after the other.

    One thread reads at a time. Raises InvalidSample, naming the file, where it is gone, or another than it was, and
    StoreUnreadable where the storage does not answer, or `place` has no room. Where the storage gives no ranges, the
    file is read to its end if `whole` is set, and else RangesRefused is raised.
    """

    def __init__(self, storage: Storage, info: ObjectInfo, place: Path, *, whole: bool = False) -> None:
        self.storage = storage
        self.info = info
        self.place = place
        self.whole = whole
        self.size = info.nbytes
        self.round_trips = 0
        self._present = np.zeros(-(-self.size // BLOCK), np.bool_)
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._is_made = False
        self._is_stopped = False

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_descriptor")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _descriptor=None)

    def __str__(self) -> str:
        return self.storage.join(self.info.path)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.info.path.rpartition("/")[2]

    @property
    def nbytes_present(self) -> int:
        """How many bytes are there, in whole blocks."""
        return min(int(np.count_nonzero(self._present)) * BLOCK, self.size)

    def nbytes_of(self, spans: Iterable[tuple[int, int]]) -> int:
        """Return how many bytes there will be when these spans, from a byte to another, are fetched besides."""
        present = self._present.copy()
        for first, stop in _runs(self._blocks(spans) & ~present):  # with the gaps that are fetched with them
            present[first:stop] = True
        return min(int(np.count_nonzero(present)) * BLOCK, self.size)

    def fetch(self, spans: Iterable[tuple[int, int]], executor: Executor) -> list[Future[None]]:
        """Begin to fetch what is missing of these spans, and return what to wait for."""
        self._make()
        return [executor.submit(self._get, *run) for run in _runs(self._blocks(spans) & ~self._present)]

    def stop(self) -> None:
        """Have what is being fetched end soon, with StoreUnreadable: nobody waits for it any more."""
        self._is_stopped = True

    def preadv(self, view: memoryview, position: int) -> int:
        """Fill `view` with the bytes from `position` on, fetching what is missing, and return how many there were."""
        view = view[: max(0, self.size - position)]
        self._make()
        missing = _runs(self._blocks([(position, position + len(view))]) & ~self._present)
        self.round_trips += bool(missing)
        if len(missing) > 1:
            with ThreadPoolExecutor(self.storage.requests_at_once) as pool:
                for each in [pool.submit(self._get, first, stop) for first, stop in missing]:
                    each.result()
        else:
            for first, stop in missing:
                self._get(first, stop)
        if not view:
            return 0
        if self._descriptor is None:
            self._descriptor = os.open(self.place, os.O_RDONLY | os.O_CLOEXEC)
        return os.preadv(self._descriptor, [view], position)

    def close(self) -> None:
        """Close the local file, which stays where it is."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _make(self) -> None:
        """Make the local file, of its full size and without a byte in it, unless it is there."""
        if self._is_made:
            return
        try:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            with self.place.open("wb") as file:
                file.truncate(self.size)
        except OSError as error:
            raise _no_room(self, error) from None
        self._is_made = True

    def _blocks(self, spans: Iterable[tuple[int, int]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which blocks hold any byte of the spans."""
        wanted = np.zeros_like(self._present)
        for begin, end in spans:
            if begin < end:
                wanted[begin // BLOCK : -(-end // BLOCK)] = True
        return wanted

    def _get(self, first: int, stop: int) -> None:
        """Fetch the blocks from `first` to `stop`."""
        begin, end = first * BLOCK, min(stop * BLOCK, self.size)
        try:
            data = self.storage.read_range(self.info.path, begin, end - begin, self.info.stamp)
        except RangesRefused:
            if not self.whole:
                raise
            self._get_whole()
            return
        if data is None:
            raise InvalidSample(f"{self} {_LOST}: convert it when it is complete.")
        self._put(begin, memoryview(data))
        self._present[first:stop] = True

    def _get_whole(self) -> None:
        with self._lock:
            if self._present.all():  # another thread was refused before
                return
            position = 0
            for piece in self.storage.stream(self.info.path):
                if self._is_stopped:
                    raise StoreUnreadable(f"{self} was not read to its end: nobody waits for it.")
                if position + len(piece) > self.size:  # there may be no room for it
                    raise InvalidSample(f"{self} {_LOST}: it has more than the {self.size:,} bytes that were listed.")
                self._put(position, memoryview(piece))
                position += len(piece)
            if position != self.size:
                raise InvalidSample(f"{self} {_LOST}: it has {position:,} bytes, where {self.size:,} were listed.")
            self._present[:] = True

    def _put(self, position: int, view: memoryview) -> None:
        try:
            with self.place.open("r+b", buffering=0) as file:
                file.seek(position)
                while view:
                    view = view[file.write(view) :]
        except OSError as error:
            raise _no_room(self, error) from None


def _runs(blocks: np.ndarray[Any, np.dtype[np.bool_]]) -> Sequence[tuple[int, int]]:
    """Return the runs of blocks that are set, from one to another, with small gaps closed and long ones cut."""
    places = np.flatnonzero(blocks)
    if not len(places):
        return []
    cuts = np.flatnonzero(np.diff(places) > _GAP + 1) + 1
    most = MOST_BYTES // BLOCK
    return [
        (first, min(first + most, int(run[-1]) + 1))
        for run in np.split(places, cuts)
        for first in range(int(run[0]), int(run[-1]) + 1, most)
    ]


def _no_room(file: PartialFile, error: OSError) -> StoreUnreadable:
    return StoreUnreadable(
        f"{file} cannot be copied to {file.place.parent}: {error.strerror or error}; give --scratch one with room "
        "for it, or fewer --scratch-bytes."
    )
