"""Where a sample's bytes come from: the one seam of all reading.

A source is rooted at a sample's group. `fetch` takes spans of objects and yields their bytes in that order; it
raises FileNotFoundError for an object that is not there and StoreUnreadable for a storage that does not answer, and
yields what there is of a span that reaches beyond its object: whoever asked knows how many bytes it needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, Protocol

from drawpoint.errors import StoreUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import obstore.store
    from obstore import GetOptions
    from zarr.abc.store import ByteRequest, Store

    from drawpoint_store.codecs import Buffer


class Span(NamedTuple):
    """`nbytes` bytes of an object from `start`, counted from its end where negative; None: to its end."""

    key: str
    start: int
    nbytes: int | None


class Source(Protocol):
    """Reads spans of the objects of one sample's group."""

    def fetch(self, spans: Sequence[Span]) -> Iterable[Buffer]: ...


class OpenFiles:
    """Local files kept open, the `limit` most recently used ones; reads are positioned, so threads share them.

    There is no lock that a fork could leave held: each step on the OrderedDict is atomic by itself, and a file that
    drops out is closed when its last reader lets go of it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._files: OrderedDict[str, _File] = OrderedDict()

    def open(self, path: str) -> _File:
        """Return the file at `path`; raises FileNotFoundError."""
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = _File(path)
        with contextlib.suppress(KeyError):  # another thread may have dropped it, or the last one, meanwhile
            self._files.move_to_end(path)
            while len(self._files) > self._limit:
                self._files.popitem(last=False)
        return file


class _File:
    __slots__ = ("descriptor",)

    def __init__(self, path: str) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class LocalSource:
    """Positioned reads of local files, one after the other; fetched lazily, so that memory stays bounded."""

    def __init__(self, root: Path, files: OpenFiles) -> None:
        self._root = root
        self._files = files

    def fetch(self, spans: Sequence[Span]) -> Iterator[Buffer]:
        """Yield the bytes of each span."""
        for key, start, nbytes in spans:
            path = f"{self._root}/{key}"
            try:
                if nbytes is None:
                    with open(path, "rb") as file:  # noqa: PTH123  a Path would cost more than the read
                        yield file.read()
                    continue
                opened = self._files.open(path)  # held while it is read: letting go of it may close it
                descriptor = opened.descriptor
                first = start if start >= 0 else max(0, os.fstat(descriptor).st_size + start)
                yield _read_span(descriptor, nbytes, first)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise FileNotFoundError(key) from error
            except OSError as error:
                raise StoreUnreadable(f"{path} cannot be read: {error.strerror}.", store=str(self._root)) from error


def _read_span(descriptor: int, nbytes: int, first: int) -> bytes:
    data = os.pread(descriptor, nbytes, first)
    while len(data) < nbytes:  # the kernel may give less, and gives nothing at the end of the file
        more = os.pread(descriptor, nbytes - len(data), first + len(data))
        if not more:
            break
        data += more
    return data


_IN_FLIGHT = 64
"""Requests of one fetch that are under way together: enough to hide latency, few enough for any bucket."""


class ObjectSource:
    """Reads from object storage through obstore: one ranged multi-get per object, all objects together.

    `prefix` is the sample's group below the root of `client`, whose connections all samples share.
    """

    def __init__(self, client: obstore.store.ObjectStore, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def fetch(self, spans: Sequence[Span]) -> Iterator[Buffer]:
        """Yield the bytes of each span."""
        from zarr.core.sync import sync  # noqa: PLC0415  see stores.make_store

        yield from sync(self._fetch(spans))

    async def _fetch(self, spans: Sequence[Span]) -> list[Buffer]:
        by_key: dict[str, list[int]] = {}
        for place, span in enumerate(spans):
            # Only ranges that count from the start can share a request.
            by_key.setdefault(span.key if _is_range(span) else f"{span.key} {place}", []).append(place)
        places = asyncio.Semaphore(_IN_FLIGHT)
        groups = [[spans[place] for place in members] for members in by_key.values()]
        answers = await asyncio.gather(*(self._get(group, places) for group in groups))
        found: list[Buffer] = [b""] * len(spans)
        for members, buffers in zip(by_key.values(), answers, strict=True):
            for place, buffer in zip(members, buffers, strict=True):
                found[place] = buffer
        return found

    async def _get(self, spans: Sequence[Span], places: asyncio.Semaphore) -> list[Buffer]:
        import obstore  # noqa: PLC0415  only stores in buckets need it

        path = f"{self._prefix}/{spans[0].key}"
        try:
            async with places:
                if _is_range(spans[0]):
                    starts, lengths = [span.start for span in spans], [span.nbytes or 0 for span in spans]
                    # coalesce=0: chunks side by side are one span already, and gaps are not worth their bytes.
                    ranges = await obstore.get_ranges_async(
                        self._client, path, starts=starts, lengths=lengths, coalesce=0
                    )
                    return [memoryview(each) for each in ranges]
                options: GetOptions = {} if spans[0].nbytes is None else {"range": {"suffix": spans[0].nbytes}}
                answer = await obstore.get_async(self._client, path, options=options)
                return [memoryview(await answer.bytes_async())]
        except FileNotFoundError as error:
            raise FileNotFoundError(spans[0].key) from error
        except Exception as error:
            if await self._is_short(path, spans):
                return [b""] * len(spans)
            raise StoreUnreadable(f"{path} cannot be read: {_reason(error)}.") from error

    async def _is_short(self, path: str, spans: Sequence[Span]) -> bool:
        """Tell whether a request failed because the object ends before its spans do."""
        import obstore  # noqa: PLC0415  only stores in buckets need it

        try:
            size = (await obstore.head_async(self._client, path))["size"]
        except Exception:  # noqa: BLE001  the first error is the one to report
            return False
        return any(max(span.start, 0) + (span.nbytes or 0) > size for span in spans)


def _is_range(span: Span) -> bool:
    return span.start >= 0 and span.nbytes is not None


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


class ZarrSource:
    """Reads through the `get` of any zarr Store; all spans of a fetch are under way together."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def fetch(self, spans: Sequence[Span]) -> Iterator[Buffer]:
        """Yield the bytes of each span."""
        from zarr.core.sync import sync  # noqa: PLC0415  see stores.make_store

        yield from sync(self._fetch(spans))

    async def _fetch(self, spans: Sequence[Span]) -> list[Buffer]:
        places = asyncio.Semaphore(_IN_FLIGHT)
        return await asyncio.gather(*(self._get(span, places) for span in spans))

    async def _get(self, span: Span, places: asyncio.Semaphore) -> Buffer:
        from zarr.core.buffer import default_buffer_prototype  # noqa: PLC0415  see stores.make_store

        try:
            async with places:
                found = await self._store.get(span.key, default_buffer_prototype(), _byte_request(span))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(span.key) from error
        except Exception as error:
            raise StoreUnreadable(f"{self._store}: {span.key} cannot be read: {_reason(error)}.") from error
        if found is None:
            raise FileNotFoundError(span.key)
        return memoryview(found.to_bytes())


def _byte_request(span: Span) -> ByteRequest | None:
    from zarr.abc.store import RangeByteRequest, SuffixByteRequest  # noqa: PLC0415  see stores.make_store

    if span.nbytes is None:
        return None
    return SuffixByteRequest(-span.start) if span.start < 0 else RangeByteRequest(span.start, span.start + span.nbytes)
