"""A sample's Zarr v3 group as bytes: metadata, shards and chunks, as zarr-python writes them but faster.

Formats: https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html and the sharding codec's
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/index.html.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeVar

import crc32c
import numcodecs
import numpy as np
from numcodecs import blosc

import drawpoint
from drawpoint_store.reading.blocks import block_chunks
from drawpoint_store.reading.digests import (
    CRC_BYTES,
    ArrayDigest,
    ArrayDigests,
    SampleDigest,
    table_attributes,
    table_digest,
)
from drawpoint_store.storage.storage import translated_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from drawpoint.format.manifest import ArrayLayout, DomainSample
    from drawpoint_store.writing.stored_array import StoredArray

    Measure = Callable[[str, int, np.ndarray[Any, Any]], object]

Result = TypeVar("Result")

_THREADS = min(4, os.cpu_count() or 1)

METADATA_NAME = "zarr.json"
GROUP_FORMAT = 2
"""The version of the bytes that are written for the same values; an interrupted conversion of another starts again."""

_CRC = {"name": "crc32c"}
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}

COMPRESSORS = ("none", *(f"blosc-zstd-{level}" for level in range(1, 10)))
"""What the manifest says of chunks compressed at each level, at 0 not at all. Other writers have other names."""


def versions() -> dict[str, str]:
    """Return the versions, by name, of all that decides which bytes are written for the same values."""
    return {
        "the format of groups": str(GROUP_FORMAT),
        "drawpoint": drawpoint.__version__,
        "numcodecs": numcodecs.__version__,
    }


class GroupFolder:
    """A sample's group in the making, in a local folder: one array at a time, then the metadata.

    Every chunk is written, also one of zeros alone, so that a missing chunk is always damage. An array takes the memory
    of a few blocks of rows beside what is given. Raises StoreUnreadable, which names the `place`, where the folder
    cannot be written to.
    """

    def __init__(self, folder: Path, compression_level: int, place: str) -> None:
        self.folder = folder
        self.place = place
        self.compression_level = compression_level
        self._nodes: dict[str, dict[str, Any]] = {}
        self._digests: dict[str, ArrayDigests] = {}
        self._shards: list[Path] = []
        self._pool = ThreadPoolExecutor(_THREADS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(
        self,
        layout: ArrayLayout,
        grid: DomainSample,
        values: np.ndarray[Any, Any],
        order: np.ndarray[Any, Any],
        measure: Measure | None = None,
    ) -> None:
        """Write one array: `values` (n_points, dim) in the stored dtype, whose row i is row `order[i]` of them.

        `measure` is called with the field and the number and rows of each block that `plan_blocks` would read of it,
        in any order and by several threads.
        """
        digest, table = ArrayDigest(layout), bytearray()
        slots = grid.shard_points // grid.chunk_points

        def encode(first: int) -> tuple[np.ndarray[Any, Any], list[bytes]]:
            rows = np.take(values, order[first : first + block], axis=0)
            if measure is not None:
                measure(layout.field, first // block, rows)
            return rows, [encode_chunk(chunk, self.compression_level) for chunk in _chunks(rows, grid.chunk_points)]

        def chunks() -> Generator[bytes]:
            for rows, encoded in self._map(encode, range(0, grid.n_points, block)):
                digest.update(rows)
                yield from encoded

        block = grid.chunk_points * block_chunks(grid.chunk_points)
        with translated_errors("written", self.place, OSError), contextlib.closing(chunks()) as left:
            for shard in range(-(-grid.n_chunks // slots)):
                table += _write_shard(self._new_shard(layout, shard), itertools.islice(left, slots), slots)
        packed = bytes(table)
        self._nodes[layout.array_name] = array_metadata(layout, grid, self.compression_level, packed)
        self._digests[layout.array_name] = ArrayDigests(digest.hexdigest(), table_digest(packed))

    def take_over(self, layout: ArrayLayout, stored: StoredArray) -> None:
        """Add an array whose files exist already, in another group: they are linked to, or copied."""
        with translated_errors("written", self.place, OSError):
            for shard in range(-(-stored.grid.n_points // stored.grid.shard_points)):
                file = stored.folder / "c" / str(shard) / "0"
                place = self._new_shard(layout, shard)
                try:
                    place.hardlink_to(file)
                except OSError:  # of file systems without such links
                    shutil.copyfile(file, place)
        self._nodes[layout.array_name] = array_metadata(layout, stored.grid, self.compression_level, stored.table)
        self._digests[layout.array_name] = stored.digests

    def finish(self, names: Iterable[str]) -> SampleDigest:
        """Write the metadata, and return the digest of the arrays, which are listed in the order of `names`."""
        digest = SampleDigest.of({name: self._digests[name] for name in names if name in self._digests})
        nodes = dict(self._nodes)
        groups = {name.rsplit("/", 1)[0] for name in nodes if "/" in name}
        nodes.update({name: {"attributes": {}, "zarr_format": 3, "node_type": "group"} for name in groups})
        with translated_errors("written", self.place, OSError):
            for shard in self._shards:
                shard.stat()  # who took the folder for abandoned has removed it, and writing goes on in a new one
            for name, node in nodes.items():
                (self.folder / name / METADATA_NAME).write_bytes(to_json(node))
            (self.folder / METADATA_NAME).write_bytes(to_json(group_metadata(nodes, digest)))
        return digest

    def content_name(self, digest: SampleDigest) -> str:
        """Return 12 hex digits of everything that decides the group's bytes: its values in their order, and its grids.

        Where no lock can be held, groups have it in their name: conversions that differ never write the same object,
        and equal ones write equal bytes.
        """
        facts = [GROUP_FORMAT, digest.digest, self._nodes]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    def _new_shard(self, layout: ArrayLayout, shard: int) -> Path:
        path = self.folder / layout.array_name / "c" / str(shard) / "0"
        path.parent.mkdir(parents=True)
        self._shards.append(path)
        return path

    def _map(self, work: Callable[[int], Result], items: Iterable[int]) -> Iterator[Result]:
        """Yield `work(item)` for each item in order, made by threads that run ahead only a little."""
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(self._pool.submit(work, item))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _write_shard(path: Path, chunks: Iterable[bytes], slots: int) -> bytes:
    """Write the chunks that are left of a shard's `slots`, with their index, and return their checksums."""
    sizes: list[int] = []
    table = bytearray()
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
            sizes.append(len(chunk))
            table += chunk[-CRC_BYTES:]
        file.write(shard_index(sizes, slots))
    return bytes(table)


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


def shard_index(sizes: Sequence[int], slots: int) -> bytes:
    """Return the end of a shard: (offset, nbytes) of each chunk, for all its slots, and the checksum of that."""
    index = np.full((slots, 2), 2**64 - 1, dtype="<u8")
    ends = np.cumsum(sizes, dtype="<u8")
    index[: len(sizes), 0] = np.concatenate([[0], ends[:-1]])
    index[: len(sizes), 1] = sizes
    packed = index.tobytes()
    return packed + crc32c.crc32c(packed).to_bytes(CRC_BYTES, "little")


def _chunks(values: np.ndarray[Any, Any], chunk_points: int) -> Iterator[np.ndarray[Any, Any]]:
    for first in range(0, len(values), chunk_points):
        rows = values[first : first + chunk_points]
        if len(rows) < chunk_points:  # Zarr stores the last chunk at full size
            rows = np.concatenate([rows, np.zeros((chunk_points - len(rows), values.shape[1]), values.dtype)])
        yield rows


def to_json(node: dict[str, Any]) -> bytes:
    """Return the bytes of a `zarr.json`."""
    return json.dumps(node, indent=2).encode()
