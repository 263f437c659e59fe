"""Upgrade of a store: tables of checksums and digests, written in place, for samples that lack them.

Only metadata is written. A sample's arrays get their tables first and its group the digest last, each file in one step:
a reader finds the sample with or without a digest, and can read both. The manifest comes after all groups, so that
readers of the old one expect no digest that a group lacks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from drawpoint.draw.order import common_rule
from drawpoint.errors import DataDamaged
from drawpoint_store.inspecting.verify import (
    METADATA_NAME,
    consolidated_nodes,
    damage_reason,
    load_node,
    values_replaced,
)
from drawpoint_store.maintenance.publication import Publication, begin_publication
from drawpoint_store.reading.blocks import BLOCK_POINTS, map_in_order, plan_blocks, read_block, sample_bar
from drawpoint_store.reading.digests import (
    ABSENT_CHUNK_CRC,
    CRC_BYTES,
    ArrayDigests,
    SampleDigest,
    array_digest,
    is_known_digest,
    table_attributes,
    table_digest,
    values_digest,
)
from drawpoint_store.reading.plan import plan_sample
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.storage.byte_sources import Span, run_sync
from drawpoint_store.writing.group import to_json

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from drawpoint_store.reading.arrays import ShardedArray
    from drawpoint_store.reading.open_sample import OpenSample
    from drawpoint_store.reading.plan import ArrayDraw


@dataclass
class UpgradeReport:
    """The samples that an upgrade changed, those that had their checksums before, and damaged ones with the reason."""

    revision: str
    upgraded: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)


class _Scan(NamedTuple):
    """The digest of an array's values, and the checksums of its chunks, None where it can have no table."""

    values: str
    table: bytes | None


def upgrade_store(store_root: str | os.PathLike[str], *, max_workers: int = 1, progress: bool = False) -> UpgradeReport:
    """Write tables of checksums and a digest for each sample that lacks them, and publish the digests.

    Every chunk is read and checked; a damaged sample stays as it is, and the others are upgraded. Samples that have
    their digests are left alone, so that the same call goes on after an interruption. Statistics of the replaced
    revision become those of the new one: the values are the same. `max_workers` threads each read a sample;
    `progress` shows a bar on a terminal.

    Raises StoreNotFound, InvalidManifest, StoreExists while a conversion writes to the store, RevisionChanged if
    another process published meanwhile, StoreUnreadable where the storage does not answer or refuses a write, and
    ValueError for `max_workers` below 1.
    """
    with begin_publication(store_root) as publication:
        store = ZarrChunkReader(publication.storage, publication.manifest)
        report = UpgradeReport(store.manifest.revision)
        digests: dict[str, str] = {}
        ids = sorted(store.manifest.samples)
        scans = map_in_order(lambda sample_id: _scan_sample(store, sample_id), ids, max_workers)
        for sample_id in sample_bar(ids, progress=progress):
            found = next(scans)
            if isinstance(found, str):
                report.damaged[sample_id] = found
            elif isinstance(found, SampleDigest):
                digests[sample_id] = found.digest
                report.unchanged.append(sample_id)
            else:
                digests[sample_id] = _write_digests(store, sample_id, found)
                report.upgraded.append(sample_id)
        report.revision = _publish(publication, digests)
    return report


def _scan_sample(store: ZarrChunkReader, sample_id: str) -> SampleDigest | dict[str, _Scan] | str:
    """Return the digest that binds all arrays of the sample, or else what its fields hold, or its damage in a sentence.

    All of the sample is read, unless it has its digest.
    """
    plan = plan_sample(store.manifest, sample_id, None, seed=0)
    try:
        sample = store.open_sample(plan)
    except DataDamaged as error:
        return damage_reason(error)
    stored = sample.stored_digest
    if stored is not None and {array.layout.array_name for array in plan.arrays.values()} <= stored.arrays.keys():
        return stored
    scans, damage = {}, []
    for name, draw in plan.arrays.items():
        try:
            scans[name] = _scan_array(store, sample, draw)
        except DataDamaged as error:
            damage.append(damage_reason(error))
    digest = store.manifest.samples[sample_id].digest
    if not damage and is_known_digest(digest) and digest != values_digest(scan.values for scan in scans.values()):
        damage.append(values_replaced(f"sample {sample_id!r}"))
    return "; ".join(dict.fromkeys(damage)) or scans


