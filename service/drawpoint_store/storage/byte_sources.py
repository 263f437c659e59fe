"""Where a sample's bytes come from: the one seam of all reading.

A source is rooted at a sample's group; its storage gives it out. `fetch` takes spans of objects and yields their bytes
in that order. It raises FileNotFoundError for an object that is not there and StoreUnreadable for a storage that does
not answer. It yields what there is of a span that reaches beyond its object: the caller knows how many bytes it needs.
It yields ABSENT for a span whose object need not be there.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from drawpoint.errors import StoreUnreadable
from drawpoint_store.storage.bucket_access import explain

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from zarr.abc.store import ByteRequest, Store

    Result = TypeVar("Result")
    Fetching: TypeAlias = Generator[Sequence["Span"], Iterable["Buffer"], Result]
    """Work that yields what it needs fetched and is sent the bytes, so that threads and event loops share it."""

Buffer = bytes | bytearray | memoryview


class Span(NamedTuple):
    """`nbytes` bytes of an object from `start`, counted from its end where negative; None: to its end."""

    key: str
    start: int
    nbytes: int | None
    may_be_absent: bool = False


ABSENT = memoryview(b"")
"""Stands, by identity, for the bytes of an object that is not there."""


class Source(ABC):
    """Reads spans of the objects of one sample's group."""

    was_replaced = False
    """Whether another group turned out to lie where this one was opened."""

    @abstractmethod
    def fetch(self, spans: Sequence[Span]) -> Iterable[Buffer]:
        """Return the bytes of each span."""

    def forget(self, spans: Iterable[Span]) -> None:  # noqa: B027  most keep no copies
        """Ask the storage itself for these spans the next time: their bytes were damaged."""

    def close(self) -> None:  # noqa: B027  most open no files
        """Let go of open files, so that the next reads open what lies there then."""


class RemoteSource(Source):
    """A source whose fetch costs a round trip."""

    @abstractmethod
    async def fetch_async(self, spans: Sequence[Span]) -> Sequence[Buffer]:
        """Return the bytes of each span, for tasks, whose event loop goes on meanwhile."""


def run_sync(work: Fetching[Result], source: Source) -> Result:
    """Do `work` with the bytes that `source` fetches."""
    try:
        spans = next(work)
        while True:
            spans = work.send(source.fetch(spans))
    except StopIteration as done:
        result: Result = done.value
        return result


async def run_async(work: Fetching[Result], source: RemoteSource) -> Result:
    """Do `work` with the bytes that `source` fetches, while the event loop goes on."""
    try:
        spans = next(work)
        while True:
            try:
                found = await source.fetch_async(spans)
            except (FileNotFoundError, StoreUnreadable) as error:
                spans = work.throw(error)
            else:
                spans = work.send(found)
    except StopIteration as done:
        result: Result = done.value
        return result


_IN_FLIGHT = 64
"""Requests of one fetch through a zarr Store that are under way together: the Store may be any."""


class ZarrSource(Source):
    """Reads through the `get` of any zarr Store; all spans of a fetch are under way together.

    It is no RemoteSource, so that who wraps a Store sees it asked for what is needed and nothing else.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def fetch(self, spans: Sequence[Span]) -> Iterator[Buffer]:
        """Yield the bytes of each span."""
        from zarr.core.sync import sync  # noqa: PLC0415  zarr takes 0.4 s to import

        yield from sync(self._fetch(spans))

    async def _fetch(self, spans: Sequence[Span]) -> list[Buffer]:
        slots = asyncio.Semaphore(_IN_FLIGHT)
        return await asyncio.gather(*(self._get(span, slots) for span in spans))

    async def _get(self, span: Span, slots: asyncio.Semaphore) -> Buffer:
        from zarr.core.buffer import default_buffer_prototype  # noqa: PLC0415  as above

        try:
            async with slots:
                found = await self._store.get(span.key, default_buffer_prototype(), _byte_request(span))
        except (FileNotFoundError, NotADirectoryError):
            found = None
        except Exception as error:
            raise StoreUnreadable(f"{self._store}: {span.key} cannot be read: {explain(error)}.") from error
        if found is None:
            if span.may_be_absent:
                return ABSENT
            raise FileNotFoundError(span.key)
        return memoryview(found.to_bytes())


def _byte_request(span: Span) -> ByteRequest | None:
    from zarr.abc.store import RangeByteRequest, SuffixByteRequest  # noqa: PLC0415  as above

    if span.nbytes is None:
        return None
    return SuffixByteRequest(-span.start) if span.start < 0 else RangeByteRequest(span.start, span.start + span.nbytes)
