"""Verification of a store: every chunk is read, checksums and digests are computed again."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from drawpoint.errors import DataDamaged, DrawpointError, StoreUnreadable
from drawpoint_store.reading.blocks import BLOCK_POINTS, map_in_order, plan_blocks, read_block, sample_bar
from drawpoint_store.reading.digests import (
    SampleDigest,
    array_digest,
    has_table,
    is_known_digest,
    values_digest,
    without_table,
)
from drawpoint_store.reading.open_sample import REMEDY
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.storage.bounds import METADATA_BYTES_A_VALUE, check_density
from drawpoint_store.storage.locations import join
from drawpoint_store.writing.field_arrays import NonFinite

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    import numpy as np

    from drawpoint.format.manifest import StoreManifest
    from drawpoint_store.storage import Storage

METADATA_NAME = "zarr.json"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem, in a sentence; `field` and `chunk` are None where it concerns more than one."""

    sample: str
    field: str | None
    chunk: int | None
    message: str


@dataclass(frozen=True, slots=True)
class SampleCheck:
    """The result of one sample of `n_chunks` chunks.

    Without checksums or a digest (stores of other writers) not all damage can be found. `n_absent` shards have no
    object and are read as the fill value: other writers leave such shards out, so that a lost one is not noticed.
    Without tables of checksums a read does not notice a chunk in the place of another.
    """

    sample_id: str
    n_chunks: int
    has_checksums: bool
    has_digest: bool
    has_tables: bool
    n_absent: int
    problems: tuple[Problem, ...]


class _ArrayCheck(NamedTuple):
    """The result of one array: the digest of its rows, what cannot be read, and values that are not finite."""

    digest: str
    errors: list[DrawpointError]
    not_finite: NonFinite


def verify_store(
    store_root: str | os.PathLike[str], *, max_workers: int = 1, progress: bool = False
) -> Iterator[SampleCheck]:
    """Check each sample of the store, in the order of the ids, and go on after a damaged one.

    `max_workers` threads each check an array; memory stays bounded. `progress` shows a bar on a terminal. Raises
    StoreNotFound, InvalidManifest, and ValueError for `max_workers` below 1.
    """
    store = ZarrChunkReader(store_root)
    ids = sorted(store.manifest.samples)
    arrays = ((sample_id, field) for sample_id in ids for field in _fields(store.manifest, sample_id))
    checked = map_in_order(lambda array: _check_array(store, *array), arrays, max_workers)
    for sample_id in sample_bar(ids, progress=progress):
        yield _check_sample(store, sample_id, {field: next(checked) for field in _fields(store.manifest, sample_id)})


def _fields(manifest: StoreManifest, sample_id: str) -> dict[str, str]:
    """Return the domain of each field that the sample has, in the order of the layout."""
    held = manifest.samples[sample_id].domains
    return {field: domain for domain in manifest.domains if domain in held for field in manifest.domains[domain].arrays}


def _check_array(store: ZarrChunkReader, sample_id: str, field: str) -> _ArrayCheck:
    """Read all of an array that can be read, chunk by chunk where some of it is damaged."""
    found = _read_array(store, sample_id, field, BLOCK_POINTS)
    is_damaged = any(isinstance(error, DataDamaged) for error in found.errors)
    return _read_array(store, sample_id, field, 1) if is_damaged else found


def _read_array(store: ZarrChunkReader, sample_id: str, field: str, block_points: int) -> _ArrayCheck:
    errors: list[DrawpointError] = []
    not_finite = NonFinite()

    def readable() -> Iterator[np.ndarray[Any, Any]]:
        nonlocal not_finite
        first = 0
        for block in plan_blocks(store.manifest, sample_id, [field], block_points=block_points):
            try:
                rows = read_block(store, block)[field]
            except DrawpointError as error:
                errors.append(error)
            else:
                not_finite = not_finite.followed_by(NonFinite.among(rows), first)
                yield rows
            first += block.arrays[field].draw.num_rows

    digest = array_digest(store.manifest.fields[field], readable())
    return _ArrayCheck(digest, errors, not_finite)


def _check_sample(store: ZarrChunkReader, sample_id: str, arrays: Mapping[str, _ArrayCheck]) -> SampleCheck:
    entry, fields = store.manifest.samples[sample_id], _fields(store.manifest, sample_id)
    nodes, stored, problems = _check_metadata(store, sample_id)
    for field, array in arrays.items():
        for error in array.errors:
            of_group = error.field is None and isinstance(error, DataDamaged)  # which all fields need
            problems.append(Problem(sample_id, None if of_group else field, error.chunk, damage_reason(error)))
    if not problems:
        problems += _check_digests(store, sample_id, stored, arrays)
    for field, array in arrays.items():
        if array.not_finite.first_row is not None:
            message = f"{field} in sample {sample_id!r} holds {array.not_finite} in stored order"
            problems.append(Problem(sample_id, field, None, message))
    described = [nodes.get(store.manifest.fields[field].array_name) for field in fields]
    return SampleCheck(
        sample_id,
        sum(entry.domains[domain].n_chunks for domain in fields.values()),
        all(has_table(node) or _has_checksum(node) for node in described),
        is_known_digest(entry.digest),
        all(has_table(node) for node in described),
        0 if entry.digest or stored else _count_absent(store, sample_id),
        tuple(dict.fromkeys(problems)),
    )


