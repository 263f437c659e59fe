"""Verification of a store: every chunk is read, checksums and digests are computed again."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from drawpoint.errors import DataDamaged, DrawpointError, StoreUnreadable
from drawpoint_store.inspecting.blocks import map_in_order, plan_blocks, read_block, sample_bar, single_chunks
from drawpoint_store.inspecting.group_metadata import METADATA_NAME, consolidated_nodes, damage_reason, load_node
from drawpoint_store.reading.digests import (
    SampleDigest,
    array_digest,
    has_table,
    is_known_digest,
    values_digest,
    without_table,
)
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.writing.field_arrays import NonFinite

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    import numpy as np

    from drawpoint.format.manifest import SampleEntry, StoreManifest
    from drawpoint_store.reading.plan import ReadPlan


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
    damage: list[Problem]
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
    digests = map_in_order(lambda array: _check_array(store, *array), arrays, max_workers)
    for sample_id in sample_bar(ids, progress=progress):
        yield _check_sample(store, sample_id, digests)


def _fields(manifest: StoreManifest, sample_id: str) -> dict[str, str]:
    """Return the domain of each field that the sample has, in the order of the layout."""
    held = manifest.samples[sample_id].domains
    return {field: domain for domain in manifest.domains if domain in held for field in manifest.domains[domain].arrays}


def _check_sample(store: ZarrChunkReader, sample_id: str, arrays: Iterator[_ArrayCheck]) -> SampleCheck:
    """Return the result of a sample, taking as many of `arrays` as it has fields."""
    manifest, entry = store.manifest, store.manifest.samples[sample_id]
    group, problems = _check_metadata(store, sample_id)
    fields, checked = _fields(manifest, sample_id), {}
    for field in fields:
        checked[field] = next(arrays)
        problems += checked[field].damage
    if not problems:
        problems += _check_digests(store, sample_id, group.digest, checked)
    for field, array in checked.items():
        if array.not_finite.first_row is not None:
            message = f"{field} in sample {sample_id!r} holds {array.not_finite} in stored order"
            problems.append(Problem(sample_id, field, None, message))
    names = [manifest.fields[field].array_name for field in fields]
    return SampleCheck(
        sample_id,
        sum(entry.domains[domain].n_chunks for domain in fields.values()),
        all(_has_checksum(group.nodes.get(name)) or has_table(group.nodes.get(name)) for name in names),
        is_known_digest(entry.digest),
        all(has_table(group.nodes.get(name)) for name in names),
        0 if entry.digest or group.digest else _count_absent(store, entry, fields),
        tuple(dict.fromkeys(problems)),
    )


def _check_digests(
    store: ZarrChunkReader, sample_id: str, stored: SampleDigest | None, checked: Mapping[str, _ArrayCheck]
) -> Iterator[Problem]:
    """Yield the problems of values that could all be read but differ from their digest."""
    digest = store.manifest.samples[sample_id].digest
    if stored is not None:
        for field, array in checked.items():
            own = stored.arrays.get(store.manifest.fields[field].array_name)
            if own is not None and own.values != array.digest:
                yield Problem(sample_id, field, None, values_replaced(f"{field} in sample {sample_id!r}"))
    elif is_known_digest(digest) and digest != values_digest(array.digest for array in checked.values()):
        yield Problem(sample_id, None, None, values_replaced(f"sample {sample_id!r}"))


def _count_absent(store: ZarrChunkReader, entry: SampleEntry, fields: Mapping[str, str]) -> int:
    """Return how many shards of a group's arrays have no object; `fields` are theirs, with their domains."""
    import zarr  # noqa: PLC0415  zarr takes 0.4 s to import

    absent, group = 0, store.group(entry.relpath)
    for field, domain in fields.items():
        layout = store.manifest.fields[field]
        # zarr-python would open damaged metadata and count to any shape. Reads of the array report the damage.
        if _load(store, entry.relpath, layout.array_name) is None:
            continue
        try:
            array = zarr.open_array(group, path=layout.array_name, mode="r", zarr_format=3)
        except Exception:  # noqa: BLE001, S112  zarr-python's errors have no common base
            continue
        if array.shape != (entry.domains[domain].n_points, layout.dim):
            continue
        outer = array.shards or array.chunks
        shards = math.prod(-(-size // length) for size, length in zip(array.shape, outer, strict=True))
        chunks_a_shard = math.prod(outer) // math.prod(array.chunks)
        absent += shards - array.nchunks_initialized // chunks_a_shard
    return absent


def _check_array(store: ZarrChunkReader, sample_id: str, field: str) -> _ArrayCheck:
    """Read all of an array that can be read."""
    damage: list[Problem] = []
    not_finite = NonFinite()

    def readable() -> Iterator[np.ndarray[Any, Any]]:
        nonlocal not_finite
        first = 0
        for block in plan_blocks(store.manifest, sample_id, [field]):
            rows, found = _read(store, block, field)
            damage.extend(found)
            if rows is not None:
                not_finite = not_finite.followed_by(NonFinite.among(rows), first)
                yield rows
            first += sum(draw.num_rows for draw in block.draws.values())

    digest = array_digest(store.manifest.fields[field], readable())
    return _ArrayCheck(digest, damage, not_finite)


def _read(store: ZarrChunkReader, block: ReadPlan, field: str) -> tuple[np.ndarray[Any, Any] | None, list[Problem]]:
    """Return the rows of a block of one field, or None and the problems of its chunks."""
    try:
        return read_block(store, block)[field], []
    except DataDamaged:
        pass
    except DrawpointError as error:
        return None, [_problem(block, field, error)]
    problems = []
    for chunk in single_chunks(block):
        try:
            read_block(store, chunk)
        except DrawpointError as error:
            problems.append(_problem(block, field, error))
    return None, problems


def _problem(block: ReadPlan, field: str, error: DrawpointError) -> Problem:
    whole = error.field is None and isinstance(error, DataDamaged)  # of the group, which all fields need
    return Problem(block.sample_id, None if whole else field, error.chunk, damage_reason(error))


class _Group(NamedTuple):
    """The metadata of a group's arrays by name, and the digest in its attributes."""

    nodes: dict[str, Any]
    digest: SampleDigest | None


def _check_metadata(store: ZarrChunkReader, sample_id: str) -> tuple[_Group, list[Problem]]:
    """Return a group's metadata, and the nodes whose own `zarr.json` is gone or differs from the group's copy.

    Our reads use the copies in the group's `zarr.json`, but other programs may not.
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
    try:
        stored = SampleDigest.from_attributes(root.get("attributes"))
    except ValueError:  # every read of the sample reports it
        stored = None
    return _Group(nodes, stored), problems


def _load(store: ZarrChunkReader, relpath: str, name: str = "") -> dict[str, Any] | None:
    try:
        return load_node(store.storage, relpath, name)
    except StoreUnreadable:  # reported by the reads of the arrays
        return None


def _same_metadata(own: Any, copy: Any) -> bool:
    # The copy of a group may or may not list the nodes below it, and an upgrade that was interrupted has written its
    # table to an array and not yet to the copy.
    if not isinstance(own, dict) or not isinstance(copy, dict):
        return False
    plain = [{key: node[key] for key in node if key != "consolidated_metadata"} for node in (own, copy)]
    if not all(has_table(node) for node in plain):
        plain = [without_table(node) for node in plain]
    return plain[0] == plain[1]


def _has_checksum(node: Any) -> bool:
    return "crc32c" in json.dumps(_inner_codecs(node))


def _inner_codecs(node: Any) -> Any:
    try:
        return node["codecs"][0]["configuration"]["codecs"]
    except (KeyError, IndexError, TypeError):
        return node["codecs"] if isinstance(node, dict) and "codecs" in node else []


def values_replaced(what: str) -> str:
    """Return the sentence on values that were replaced by others with valid checksums."""
    return f"the values of {what} are not those that were written: its digest (sha256) differs"
