"""The stores that are served, each with everything about it that no request should compute again."""

from __future__ import annotations

import gzip
import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import BaseModel

from drawpoint.errors import InvalidManifest, RevisionChanged, StoreNotFound
from drawpoint_service.requests.query import COORDS_PARAMETERS, SAMPLE_PARAMETERS
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.storage import objects as stores

if TYPE_CHECKING:
    from collections.abc import Mapping

    import drawpoint.format.manifest
    from drawpoint_store.reading.reader import ZarrChunkReader


class FieldSummary(BaseModel):
    """A field: its domain, components a point, and stored dtype."""

    domain: str
    dim: int
    dtype: str


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
    """A sample: its id, and the grid of each of its domains."""

    id: str
    domains: dict[str, dict[str, int]]


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
        return self.summary.model_dump_json().encode()

    def list_samples(self, limit: int, after: str | None) -> SamplePage:
        """Return the first `limit` samples whose ids sort behind `after`, which need not exist any more."""
        begin = 0 if after is None else bisect_right(self.sample_ids, after)
        ids = self.sample_ids[begin : begin + limit]
        samples = self.manifest.samples
        page = [
            SampleSummary(
                id=sample_id,
                domains={name: grid.model_dump() for name, grid in samples[sample_id].domains.items()},
            )
            for sample_id in ids
        ]
        return SamplePage(samples=page, next=ids[-1] if begin + limit < len(self.sample_ids) else None)


def serve_store(store_id: str, reader: ZarrChunkReader, manifest_json: bytes | None = None) -> ServedStore:
    """Prepare a store for serving; `manifest_json` is what its manifest was read from, if that is at hand.

    Raises InvalidManifest if one of its domains has the name of a query parameter, RevisionChanged if its
    manifest has been rewritten since it was opened.
    """
    manifest = reader.manifest
    taken = sorted(manifest.domains.keys() & {*SAMPLE_PARAMETERS, *COORDS_PARAMETERS})
    if taken:
        raise InvalidManifest(
            f"store {store_id!r} has a domain named {taken[0]!r}, which the service has a parameter of that name for; "
            "rename the domain."
        )
    return ServedStore(
        id=store_id,
        reader=reader,
        manifest_json=_manifest_bytes(store_id, reader) if manifest_json is None else manifest_json,
        sample_ids=sorted(manifest.samples),
        summary=_summarise(store_id, manifest),
    )


def find_store(catalog: Mapping[str, ServedStore], store_id: str) -> ServedStore:
    """Return the store of that id; raises StoreNotFound with near ids."""
    try:
        return catalog[store_id]
    except KeyError:
        raise StoreNotFound.among("store", store_id, catalog, where="this service") from None


def _manifest_bytes(store_id: str, reader: ZarrChunkReader) -> bytes:
    # As stored, byte for byte, because their hash is the revision; a manifest made in memory has no others.
    for data in (stores.read_bytes(reader.location, StoreManifest.MANIFEST_NAME), reader.manifest.to_json()):
        if data is not None and hashlib.sha256(data).hexdigest() == reader.manifest.revision:
            return data
    raise RevisionChanged(f"the manifest of store {store_id!r} was rewritten while it was opened; start again.")


def _summarise(store_id: str, manifest: drawpoint.format.manifest.StoreManifest) -> StoreSummary:
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
        array.field: FieldSummary(domain=name, dim=array.dim, dtype=array.dtype)
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
