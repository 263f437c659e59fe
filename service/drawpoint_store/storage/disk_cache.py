"""Bytes of a bucket kept on a local disk: bounded, checked, shared by workers, and whole after any crash.

An entry is one file, named by the hash of its key: the bytes, then the crc32c of key and bytes. It comes by a
rename, so that it is there whole or not at all, and what a disk or a crash does to it is noticed when it is read: there
is nothing to repair. A read moves it to the front, which its time of modification tells, and the oldest go first.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import crc32c

from drawpoint_store.storage.byte_sources import RemoteSource
from drawpoint_store.storage.local_storage import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from drawpoint_store.storage.byte_sources import Buffer, Span

_CRC_BYTES = 4

_FILL = 0.9
"""What is left after the oldest were deleted: 0.1 of room makes listing the folder rare."""

_SHARE = 64
"""A worker lists the folder after it has written a 64th of the room: by so much each may overshoot the limit."""

_UNFINISHED_SECONDS = 60
"""A file that is being written is renamed within milliseconds; an older one was left behind by a process that died."""

_BLOCK = 4096
"""What a file takes on a disk is whole blocks."""


class DiskCache:
    """Bytes by key in `folder`, which workers may share: some `limit` bytes of the most recently used."""

    def __init__(self, folder: str | os.PathLike[str], limit: int) -> None:
        self._folder = Path(folder)
        self._limit = limit
        self._written = 0
        for number in range(256):
            (self._folder / f"{number:02x}").mkdir(parents=True, exist_ok=True)
        self._make_room()

    def get(self, key: str) -> Buffer | None:
        """Return the bytes of `key`, or None; also where they are not what was put."""
        path = self._path(key)
        try:
            data = memoryview(path.read_bytes())
        except OSError:  # not there, or a disk that fails: the bucket has it
            return None
        found = data[:-_CRC_BYTES]
        if len(data) < _CRC_BYTES or data[-_CRC_BYTES:] != _checksum(key, found):
            self.drop(key)
            return None
        with contextlib.suppress(OSError):  # another worker made room
            os.utime(path)
        return found

    def put(self, key: str, data: Buffer) -> None:
        """Keep the bytes of `key`; a disk that does not take them is none of the reader's business."""
        try:
            replace_file(self._path(key), data, _checksum(key, data))
        except OSError:
            return
        self._written += _size(len(data) + _CRC_BYTES)
        if self._written > self._limit // _SHARE:
            with contextlib.suppress(OSError):
                self._make_room()

    def drop(self, key: str) -> None:
        """Forget `key`."""
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()[:40]
        return self._folder / name[:2] / name[2:]

    def _make_room(self) -> None:
        """Delete the oldest entries where there are too many; one worker at a time, the others go on."""
        self._written = 0
        with (self._folder / "lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            entries = []
            for number in range(256):
                with os.scandir(self._folder / f"{number:02x}") as found:
                    for entry in found:
                        with contextlib.suppress(FileNotFoundError):
                            status = entry.stat()
                            entries.append((status.st_mtime_ns, _size(status.st_size), entry.path))
            unfinished = (time.time() - _UNFINISHED_SECONDS) * 1e9
            held = sum(size for _, size, _ in entries)
            least = self._limit if held <= self._limit else int(self._limit * _FILL)
            for at, size, path in sorted(entries):
                if held > least or (path.endswith(".tmp") and at < unfinished):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)  # noqa: PTH108  a Path for each of a million files
                    held -= size


def _checksum(key: str, data: Buffer) -> bytes:
    return crc32c.crc32c(data, crc32c.crc32c(key.encode())).to_bytes(_CRC_BYTES, "little")


def _size(nbytes: int) -> int:
    return -(-nbytes // _BLOCK) * _BLOCK


class CachedSource(RemoteSource):
    """Reads spans from `cache`, and those that are not there from `source`.

    `name` tells the sample's content from that of any other, in other revisions and stores, too.
    """

    def __init__(self, source: RemoteSource, cache: DiskCache, name: str) -> None:
        self._source = source
        self._cache = cache
        self._name = name

    def fetch(self, spans: Sequence[Span]) -> Iterator[Buffer]:
        found = self._look_up(spans)
        lacking = [span for span in spans if span not in found]
        yield from self._complete(spans, found, lacking, list(self._source.fetch(lacking)))

    async def fetch_async(self, spans: Sequence[Span]) -> Sequence[Buffer]:
        found = await asyncio.to_thread(self._look_up, spans)
        lacking = [span for span in spans if span not in found]
        if not lacking:
            return [found[span] for span in spans]
        fetched = await self._source.fetch_async(lacking)
        return await asyncio.to_thread(self._complete, spans, found, lacking, fetched)

    def forget(self, spans: Iterable[Span]) -> None:
        for span in spans:
            self._cache.drop(self._key(span))

    def _look_up(self, spans: Iterable[Span]) -> dict[Span, Buffer]:
        looked_up = ((span, self._cache.get(self._key(span))) for span in spans)
        return {span: data for span, data in looked_up if data is not None}

    def _complete(
        self, spans: Sequence[Span], found: dict[Span, Buffer], lacking: Sequence[Span], fetched: Sequence[Buffer]
    ) -> list[Buffer]:
        for span, data in zip(lacking, fetched, strict=True):
            found[span] = data
            if span.nbytes in (None, len(data)):  # an object that ends too early may be restored
                self._cache.put(self._key(span), data)
        return [found[span] for span in spans]

    def _key(self, span: Span) -> str:
        return f"{self._name}\n{span.key}\n{span.start}\n{span.nbytes}"
