"""The source of what lies in a bucket: everything asked for at once, within a deadline, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from drawpoint.errors import MetadataDamaged, StoreUnreadable
from drawpoint_store.storage.buckets import (
    access_of,
    explain,
    reading_client,
    refuse_fork,
    tells_no_bucket,
    tells_short,
)
from drawpoint_store.storage.event_loop import submit
from drawpoint_store.storage.sources import ABSENT, check_document

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterator, Sequence

    from obstore import GetOptions

    from drawpoint_store.reading.codecs import Buffer
    from drawpoint_store.storage.cached_source import CachedSource
    from drawpoint_store.storage.sources import Fetching, Result, Span

_RANGES = 8
"""Chunks that one call of obstore reads: it has 10 requests under way at most, and more would wait in a queue."""


class Bucket:
    """The connections to a bucket, shared by all samples of a store: at most `bucket_requests` under way at once."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        access = access_of(root)
        self.client = reading_client(root)
        self.deadline_seconds = access.deadline_seconds
        self.document_bytes = access.document_bytes
        self.lot = min(_RANGES, access.bucket_requests)
        self._free = asyncio.Semaphore(access.bucket_requests)
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def places(self, count: int) -> AsyncIterator[None]:
        """Wait until `count` more requests may be under way, at most `lot`, and hold their places."""
        held = 0
        try:
            async with self._turn:  # else two could wait for what the other holds
                while held < count:
                    await self._free.acquire()
                    held += 1
            yield
        finally:
            for _ in range(held):
                self._free.release()


class ObjectSource:
    """Reads from object storage through obstore: all spans of a fetch are under way together.

    `prefix` is the sample's group below the root of the bucket. A fetch ends by the bucket's deadline, retries
    included. Threads wait for it, or tasks of an event loop.
    """

    far = True

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = prefix

    def fetch(self, spans: Sequence[Span]) -> Iterator[Buffer]:
        """Yield the bytes of each span."""
        if spans:
            refuse_fork()
            yield from submit(self._fetch(spans)).result()

    async def fetch_soon(self, spans: Sequence[Span]) -> list[Buffer]:
        """Return the bytes of each span; for tasks, whose loop goes on meanwhile."""
        if not spans:
            return []
        refuse_fork()
        return await asyncio.wrap_future(submit(self._fetch(spans)))

    async def _fetch(self, spans: Sequence[Span]) -> list[Buffer]:
        lots = _lots(spans, self._bucket.lot)
        found: list[Buffer] = [b""] * len(spans)
        try:
            async with asyncio.timeout(self._bucket.deadline_seconds), asyncio.TaskGroup() as group:
                for lot in lots:
                    group.create_task(self._get_lot(spans, lot, found))
        except TimeoutError:
            seconds = self._bucket.deadline_seconds
            message = (
                f"{self._prefix} cannot be read: the storage does not answer within {seconds:g} s, retries included."
            )
            raise StoreUnreadable(message) from None
        except BaseExceptionGroup as errors:
            # An outage shows that what else failed says nothing of what is there.
            raise min(errors.exceptions, key=lambda error: isinstance(error, FileNotFoundError)) from None
        return found

    async def _get_lot(self, spans: Sequence[Span], lot: list[int], found: list[Buffer]) -> None:
        async with self._bucket.places(len(lot)):
            for place, buffer in zip(lot, await self._get([spans[place] for place in lot]), strict=True):
                found[place] = buffer

    async def _get(self, spans: Sequence[Span]) -> list[Buffer]:
        import obstore  # noqa: PLC0415  only stores in buckets need it

        path = f"{self._prefix}/{spans[0].key}"
        try:
            if _is_range(spans[0]):
                starts, lengths = [span.start for span in spans], [span.nbytes or 0 for span in spans]
                # coalesce=0: chunks side by side are one span already, and gaps are not worth their bytes.
                ranges = await obstore.get_ranges_async(
                    self._bucket.client, path, starts=starts, lengths=lengths, coalesce=0
                )
                return [memoryview(each) for each in ranges]
            options: GetOptions = {} if spans[0].nbytes is None else {"range": {"suffix": spans[0].nbytes}}
            answer = await obstore.get_async(self._bucket.client, path, options=options)
            check_document(path, answer.meta["size"] if spans[0].nbytes is None else 0, self._bucket.document_bytes)
            return [memoryview(await answer.bytes_async())]
        except MetadataDamaged:
            raise
        except Exception as error:  # noqa: BLE001  obstore's errors have no common base
            if isinstance(error, FileNotFoundError) and not tells_no_bucket(error):
                if spans[0].may_be_absent:
                    return [ABSENT] * len(spans)
                raise FileNotFoundError(spans[0].key) from None
            if tells_short(error):
                return [b""] * len(spans)
            raise StoreUnreadable(f"{path} cannot be read: {explain(error)}.") from None


def _lots(spans: Sequence[Span], most: int) -> list[list[int]]:
    """Return the places of the spans that share a call: ranges of one object, `most` each."""
    by_key: dict[str, list[int]] = {}
    lots = []
    for place, span in enumerate(spans):
        if _is_range(span):
            by_key.setdefault(span.key, []).append(place)
        else:
            lots.append([place])
    for places in by_key.values():
        n_lots = -(-len(places) // most)
        size = -(-len(places) // n_lots)
        # In order: obstore makes one request of ranges that lie side by side.
        lots += [places[first : first + size] for first in range(0, len(places), size)]
    return lots


def _is_range(span: Span) -> bool:
    return span.start >= 0 and span.nbytes is not None


async def fetch_soon_for(work: Fetching[Result], source: ObjectSource | CachedSource) -> Result:
    """Do `work` with the bytes that `source` fetches, while the event loop goes on."""
    try:
        spans = next(work)
        while True:
            try:
                found = await source.fetch_soon(spans)
            except (FileNotFoundError, StoreUnreadable) as error:
                spans = work.throw(error)
            else:
                spans = work.send(found)
    except StopIteration as done:
        result: Result = done.value
        return result
