"""Is all of a store there and as it was written? Every chunk read, checksums and digests computed anew."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from drawpoint.errors import DataDamaged, DrawpointError
from drawpoint_store.inspecting.blocks import map_in_order, plan_blocks, read_block, single_chunks
from drawpoint_store.reading.digests import (
    SampleDigest,
    array_digest,
    has_table,
    is_known_digest,
    values_digest,
    without_table,
)
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.reading.sample import REMEDY
from drawpoint_store.storage import objects as stores
from drawpoint_store.storage.documents import METADATA_BYTES_A_VALUE, check_density
from drawpoint_store.writing.field_arrays import NonFinite

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    import numpy as np

    import drawpoint.format.manifest
    from drawpoint.format.manifest import SampleEntry
    from drawpoint_store.reading.plan import ReadPlan

_METADATA = "zarr.json"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in a sentence; `field` and `chunk` are None where it is about more than one."""

    sample: str
    field: str | None
    chunk: int | None
    message: str


@dataclass(frozen=True, slots=True)
class SampleCheck:
    """What was found of one sample of `n_chunks` chunks.

    Without checksums or a digest (stores of other writers) wrong values can pass for right ones, and not all damage
    can be found. `n_absent` shards have no object: they are read as the fill value, which other writers leave out, and
    if they were lost nothing tells. Without tables a read does not notice a chunk in another's place.
    """

    sample_id: str
    n_chunks: int
    has_checksums: bool
    has_digest: bool
    has_tables: bool
    n_absent: int
    problems: tuple[Problem, ...]


class _ArrayCheck(NamedTuple):
    """What was found of one array: the digest of its rows, what cannot be read, and what no draw should hold."""

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
    from tqdm import tqdm  # noqa: PLC0415  only where a bar may be shown

    if max_workers < 1:
        raise ValueError(f"max_workers must be at least 1, not {max_workers}.")
    store = ZarrChunkReader(store_root)
    ids = sorted(store.manifest.samples)
    arrays = ((sample_id, field) for sample_id in ids for field in _fields(store.manifest, sample_id))
    digests = map_in_order(lambda array: _check_array(store, *array), arrays, max_workers)
    for sample_id in tqdm(ids, unit="sample", disable=None if progress else True):
        yield _check_sample(store, sample_id, digests)


def _fields(manifest: drawpoint.format.manifest.StoreManifest, sample_id: str) -> dict[str, str]:
    """Return the domain of each field that the sample has, in the order of the layout."""
    held = manifest.samples[sample_id].domains
    return {field: domain for domain in manifest.domains if domain in held for field in manifest.domains[domain].arrays}


def _check_sample(store: ZarrChunkReader, sample_id: str, arrays: Iterator[_ArrayCheck]) -> SampleCheck:
    """Put together what was found of a sample, taking as many of `arrays` as it has fields."""
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
    """Yield what is wrong with values that all could be read."""
    digest = store.manifest.samples[sample_id].digest
    written = "those that were written: its digest (sha256) differs"
    if stored is not None:
        for field, array in checked.items():
            bound = stored.arrays.get(store.manifest.fields[field].array_name)
            if bound is not None and bound.values != array.digest:
                message = f"the values of {field} in sample {sample_id!r} are not {written}"
                yield Problem(sample_id, field, None, message)
    elif is_known_digest(digest) and digest != values_digest(array.digest for array in checked.values()):
        yield Problem(sample_id, None, None, f"the values of sample {sample_id!r} are not {written}")


