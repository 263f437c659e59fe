"""Binding a store's bytes to their places where they lie: tables of checksums and digests for what was written without.

Nothing but metadata is written. A sample's arrays get their tables first and its group the digest last, each file in
one step, so that a reader finds it unbound or bound, and both can be read. The manifest comes after all groups: readers
that hold the old one know of no digest that a group could lack.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import BaseModel, Field

from drawpoint.errors import DataDamaged, MetadataDamaged, RevisionChanged, StoreNotFound
from drawpoint_store.inspecting.blocks import BLOCK_POINTS, map_in_order, plan_blocks, read_block
from drawpoint_store.reading.digests import (
    ABSENT_CHUNK_CRC,
    ArrayDigests,
    SampleDigest,
    array_digest,
    is_known_digest,
    table_attributes,
    table_digest,
    values_digest,
)
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.reading.plan import plan_sample
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.reading.sample import REMEDY
from drawpoint_store.reading.statistics import STATISTICS_NAME, read_statistics
from drawpoint_store.storage import objects as stores
from drawpoint_store.storage.documents import METADATA_BYTES_A_VALUE, check_density
from drawpoint_store.storage.sources import Span, fetch_for
from drawpoint_store.writing.group import to_json
from drawpoint_store.writing.lock import lock_store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from drawpoint_store.reading.arrays import ShardedArray
    from drawpoint_store.reading.plan import ReadPlan
    from drawpoint_store.reading.sample import OpenSample

_METADATA = "zarr.json"


class UpgradeReport(BaseModel):
    """What an upgrade did: samples that it bound, that were bound before, and that are damaged, with the reason."""

    upgraded: list[str] = Field(default_factory=list)
    unchanged: list[str] = Field(default_factory=list)
    damaged: dict[str, str] = Field(default_factory=dict)
    revision: str


class _Measured(NamedTuple):
    """What was found of one array: the digest of its values, its chunks' checksums, and what is wrong with it."""

    values: str = ""
    table: bytes | None = None
    damage: str = ""


def upgrade_store(store_root: str | os.PathLike[str], *, max_workers: int = 1, progress: bool = False) -> UpgradeReport:
    """Give each sample of the store the tables and the digest that a sample is written with, and publish the digests.

    Every chunk is read and checked; a damaged sample stays as it is and keeps no other from being upgraded. Samples
    that are bound already are left alone, so that the same call goes on after an interruption. Statistics of the
    revision that it replaces become those of the new one: the values are the same. `max_workers` threads each read an
    array; `progress` shows a bar on a terminal.

    Raises StoreNotFound, InvalidManifest, StoreExists while a conversion writes to the store, RevisionChanged if
    somebody published meanwhile, StoreUnreadable where the storage does not answer or take what is written, and
    ValueError for `max_workers` below 1.
    """
    from tqdm import tqdm  # noqa: PLC0415  only where a bar may be shown

    if max_workers < 1:
        raise ValueError(f"max_workers must be at least 1, not {max_workers}.")
    root = str(store_root)
    StoreManifest.load(root)  # before a lock is put where there is no store
    with lock_store(root):
        stamp = stores.read_stamp(root, StoreManifest.MANIFEST_NAME)  # before it is read
        published = _read_manifest(root)
        store = ZarrChunkReader(
            root, StoreManifest.from_json(published, origin=stores.join(root, StoreManifest.MANIFEST_NAME))
        )
        report = UpgradeReport(revision=store.manifest.revision)
        digests: dict[str, str] = {}
        unbound = []
        ids = sorted(store.manifest.samples)
        looked_up = map_in_order(lambda sample_id: _find_digest(store, sample_id), ids, max_workers)
        disable = None if progress else True  # None: no bar where stderr is no terminal
        for sample_id, bound in zip(
            ids, tqdm(looked_up, "looked up", len(ids), unit="sample", disable=disable), strict=True
        ):
            if bound is None:
                unbound.append(sample_id)
            elif isinstance(bound, SampleDigest):
                digests[sample_id] = bound.digest
                report.unchanged.append(sample_id)
            else:
                report.damaged[sample_id] = _reason(bound)
        arrays = ((sample_id, field) for sample_id in unbound for field in _plan(store, sample_id).arrays)
        measured = map_in_order(lambda array: _measure(store, *array), arrays, max_workers)
        for sample_id in tqdm(unbound, "upgraded", unit="sample", disable=disable):
            found = {field: next(measured) for field in _plan(store, sample_id).arrays}
            damage = _find_damage(store, sample_id, found)
            if damage:
                report.damaged[sample_id] = damage
            else:
                digests[sample_id] = _bind(store, sample_id, found)
                report.upgraded.append(sample_id)
        report.revision = _publish(root, published, stamp, digests)
    return report


def _plan(store: ZarrChunkReader, sample_id: str) -> ReadPlan:
    return plan_sample(store.manifest, sample_id, None, seed=0)


def _find_digest(store: ZarrChunkReader, sample_id: str) -> SampleDigest | DataDamaged | None:
    """Return what binds the sample already, None if it does not bind all arrays, or why that cannot be told."""
    plan = _plan(store, sample_id)
    try:
        stored = store.open_sample(plan).stored_digest
    except DataDamaged as error:
        return error
    names = {draw.layout.array_name for draw in plan.arrays.values()}
    return stored if stored is not None and names <= stored.arrays.keys() else None


