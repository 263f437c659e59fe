"""The served stores at their present revisions: a manifest that is rewritten is noticed, without a restart."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
import time
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import BaseModel

from drawpoint.errors import DrawpointError, InvalidManifest, RevisionChanged, StoreNotFound
from drawpoint_service.middleware.context import context_of
from drawpoint_service.requests.query import SampleQuery, parameters_of
from drawpoint_store.reading.manifest import StoreManifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import Request

    import drawpoint.format.manifest
    from drawpoint_store.reading.reader import ZarrChunkReader

LOG = logging.getLogger("drawpoint.service")

_LEAST_SECONDS = 1.0
"""Requests that pin another revision make the service look for it, but no more often than this for each store."""


class FieldSummary(BaseModel):
    """A field: its domain, components a point, stored dtype and, where the store says them, units and description."""

    domain: str
    dim: int
    dtype: str
    units: str | None = None
    description: str | None = None


class DomainSummary(BaseModel):
    """A domain: its fields, and how many points the samples have in it."""

    position: str
    fields: list[str]
    n_samples: int
    n_points_min: int
    n_points_max: int
    n_points_total: int


class StoreSummary(BaseModel):
    """A store as `/stores` and `/stores/{id}` show it; `{sample}` in a link stands for a sample's id."""

    id: str
    dataset_name: str
    revision: str
    n_samples: int
    domains: dict[str, DomainSummary]
    fields: dict[str, FieldSummary]
    links: dict[str, str]


class SampleSummary(BaseModel):
    """A sample: its id, the grid of each of its domains, and its scalars."""

    id: str
    domains: dict[str, dict[str, int]]
    scalars: dict[str, float]


class SamplePage(BaseModel):
    """A page of samples in the order of their ids; `next` is what `after=` of the next page says."""

    samples: list[SampleSummary]
    next: str | None


@dataclass(frozen=True)
class ServedStore:
    """The reader of a store, the bytes of its manifest, and its summary."""

    id: str
    reader: ZarrChunkReader
    manifest_json: bytes
    sample_ids: list[str]
    summary: StoreSummary

    @property
    def manifest(self) -> drawpoint.format.manifest.StoreManifest:
        return self.reader.manifest

    @property
    def revision(self) -> str:
        return self.summary.revision

    @cached_property
    def manifest_gzip(self) -> bytes:
        """The manifest's bytes, compressed; equal on every replica (no time in the header)."""
        return gzip.compress(self.manifest_json, compresslevel=6, mtime=0)

    @cached_property
    def summary_json(self) -> bytes:
        return self.summary.model_dump_json(exclude_none=True).encode()

    def list_samples(self, limit: int, after: str) -> SamplePage:
        """Return the first `limit` samples whose ids sort behind `after`, which need not exist any more."""
        begin = bisect_right(self.sample_ids, after)
        ids = self.sample_ids[begin : begin + limit]
        samples = self.manifest.samples
        page = [
            SampleSummary(
                id=sample_id,
                domains={name: grid.model_dump() for name, grid in samples[sample_id].domains.items()},
                scalars=samples[sample_id].scalars,
            )
            for sample_id in ids
        ]
        return SamplePage(samples=page, next=ids[-1] if begin + limit < len(self.sample_ids) else None)


def summarise(store_id: str, manifest: drawpoint.format.manifest.StoreManifest) -> StoreSummary:
    """Return the summary of a store."""
    counts = manifest.samples.point_counts()
    domains = {
        name: DomainSummary(
            position=layout.position,
            fields=list(layout.arrays),
            n_samples=len(counts.get(name, [])),
            n_points_min=min(counts.get(name, []), default=0),
            n_points_max=max(counts.get(name, []), default=0),
            n_points_total=sum(counts.get(name, [])),
        )
        for name, layout in manifest.domains.items()
    }
    fields = {
        array.field: FieldSummary(domain=name, **array.model_dump(exclude={"array_name", "field"}))
        for name, layout in manifest.domains.items()
        for array in layout.arrays.values()
    }
    here = f"/stores/{store_id}"
    links = {
        "self": here,
        **{name: f"{here}/{name}" for name in ("manifest", "samples", "statistics", "splits")},
        "sample": f"{here}/samples/{{sample}}",
        "coords": f"{here}/coords/{{sample}}",
        "batch": f"{here}/batch",
    }
    return StoreSummary(
        id=store_id,
        dataset_name=manifest.dataset_name,
        revision=manifest.revision,
        n_samples=len(manifest.samples),
        domains=domains,
        fields=fields,
        links=links,
    )