def _count_absent(store: ZarrChunkReader, entry: SampleEntry, fields: Mapping[str, str]) -> int:
    """Return how many shards of a group's arrays have no object; `fields` are theirs, with their domains."""
    import zarr  # noqa: PLC0415  see stores.make_store

    absent = 0
    for field, domain in fields.items():
        layout = store.manifest.fields[field]
        # zarr-python reads whatever lies there, and counts up to any shape. Reads of the array report what is wrong.
        if _load(stores.join(store.store_root, entry.relpath), f"{layout.array_name}/{_METADATA}") is None:
            continue
        try:
            array = zarr.open_array(store.group(entry.relpath), path=layout.array_name, mode="r", zarr_format=3)
        except Exception:  # noqa: BLE001, S112  whatever zarr-python raises for what it cannot read
            continue
        if array.shape != (entry.domains[domain].n_points, layout.dim):
            continue
        outer = array.shards or array.chunks
        shards = math.prod(-(-size // length) for size, length in zip(array.shape, outer, strict=True))
        chunks_a_shard = math.prod(outer) // math.prod(array.chunks)
        absent += shards - array.nchunks_initialized // chunks_a_shard
    return absent


def _check_array(store: ZarrChunkReader, sample_id: str, field: str) -> _ArrayCheck:
    """Return what was found of an array, as far as it could be read."""
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


def find_leftovers(store_root: str | os.PathLike[str], manifest: drawpoint.format.manifest.StoreManifest) -> list[str]:
    """Return the paths below the root of groups that no sample of the manifest refers to, and of unfinished files.

    Folders that are stores themselves are left alone.
    """
    referenced = {entry.relpath for entry in manifest.samples.values()}
    leftovers = []
    folders = [""]
    while folders:
        folder = folders.pop()
        above = f"{folder}/" if folder else ""
        names = stores.list_names(store_root, folder)
        if folder and StoreManifest.MANIFEST_NAME in names:
            continue
        leftovers += [above + name for name in names if name.endswith(".tmp")]
        for path in (above + name for name in stores.list_folders(store_root, folder, follow_links=False)):
            if path.endswith(".zarr") and path not in referenced:
                leftovers += [path] if stores.holds_objects(store_root, path) else []
            elif path not in referenced:
                folders.append(path)
    return sorted(leftovers)


def _read(store: ZarrChunkReader, block: ReadPlan, field: str) -> tuple[np.ndarray[Any, Any] | None, list[Problem]]:
    """Return the rows of a block of one field, or None and what is wrong, chunk by chunk."""
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
    whole = error.field is None and isinstance(error, DataDamaged)  # the group, which all fields stumble over
    message = str(error).removesuffix(".").removesuffix(f"; {REMEDY}")
    return Problem(block.sample_id, None if whole else field, error.chunk, message)


class _Group(NamedTuple):
    """The metadata of a group's arrays by name, and what binds their bytes."""

    nodes: dict[str, Any]
    digest: SampleDigest | None


def _check_metadata(store: ZarrChunkReader, sample_id: str) -> tuple[_Group, list[Problem]]:
    """Return a group's metadata, and where a node's own `zarr.json` is gone or says something else.

    Reads use the copies in the group's `zarr.json` where it has them, but other programs may not.
    """
    path = stores.join(store.store_root, store.manifest.samples[sample_id].relpath)
    root = _load(path, _METADATA) or {}
    consolidated = root.get("consolidated_metadata")
    copies = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    copies = copies if isinstance(copies, dict) else {}
    arrays = {store.manifest.fields[field].array_name: field for field in _fields(store.manifest, sample_id)}
    nodes, problems = {}, []
    for name in dict.fromkeys([*arrays, *copies]):
        own = _load(path, f"{name}/{_METADATA}")
        nodes[name] = copies.get(name, own)
        if name in copies and (own is None or not _agree(own, copies[name])):
            reason = "is missing or damaged" if own is None else "disagrees with its copy in the group's"
            message = f"the {_METADATA} of {name} in sample {sample_id!r} {reason}"
            problems.append(Problem(sample_id, arrays.get(name), None, message))
    try:
        stored = SampleDigest.from_attributes(root.get("attributes"))
    except ValueError:  # every read of the sample reports it
        stored = None
    return _Group(nodes, stored), problems


def _load(path: str, name: str) -> dict[str, Any] | None:
    try:
        data = stores.read_bytes(path, name)
        check_density(data or b"", METADATA_BYTES_A_VALUE)
        found = None if data is None else json.loads(data)
    except (DrawpointError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _agree(own: Any, copy: Any) -> bool:
    # A group's own copy may or may not list what is below it, and an upgrade that was interrupted has given its table
    # to an array and not yet to the copy.
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
