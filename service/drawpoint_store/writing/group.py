"""A sample's Zarr v3 group as bytes: metadata, shards and chunks, as zarr-python writes them but faster.

Formats: https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html and the sharding codec's
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import crc32c
import numcodecs
import numpy as np
from numcodecs import blosc

from drawpoint.format.manifest import MAX_TEXTS
from drawpoint_store.reading.digests import (
    CRC_BYTES,
    ArrayDigests,
    SampleDigest,
    array_digest,
    table_attributes,
    table_digest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drawpoint.format.manifest import ArrayLayout, DomainSample
    from drawpoint_store.storage import Storage

_THREADS = min(4, os.cpu_count() or 1)
GROUP_FORMAT = 2
"""The version of the bytes that are written for the same values; an interrupted conversion of another starts again."""

_CRC = {"name": "crc32c"}
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}

COMPRESSORS = ("none", *(f"blosc-zstd-{level}" for level in range(1, 10)))
"""What the manifest says of chunks compressed at each level, at 0 not at all. Other writers have other names."""


class ArrayContent(NamedTuple):
    """One field to store: `values` (n_points, dim) in the stored dtype, and the `order` of its rows."""

    layout: ArrayLayout
    grid: DomainSample
    values: np.ndarray[Any, Any]
    order: np.ndarray[Any, Any]


def write_group(storage: Storage, relpath: str, arrays: Sequence[ArrayContent], compression_level: int) -> str:
    """Write the group at `relpath`, replacing what lies there on a root of its own, and return its content's digest.

    A local group is deleted first. On a shared root, a bucket, nothing is deleted: a group there is named by its
    content (`content_name`), so that each object is replaced by equal bytes, also while others read or write it. Every
    chunk is written, also one of zeros alone, so that a missing chunk is always damage. The group's own metadata comes
    last. Raises StoreUnreadable where the storage refuses a write.
    """
    if not storage.is_shared:
        storage.delete_tree(relpath)
    with ThreadPoolExecutor(_THREADS) as pool:
        written = list(pool.map(lambda array: _write_array(storage, relpath, array, compression_level), arrays))
    nodes, digests = {}, {}
    for (layout, grid, _, _), (values, table) in zip(arrays, written, strict=True):
        nodes[layout.array_name] = array_metadata(layout, grid, compression_level, table)
        digests[layout.array_name] = ArrayDigests(values, table_digest(table))
    stored_digest = SampleDigest.of(digests)
    groups = {name.rsplit("/", 1)[0] for name in nodes if "/" in name}
    nodes.update({name: {"attributes": {}, "zarr_format": 3, "node_type": "group"} for name in groups})
    for name, node in sorted(nodes.items()):
        storage.write(f"{relpath}/{name}/zarr.json", to_json(node), durable=False)
    storage.write(f"{relpath}/zarr.json", to_json(group_metadata(nodes, stored_digest)), durable=False)
    return stored_digest.digest


def content_name(arrays: Sequence[ArrayContent], shuffle_seed: int, compression_level: int) -> str:
    """Return 12 hex digits of everything that decides a group's bytes: values, layout, order and format.

    Where no lock can be held, groups have it in their name: conversions that differ never write the same object, and
    equal ones write equal bytes.
    """
    compressor = [compression_level, numcodecs.__version__] if compression_level else None
    digest = hashlib.sha256(json.dumps([GROUP_FORMAT, shuffle_seed, compressor]).encode())
    for layout, grid, values, _ in arrays:
        written = layout.model_dump(exclude=set(MAX_TEXTS))  # what is said of a field is in the manifest alone
        digest.update(json.dumps([written, grid.model_dump()], sort_keys=True).encode())
        digest.update(np.ascontiguousarray(values, np.dtype(layout.dtype).newbyteorder("<")).data)
    return digest.hexdigest()[:12]


def _write_array(storage: Storage, relpath: str, array: ArrayContent, compression_level: int) -> tuple[str, bytes]:
    """Shuffle, encode and write one array's shards, and return the digest of its values and its chunks' checksums."""
    layout, grid, values, order = array
    shuffled = np.take(values, order, axis=0)
    slots = grid.shard_points // grid.chunk_points
    table = bytearray()
    for shard, first in enumerate(range(0, grid.n_points, grid.shard_points)):
        rows = shuffled[first : first + grid.shard_points]
        chunks = [encode_chunk(chunk, compression_level) for chunk in _chunks(rows, grid.chunk_points)]
        table += b"".join(chunk[-CRC_BYTES:] for chunk in chunks)
        storage.write(f"{relpath}/{layout.array_name}/c/{shard}/0", join_shard(chunks, slots), durable=False)
    return array_digest(layout, [shuffled]), bytes(table)


def array_metadata(layout: ArrayLayout, grid: DomainSample, compression_level: int, table: bytes) -> dict[str, Any]:
    """Return the `zarr.json` of one array, whose chunks' checksums are `table`; level 0 means no compressor."""
    blosc_codec = {
        "name": "blosc",
        "configuration": {
            "typesize": np.dtype(layout.dtype).itemsize,
            "cname": "zstd",
            "clevel": compression_level,
            "shuffle": "shuffle",
            "blocksize": 0,
        },
    }
    sharding = {
        "chunk_shape": [grid.chunk_points, layout.dim],
        "codecs": [_BYTES, *([blosc_codec] if compression_level else []), _CRC],
        "index_codecs": [_BYTES, _CRC],
        "index_location": "end",
    }
    return {
        "shape": [grid.n_points, layout.dim],
        "data_type": layout.dtype,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [grid.shard_points, layout.dim]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "attributes": table_attributes(table),
        "dimension_names": ["point", "component"],
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def group_metadata(nodes: dict[str, dict[str, Any]], stored_digest: SampleDigest) -> dict[str, Any]:
    """Return the group's `zarr.json` with the metadata of all its nodes consolidated into it."""
    consolidated = {
        name: node
        if node["node_type"] == "array"
        else {**node, "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": {}}}
        for name, node in sorted(nodes.items(), key=lambda item: (item[0].count("/"), item[0]))
    }
    return {
        "attributes": stored_digest.to_attributes(),
        "zarr_format": 3,
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": consolidated},
        "node_type": "group",
    }