def _scan_array(store: ZarrChunkReader, sample: OpenSample, draw: ArrayDraw) -> _Scan:
    """Read all of an array."""
    array, name = sample.array(draw), draw.layout.field
    if array is None:
        blocks = plan_blocks(store.manifest, sample.sample_id, [name])
        return _Scan(array_digest(draw.layout, (read_block(store, block)[name] for block in blocks)), None)
    table = bytearray()
    values = array_digest(draw.layout, _read_chunks(sample, array, draw.draw.grid.n_points, name, table))
    return _Scan(values, bytes(table))


def _read_chunks(
    sample: OpenSample, array: ShardedArray, n_points: int, field: str, table: bytearray
) -> Iterator[np.ndarray[Any, Any]]:
    """Yield an array's rows chunk by chunk in stored order, and append the checksum of each chunk to `table`."""
    n_shards = -(-array.n_chunks // array.chunks_per_shard)
    run_sync(sample.read_indexes([(array, field, shard) for shard in range(n_shards)]), sample.source)
    step = max(1, BLOCK_POINTS // array.chunk_points)
    for first in range(0, array.n_chunks, step):
        places = [sample.place(array, field, chunk) for chunk in range(first, min(first + step, array.n_chunks))]
        stored = [place for place in places if place.nbytes]
        try:
            fetched = iter(sample.source.fetch([Span(place.key, place.offset, place.nbytes) for place in stored]))
            for place in places:
                if place.nbytes:
                    encoded = next(fetched)
                    rows = sample.rows(array, field, place, encoded)
                    checksum = array.decoder.checksum(encoded)
                else:
                    rows = np.full((array.chunk_points, array.dim), array.fill_value, array.dtype)
                    checksum = ABSENT_CHUNK_CRC
                table += checksum.to_bytes(CRC_BYTES, "little")
                yield rows[: n_points - place.chunk * array.chunk_points]
        except FileNotFoundError as error:
            lost = next(place for place in stored if place.key == str(error))
            raise sample.missing(array, field, lost.chunk) from error


def _write_digests(store: ZarrChunkReader, sample_id: str, found: dict[str, _Scan]) -> str:
    """Write tables and digest into the metadata of a sample, and return the digest."""
    scans = {store.manifest.fields[name].array_name: scan for name, scan in found.items()}
    storage, relpath = store.storage, store.manifest.samples[sample_id].relpath
    group = load_node(storage, relpath) or {}
    copies = consolidated_nodes(group)
    for name, scan in scans.items():
        if scan.table is not None:
            own = load_node(storage, relpath, name) or copies[name]
            for node in (own, copies.get(name, {})):
                node["attributes"] = {**_attributes(node), **table_attributes(scan.table)}
            storage.write(f"{relpath}/{name}/{METADATA_NAME}", to_json(own))
    stored = SampleDigest.of(
        {name: ArrayDigests(scan.values, table_digest(scan.table)) for name, scan in scans.items()}
    )
    group["attributes"] = {**_attributes(group), **stored.to_attributes()}
    storage.write(f"{relpath}/{METADATA_NAME}", to_json(group))
    return stored.digest


def _publish(publication: Publication, digests: dict[str, str]) -> str:
    """Put digests that are not there into the manifest, and return its revision."""
    manifest, document = publication.manifest, publication.read_document()
    entries = document["samples"]
    if all(entries[sample_id].get("digest") == digest for sample_id, digest in digests.items()):
        return manifest.revision
    rule = common_rule(manifest)
    if rule != manifest.shuffle:  # the digests of version 0.1, which are replaced, have told it so far
        items = [*document.items()]
        behind = [*document].index("shuffle_seed") + 1  # where the writer puts it
        document = dict([*items[:behind], ("shuffle", rule), *items[behind:]])
    for sample_id, digest in digests.items():
        entries[sample_id]["digest"] = digest
    return publication.publish(document)


def _attributes(node: dict[str, Any]) -> dict[str, Any]:
    held = node.get("attributes")
    return held if isinstance(held, dict) else {}
