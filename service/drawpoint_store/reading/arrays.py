"""What a sample's Zarr metadata says of its arrays, checked against the manifest before anything is read by it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from drawpoint_store.reading.codecs import DECODES, Decoder, most_encoded_bytes
from drawpoint_store.reading.digests import CRC_BYTES, SampleDigest, parse_table, table_digest
from drawpoint_store.storage.bounds import METADATA_BYTES_A_VALUE, check_density

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint.format.manifest import ArrayLayout, DomainSample

INDEX_ENTRY_BYTES = 16
MISSING = 2**64 - 1
"""Offset and length of a chunk that a shard's index declares absent: all of it is the fill value."""

MOST_CHUNK_BYTES = 2**30
"""A decoded chunk's size: metadata is not trusted, and a few bytes of zstd can stand for any number of zeros."""

MOST_CODECS = 8
"""Codecs of a chunk or an index; writers use two to four."""


MISPLACED = -1
"""In the place of a chunk's size: the index gives it a place where none can be."""


_MOST_OFFSET = 2**62
"""Files are smaller, and the end of a chunk from there on might be more than the system can count to."""


class Shard(NamedTuple):
    """One shard of an array: the key of its object, and where in it the bytes of its chunks lie.

    `offsets` and `sizes` (int64) have an entry for each; the size of a chunk that the index declares absent is 0.
    """

    key: str
    offsets: memoryview
    sizes: memoryview


@dataclass(frozen=True, slots=True, eq=False)
class ShardedArray:
    """An array that is read directly: rows of `dim` values in chunks, chunks in shards, shards in objects.

    `table` holds the checksum of each chunk (uint32), None where the array has none. `shards` are those whose indexes
    were read.
    """

    name: str
    key_format: str
    dtype: np.dtype[Any]
    dim: int
    chunk_points: int
    chunks_per_shard: int
    n_chunks: int
    decoder: Decoder
    index_at_start: bool
    index_has_crc: bool
    fill_value: float
    table: memoryview | None
    table_digest: str | None
    shards: dict[int, Shard] = field(default_factory=dict)

    @property
    def index_bytes(self) -> int:
        """Bytes of a shard's index, its checksum included."""
        return self.chunks_per_shard * INDEX_ENTRY_BYTES + (CRC_BYTES if self.index_has_crc else 0)

    def shard_key(self, shard: int) -> str:
        """Return the key of a shard's object, below the sample's group."""
        return self.key_format.format(shard)

    def keep_index(self, shard: int, entries: np.ndarray[Any, Any] | None) -> None:
        """Keep what the index of a shard says: (offset, nbytes) of each chunk, uint64; None: no chunk is stored."""
        key = self.shard_key(shard)
        if entries is None:
            nothing = np.broadcast_to(np.int64(0), self.chunks_per_shard).data
            self.shards[shard] = Shard(key, nothing, nothing)
            return
        offsets, sizes = entries.T
        # More than any codec makes of a chunk is damage.
        is_possible = (sizes > 0) & (sizes <= most_encoded_bytes(self.decoder.nbytes)) & (offsets < _MOST_OFFSET)
        kept = np.where(is_possible, sizes, 0).astype(np.int64)
        kept[~is_possible & ~((offsets == MISSING) & (sizes == MISSING))] = MISPLACED
        self.shards[shard] = Shard(key, offsets.astype(np.int64).data, kept.data)


class NeedsZarr(ValueError):
    """The array is valid Zarr, but not in a form that is read directly; zarr-python reads it."""


def parse_group(data: bytes) -> tuple[dict[str, Any], SampleDigest | None]:
    """Return the metadata of a group's arrays by name, as far as its `zarr.json` consolidates them, and its binding.

    Raises ValueError for bytes that are no group's metadata.
    """
    check_density(data, METADATA_BYTES_A_VALUE)
    root = json.loads(data)
    if not isinstance(root, dict) or (root.get("node_type"), root.get("zarr_format")) != ("group", 3):
        raise ValueError("it describes no Zarr v3 group")
    nodes = (root.get("consolidated_metadata") or {}).get("metadata") or {}
    arrays = {name: node for name, node in nodes.items() if node.get("node_type") == "array"}
    return arrays, SampleDigest.from_attributes(root.get("attributes"))