def encode_chunk(rows: np.ndarray[Any, Any], compression_level: int) -> bytes:
    """Return a chunk's bytes: little-endian rows, through blosc-zstd unless the level is 0, then their crc32c."""
    packed = blosc.compress(rows, b"zstd", compression_level, blosc.SHUFFLE) if compression_level else rows.tobytes()
    return b"".join([packed, crc32c.crc32c(packed).to_bytes(CRC_BYTES, "little")])


def join_shard(chunks: Sequence[bytes], slots: int) -> bytes:
    """Return a shard's bytes: the chunks, then the index of (offset, nbytes) for each of its slots, checksummed."""
    index = np.full((slots, 2), 2**64 - 1, dtype="<u8")
    offset = 0
    for slot, chunk in enumerate(chunks):
        index[slot] = offset, len(chunk)
        offset += len(chunk)
    packed = index.tobytes()
    return b"".join([*chunks, packed, crc32c.crc32c(packed).to_bytes(CRC_BYTES, "little")])


def _chunks(values: np.ndarray[Any, Any], chunk_points: int) -> Iterator[np.ndarray[Any, Any]]:
    for first in range(0, len(values), chunk_points):
        rows = values[first : first + chunk_points]
        if len(rows) < chunk_points:  # Zarr stores the last chunk at full size
            rows = np.concatenate([rows, np.zeros((chunk_points - len(rows), values.shape[1]), values.dtype)])
        yield rows


def to_json(node: dict[str, Any]) -> bytes:
    """Return the bytes of a `zarr.json`."""
    return json.dumps(node, indent=2).encode()