def _measure(store: ZarrChunkReader, sample_id: str, field: str) -> _Measured:
    """Read all of an array."""
    plan = plan_sample(store.manifest, sample_id, None, seed=0, fields=[field])
    layout = plan.arrays[field].layout
    try:
        sample = store.open_sample(plan)
        array = sample.array(plan.arrays[field])
        if array is None:
            blocks = plan_blocks(store.manifest, sample_id, [field])
            return _Measured(array_digest(layout, (read_block(store, block)[field] for block in blocks)))
        table = bytearray()
        values = array_digest(layout, _read_chunks(sample, array, plan.arrays[field].draw.grid.n_points, field, table))
        return _Measured(values, bytes(table))
    except DataDamaged as error:
        return _Measured(damage=_reason(error))


def _read_chunks(
    sample: OpenSample, array: ShardedArray, n_points: int, field: str, table: bytearray
) -> Iterator[np.ndarray[Any, Any]]:
    """Yield an array's rows chunk by chunk in stored order, and append the checksum of each chunk to `table`."""
    n_shards = -(-array.n_chunks // array.chunks_per_shard)
    fetch_for(sample.read_indexes([(array, field, range(n_shards))]), sample.source)
    step = max(1, BLOCK_POINTS // array.chunk_points)
    for first in range(0, array.n_chunks, step):
        places = sample.places(array, field, range(first, min(first + step, array.n_chunks)))
        stored = [place for place in places if place.nbytes]
        try:
            fetched = iter(sample.source.fetch([Span(place.key, place.offset, place.nbytes) for place in stored]))
            for place in places:
                if place.nbytes:
                    encoded = next(fetched)
                    rows = sample.rows(array, field, place, encoded)
                    table += array.decoder.checksum(encoded)
                else:
                    rows = np.full((array.chunk_points, array.dim), array.fill_value, array.dtype)
                    table += ABSENT_CHUNK_CRC
                yield rows[: n_points - place.chunk * array.chunk_points]
        except FileNotFoundError as error:
            lost = next(place for place in stored if place.key == str(error))
            raise sample.shard_missing(array, field, lost) from error


def _find_damage(store: ZarrChunkReader, sample_id: str, found: dict[str, _Measured]) -> str:
    """Return what is wrong with a sample, an empty text if nothing is."""
    damage = dict.fromkeys(each.damage for each in found.values() if each.damage)
    digest = store.manifest.samples[sample_id].digest
    if not damage and is_known_digest(digest) and digest != values_digest(each.values for each in found.values()):
        return f"the values of sample {sample_id!r} are not those that were written: its digest (sha256) differs"
    return "; ".join(damage)


def _bind(store: ZarrChunkReader, sample_id: str, found: dict[str, _Measured]) -> str:
    """Write tables and digest into the metadata of a sample, and return the digest."""
    names = {field: store.manifest.fields[field].array_name for field in found}
    path = stores.join(store.store_root, store.manifest.samples[sample_id].relpath)
    group = _load(path, _METADATA)
    copies = (group.get("consolidated_metadata") or {}).get("metadata") or {}
    for field, name in names.items():
        table = found[field].table
        if table is not None:
            own = _load(path, f"{name}/{_METADATA}") or copies[name]
            for node in (own, copies.get(name, {})):
                node["attributes"] = {**_attributes(node), **table_attributes(table)}
            stores.write_bytes(path, f"{name}/{_METADATA}", to_json(own))
    stored = SampleDigest.of(
        {names[field]: ArrayDigests(each.values, table_digest(each.table)) for field, each in found.items()}
    )
    group["attributes"] = {**_attributes(group), **stored.to_attributes()}
    stores.write_bytes(path, _METADATA, to_json(group))
    return stored.digest


def _publish(root: str, published: bytes, stamp: str | None, digests: dict[str, str]) -> str:
    """Put digests that are not there into the manifest that was `published` at `stamp`, and return its revision."""
    document = json.loads(published)  # and no model of it: what other programs keep there stays
    before, entries = StoreManifest.from_json(published).revision, document["samples"]
    if all(entries[sample_id].get("digest") == digest for sample_id, digest in digests.items()):
        return before
    for sample_id, digest in digests.items():
        entries[sample_id]["digest"] = digest
    data = _dump(document)
    revision = StoreManifest.from_json(data).revision
    changed = RevisionChanged(
        f"somebody else published to {root} meanwhile; run the same command again to go on.", store=root
    )
    if _read_manifest(root) != published:
        raise changed
    # The statistics first: a command that is repeated after a kill in between finds the manifest as it was.
    with contextlib.suppress(MetadataDamaged):
        statistics = read_statistics(root)
        if statistics is not None and statistics["revision"] == before:
            stores.write_bytes(root, STATISTICS_NAME, _dump({**statistics, "revision": revision}))
    if not stores.replace_bytes(root, StoreManifest.MANIFEST_NAME, data, stamp):
        raise changed
    return revision


def _read_manifest(root: str) -> bytes:
    data = stores.read_json(root, StoreManifest.MANIFEST_NAME)
    if data is None:
        raise StoreNotFound(f"the manifest of the store at {root} is gone.", store=root)
    return data


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def _load(path: str, name: str) -> dict[str, Any]:
    """Return a node's metadata, nothing where it is missing or damaged: the group's copy of it takes its place."""
    try:
        data = stores.read_bytes(path, name) or b"{}"
        check_density(data, METADATA_BYTES_A_VALUE)
        found = json.loads(data)
    except (DataDamaged, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _attributes(node: dict[str, Any]) -> dict[str, Any]:
    held = node.get("attributes")
    return held if isinstance(held, dict) else {}


def _reason(error: DataDamaged) -> str:
    return str(error).removesuffix(".").removesuffix(f"; {REMEDY}")
