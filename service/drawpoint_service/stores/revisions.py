"""Stores at their present revisions: a manifest that was rewritten is noticed and served, without a restart."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from drawpoint.errors import DrawpointError, StoreNotFound
from drawpoint_service.stores.catalog import serve_store
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.storage import objects as stores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from drawpoint_service.stores.catalog import ServedStore

LOG = logging.getLogger("drawpoint.service")

_LEAST_SECONDS = 1.0
"""Requests that pin another revision make the service look, but no more often than this for each store."""

_JITTER = 0.1
"""Workers and replicas do not all look at the same moment."""


class Catalog(Mapping[str, "ServedStore"]):
    """The served stores by id, each at the revision that it was last seen at.

    Whoever has taken a store out of it keeps that revision: an answer is never of two. It belongs to one event loop.
    """

    def __init__(self, served: Iterable[ServedStore], revalidate_seconds: float) -> None:
        self._stores = {store.id: store for store in served}
        self._seconds = revalidate_seconds
        self._stamps: dict[str, str | None] = dict.fromkeys(self._stores)
        self._looked_at = dict.fromkeys(self._stores, -float("inf"))
        self._complaints: dict[str, str] = {}
        self._locks = {store_id: asyncio.Lock() for store_id in self._stores}
        self._threads = ThreadPoolExecutor(max(1, len(self._stores)), thread_name_prefix="manifest")
        self._watches: list[asyncio.Task[None]] = []

    def __getitem__(self, store_id: str) -> ServedStore:
        return self._stores[store_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stores)

    def __len__(self) -> int:
        return len(self._stores)

    def watch(self) -> None:
        """Look for new revisions from now on, in the background of the running loop; 0 seconds: only when asked."""
        if self._seconds:
            self._watches = [asyncio.create_task(self._watch(store_id)) for store_id in self._stores]

    async def renew(self, store_id: str) -> ServedStore:
        """Return the store as it is now, or as it was where that cannot be told or was looked at just now."""
        async with self._locks[store_id]:
            if time.monotonic() - self._looked_at[store_id] >= _LEAST_SECONDS:
                await self._look(store_id)
        return self._stores[store_id]

    async def close(self) -> None:
        """Look no more."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _watch(self, store_id: str) -> None:
        while True:
            await asyncio.sleep(self._seconds * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311  no secret
            async with self._locks[store_id]:
                await self._look(store_id)

    async def _look(self, store_id: str) -> None:
        served, stamp = self._stores[store_id], self._stamps[store_id]
        loop = asyncio.get_running_loop()
        try:
            found, self._stamps[store_id] = await loop.run_in_executor(self._threads, find_revision, served, stamp)
            complaint = ""
        except (DrawpointError, OSError) as error:
            found, complaint = served, str(error)
        except Exception:  # whatever it is, the next look may go well
            LOG.exception("store %s: its manifest could not be looked at", store_id)
            found, complaint = served, self._complaints.get(store_id, "")
        if complaint != self._complaints.get(store_id, ""):  # once, not with every look
            said = complaint or "its manifest can be read again."
            LOG.warning("store %s stays at revision %s: %s", store_id, served.revision[:12], said)
        self._complaints[store_id] = complaint
        if found is not served:
            self._stores[store_id] = found
            LOG.info("store %s goes from revision %s to %s", store_id, served.revision[:12], found.revision[:12])
        self._looked_at[store_id] = time.monotonic()


def find_revision(served: ServedStore, stamp: str | None) -> tuple[ServedStore, str | None]:
    """Return the store at its present revision, and the stamp of its manifest; `stamp` is that of the last look.

    Raises what StoreManifest.load and serve_store raise.
    """
    location = served.reader.location
    # Before the manifest is read: one that is rewritten meanwhile has another stamp at the next look.
    present = stores.read_stamp(location, StoreManifest.MANIFEST_NAME)
    if present is not None and present == stamp:
        return served, stamp
    data = stores.read_json(location, StoreManifest.MANIFEST_NAME)
    if data is None:
        raise StoreNotFound(f"its manifest at {location} is gone.")
    if hashlib.sha256(data).hexdigest() == served.revision:
        return served, present
    manifest = StoreManifest.from_json(data, origin=stores.join(location, StoreManifest.MANIFEST_NAME))
    return serve_store(served.id, served.reader.at(manifest), data), present