def parse_array(node: Mapping[str, Any], layout: ArrayLayout, grid: DomainSample) -> ShardedArray:
    """Return how to read an array from its `zarr.json`.

    Raises NeedsZarr for forms that are left to zarr-python, and ValueError where the metadata disagrees with the
    manifest.
    """
    shape, dtype = tuple(node["shape"]), node["data_type"]
    if shape != (grid.n_points, layout.dim) or dtype != layout.dtype:
        raise ValueError(f"it is {dtype} {shape}, and the manifest says {layout.dtype} {(grid.n_points, layout.dim)}")
    chunk_bytes = grid.chunk_points * layout.dim * np.dtype(layout.dtype).itemsize
    if chunk_bytes > MOST_CHUNK_BYTES:
        raise ValueError(f"its chunks have {chunk_bytes:,} bytes, and {MOST_CHUNK_BYTES:,} are the most")
    codecs = node["codecs"]
    if [codec["name"] for codec in codecs] != ["sharding_indexed"] or node.get("storage_transformers"):
        raise NeedsZarr
    sharding = codecs[0]["configuration"]
    shard_shape = tuple(node["chunk_grid"]["configuration"]["chunk_shape"])
    if tuple(sharding["chunk_shape"]) != (grid.chunk_points, layout.dim) or shard_shape != (
        grid.shard_points,
        layout.dim,
    ):
        raise ValueError(
            f"its chunks are {tuple(sharding['chunk_shape'])} in shards of {shard_shape}, and the manifest says "
            f"{grid.chunk_points} and {grid.shard_points} points"
        )
    inner, index = sharding["codecs"], sharding["index_codecs"]
    if max(len(inner), len(index)) > MOST_CODECS:
        raise ValueError(f"it passes through {max(len(inner), len(index))} codecs, and {MOST_CODECS} are the most")
    chain = [DECODES.get(codec["name"]) for codec in reversed(inner[1:])]
    known_chain = tuple(decode for decode in chain if decode is not None)
    index_names = [codec["name"] for codec in index]
    if (
        inner[0]["name"] != "bytes"
        or len(known_chain) < len(chain)
        or index_names not in (["bytes"], ["bytes", "crc32c"])
        or _endian(index[0]) != "<"
        or not isinstance(node["fill_value"], (int, float, str))
    ):
        raise NeedsZarr
    table = parse_table(node.get("attributes"), grid.n_chunks)
    return ShardedArray(
        name=layout.array_name,
        key_format=_key_format(layout.array_name, node["chunk_key_encoding"]),
        dtype=np.dtype(dtype).newbyteorder(_endian(inner[0])),
        dim=layout.dim,
        chunk_points=grid.chunk_points,
        chunks_per_shard=grid.shard_points // grid.chunk_points,
        n_chunks=grid.n_chunks,
        # The last chunk is stored at full size, too.
        decoder=Decoder(known_chain, chunk_bytes),
        index_at_start=sharding.get("index_location", "end") == "start",
        index_has_crc="crc32c" in index_names,
        fill_value=_fill_value(node["fill_value"], np.dtype(dtype)),
        table=None if table is None else np.frombuffer(table, "<u4").astype(np.uint32).data,
        table_digest=table_digest(table),
    )


def _fill_value(value: float | str, dtype: np.dtype[Any]) -> float:
    if isinstance(value, str) and value.startswith("0x"):  # the bytes of a float, such as a NaN of its own kind
        return float(np.array(int(value, 16), f"u{dtype.itemsize}").view(dtype))
    return float(value)


def _endian(bytes_codec: Mapping[str, Any]) -> str:
    return ">" if bytes_codec.get("configuration", {}).get("endian") == "big" else "<"


def _key_format(name: str, encoding: Mapping[str, Any]) -> str:
    kind = encoding["name"]
    separator = encoding.get("configuration", {}).get("separator", "." if kind == "v2" else "/")
    if separator not in ("/", "."):
        raise ValueError(f"its chunk keys have the separator {str(separator)[:20]!r}")
    escaped = name.replace("{", "{{").replace("}", "}}")
    if kind == "default":
        return f"{escaped}/c{separator}{{}}{separator}0"
    if kind == "v2":
        return f"{escaped}/{{}}{separator}0"
    raise NeedsZarr