def _check_metadata(
    store: ZarrChunkReader, sample_id: str
) -> tuple[dict[str, Any], SampleDigest | None, list[Problem]]:
    """Return the metadata of a group's arrays by name, the group's digest, and problems.

    Those are the nodes whose own `zarr.json` is gone or differs from the copy in the group's. Our reads use the copies,
    but other programs may not.
    """
    relpath = store.manifest.samples[sample_id].relpath
    root = _load(store, relpath) or {}
    copies = consolidated_nodes(root)
    arrays = {store.manifest.fields[field].array_name: field for field in _fields(store.manifest, sample_id)}
    nodes, problems = {}, []
    for name in dict.fromkeys([*arrays, *copies]):
        own = _load(store, relpath, name)
        nodes[name] = copies.get(name, own)
        if name in copies and (own is None or not _same_metadata(own, copies[name])):
            reason = "is missing or damaged" if own is None else "disagrees with its copy in the group's"
            message = f"the {METADATA_NAME} of {name} in sample {sample_id!r} {reason}"
            problems.append(Problem(sample_id, arrays.get(name), None, message))
    stored = None
    with contextlib.suppress(ValueError):  # every read of the sample reports it
        stored = SampleDigest.from_attributes(root.get("attributes"))
    return nodes, stored, problems


def _check_digests(
    store: ZarrChunkReader, sample_id: str, stored: SampleDigest | None, arrays: Mapping[str, _ArrayCheck]
) -> Iterator[Problem]:
    """Yield the problems of values that could all be read but differ from their digest."""
    digest = store.manifest.samples[sample_id].digest
    if stored is not None:
        for field, array in arrays.items():
            own = stored.arrays.get(store.manifest.fields[field].array_name)
            if own is not None and own.values != array.digest:
                yield Problem(sample_id, field, None, values_replaced(f"{field} in sample {sample_id!r}"))
    elif is_known_digest(digest) and digest != values_digest(array.digest for array in arrays.values()):
        yield Problem(sample_id, None, None, values_replaced(f"sample {sample_id!r}"))


def _count_absent(store: ZarrChunkReader, sample_id: str) -> int:
    """Return how many shards of a sample's arrays have no object."""
    import zarr  # noqa: PLC0415  zarr takes 0.4 s to import

    entry, absent = store.manifest.samples[sample_id], 0
    for field, domain in _fields(store.manifest, sample_id).items():
        layout = store.manifest.fields[field]
        # zarr-python would open damaged metadata and count to any shape. Reads of the array report the damage.
        if _load(store, entry.relpath, layout.array_name) is None:
            continue
        with contextlib.suppress(Exception):  # zarr-python's errors have no common base
            array = zarr.open_array(store.group(entry.relpath), path=layout.array_name, mode="r", zarr_format=3)
            if array.shape == (entry.domains[domain].n_points, layout.dim):
                outer = array.shards or array.chunks
                shards = math.prod(-(-size // length) for size, length in zip(array.shape, outer, strict=True))
                chunks_a_shard = math.prod(outer) // math.prod(array.chunks)
                absent += shards - array.nchunks_initialized // chunks_a_shard
    return absent


def _load(store: ZarrChunkReader, relpath: str, name: str = "") -> dict[str, Any] | None:
    try:
        return load_node(store.storage, relpath, name)
    except StoreUnreadable:  # reported by the reads of the arrays
        return None


def _same_metadata(own: dict[str, Any], copy: Any) -> bool:
    # The copy of a group may or may not list the nodes below it, and an upgrade that was interrupted has written its
    # table to an array and not yet to the copy.
    if not isinstance(copy, dict):
        return False
    plain = [{key: node[key] for key in node if key != "consolidated_metadata"} for node in (own, copy)]
    if not all(has_table(node) for node in plain):
        plain = [without_table(node) for node in plain]
    return plain[0] == plain[1]


def _has_checksum(node: Any) -> bool:
    """Tell whether an array's chunks have a checksum; that of a shard's index is none."""
    codecs: Any = node.get("codecs") if isinstance(node, dict) else None
    with contextlib.suppress(KeyError, IndexError, TypeError):
        codecs = codecs[0]["configuration"]["codecs"]
    return "crc32c" in json.dumps(codecs)


def load_node(storage: Storage, group: str, name: str = "") -> dict[str, Any] | None:
    """Return the metadata of the group at path `group`, or of its node `name`; None where it is missing or damaged.

    Raises StoreUnreadable: an outage says nothing of what is there.
    """
    try:
        data = storage.read(f"{join(group, name)}/{METADATA_NAME}")
        check_density(data or b"", METADATA_BYTES_A_VALUE)
        found = None if data is None else json.loads(data)
    except (DataDamaged, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def consolidated_nodes(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the copies of its nodes' metadata that a group's metadata holds, by name."""
    consolidated = group.get("consolidated_metadata")
    nodes = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    return nodes if isinstance(nodes, dict) else {}


def damage_reason(error: DrawpointError) -> str:
    """Return the sentence of an error that reports damage, without the remedy."""
    return str(error).removesuffix(".").removesuffix(f"; {REMEDY}")


def values_replaced(what: str) -> str:
    """Return the sentence on values that were replaced by others with valid checksums."""
    return f"the values of {what} are not those that were written: its digest (sha256) differs"