def serve_store(store_id: str, reader: ZarrChunkReader) -> ServedStore:
    """Prepare a store for serving.

    Raises InvalidManifest if one of its domains has the name of a query parameter, RevisionChanged if its
    manifest has been rewritten since it was opened.
    """
    manifest = reader.manifest
    for domain in manifest.domains:
        if domain in parameters_of(SampleQuery):
            raise InvalidManifest(
                f"store {store_id!r} has a domain named {domain!r}, which the service has a parameter of that name "
                "for; rename the domain."
            )
    # As stored, byte for byte, because their hash is the revision.
    manifest_json = reader.storage.read_json(StoreManifest.MANIFEST_NAME) or b""
    if hashlib.sha256(manifest_json).hexdigest() != manifest.revision:
        raise RevisionChanged(f"the manifest of store {store_id!r} was rewritten while it was opened; start again.")
    return ServedStore(store_id, reader, manifest_json, sorted(manifest.samples), summarise(store_id, manifest))


def find_revision(served: ServedStore, stamp: str | None) -> tuple[ServedStore, str | None]:
    """Return the store at its present revision, and the stamp of its manifest; `stamp` is that of the last look.

    Raises what StoreManifest.load and serve_store raise.
    """
    storage = served.reader.storage
    # Before the manifest is read: one that is rewritten meanwhile has another stamp at the next look.
    present = storage.stamp(StoreManifest.MANIFEST_NAME)
    if present is not None and present == stamp:
        return served, stamp
    data = storage.read(StoreManifest.MANIFEST_NAME) or b""
    if hashlib.sha256(data).hexdigest() == served.revision:  # to parse it may take seconds
        return served, present
    return serve_store(served.id, served.reader.at(StoreManifest.load(storage))), present


class Catalog(dict[str, ServedStore]):
    """The served stores by id, each at the revision that it was last seen at.

    Whoever has taken a store out of it keeps that revision: an answer is never of two. It belongs to one event loop.
    """

    def __init__(self, served: Iterable[ServedStore], revalidate_seconds: float) -> None:
        super().__init__({store.id: store for store in served})
        self._seconds = revalidate_seconds
        self._stamps: dict[str, str | None] = dict.fromkeys(self)
        self._looked_at = dict.fromkeys(self, -float("inf"))
        self._complaints = dict.fromkeys(self, "")
        self._locks = {store_id: asyncio.Lock() for store_id in self}
        self._watches: list[asyncio.Task[None]] = []
        # One a store: a storage that hangs keeps no other store from being looked at.
        self._threads = ThreadPoolExecutor(max(1, len(self)), thread_name_prefix="manifest")

    def watch(self) -> None:
        """Look for new revisions from now on, in the background of the running loop; 0 seconds: only when asked."""
        if self._seconds:
            self._watches = [asyncio.create_task(self._watch(store_id)) for store_id in self]

    async def enter(self, request: Request, store_id: str, pinned: str | None = None) -> ServedStore:
        """Return the store that a request asks, whose revision its answer will name; raises StoreNotFound.

        A request that pins another revision, in its query or as `pinned` in its body, makes the service look for one:
        its client may have seen a newer manifest.
        """
        if store_id not in self:
            raise StoreNotFound.among("store", store_id, self, where="this service")
        store = self[store_id]
        if (pinned or request.query_params.get("revision", store.revision)) != store.revision:
            await self._look(store_id, _LEAST_SECONDS)
            store = self[store_id]
        context = context_of(request.scope)
        context.store = store
        context.headers["X-Drawpoint-Revision"] = store.revision
        return store

    async def close(self) -> None:
        """Look no more."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _watch(self, store_id: str) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self._look(store_id)

    async def _look(self, store_id: str, least_seconds: float = 0.0) -> None:
        async with self._locks[store_id]:
            if time.monotonic() - self._looked_at[store_id] >= least_seconds:
                await self._find(store_id)
                self._looked_at[store_id] = time.monotonic()

    async def _find(self, store_id: str) -> None:
        served, stamp, complaint = self[store_id], self._stamps[store_id], ""
        found, unforeseen = served, None
        loop = asyncio.get_running_loop()
        try:
            found, self._stamps[store_id] = await loop.run_in_executor(self._threads, find_revision, served, stamp)
        except (DrawpointError, OSError) as error:
            complaint = str(error) or repr(error)
        except Exception as error:  # noqa: BLE001  it is logged below, and the next look may go well
            complaint, unforeseen = repr(error), error
        if complaint != self._complaints[store_id]:  # once, not with every look
            said = complaint or "its manifest can be read again."
            LOG.warning("store %s stays at revision %s: %s", store_id, served.revision[:12], said, exc_info=unforeseen)
        self._complaints[store_id] = complaint
        if found is not served:
            self[store_id] = found
            LOG.info("store %s goes from revision %s to %s", store_id, served.revision[:12], found.revision[:12])
