"""A bucket behind a cache on disk: what was fetched once is not asked of the bucket again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from drawpoint_store.reading.codecs import Buffer
    from drawpoint_store.storage.disk_cache import DiskCache
    from drawpoint_store.storage.object_source import ObjectSource
    from drawpoint_store.storage.sources import Span


class CachedSource:
    """Reads spans from `cache`, and those that are not there from `source`.

    `name` tells the sample's content from that of any other, in other revisions and stores, too.
    """

    far = True

    def __init__(self, source: ObjectSource, cache: DiskCache, name: str) -> None:
        self._source = source
        self._cache = cache
        self._name = name

    def fetch(self, spans: Sequence[Span]) -> Iterator[Buffer]:
        """Yield the bytes of each span."""
        found = self._look_up(spans)
        lacking = [span for span in spans if span not in found]
        yield from self._complete(spans, found, lacking, list(self._source.fetch(lacking)))

    async def fetch_soon(self, spans: Sequence[Span]) -> list[Buffer]:
        """Return the bytes of each span; for tasks, whose loop goes on meanwhile."""
        found = await asyncio.to_thread(self._look_up, spans)
        lacking = [span for span in spans if span not in found]
        if not lacking:
            return [found[span] for span in spans]
        fetched = await self._source.fetch_soon(lacking)
        return await asyncio.to_thread(self._complete, spans, found, lacking, fetched)

    def forget(self, spans: Iterable[Span]) -> None:
        """Ask the bucket for these again: their bytes were damaged before they came here."""
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
