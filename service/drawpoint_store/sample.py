"""One opened sample: its arrays' metadata and shard indexes, read once, and the way to its chunks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import crc32c
import numpy as np

from drawpoint.errors import ChunkDamaged, ChunkMissing, MetadataDamaged
from drawpoint_store.arrays import MISSING, ForeignArray, ShardedArray, parse_array, parse_group
from drawpoint_store.codecs import Buffer, UndecodableError
from drawpoint_store.sources import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from drawpoint.manifest import SampleEntry
    from drawpoint_store.plan import ArrayDraw
    from drawpoint_store.sources import Source

ShardIndex = np.ndarray[tuple[int, int], np.dtype[np.uint64]]

REMEDY = "restore it from a copy or convert the sample anew; `drawpoint verify` lists all damage"
"""What to do about damage; ends every message that reports some."""


class ChunkPlace(NamedTuple):
    """Where a chunk's bytes lie; `nbytes` is 0 where the index declares the chunk absent."""

    chunk: int
    key: str
    offset: int
    nbytes: int


class OpenSample:
    """The group of one sample; the work of a read, cut so that each fetch goes out as a whole."""

    def __init__(self, sample_id: str, entry: SampleEntry, source: Source) -> None:
        self.sample_id = sample_id
        self.relpath = entry.relpath
        self.source = source
        # Our own writer stores every chunk (and a digest), so a gap in its shards is damage; other writers leave out
        # chunks that are nothing but the fill value, and say so in the shard's checksummed index.
        self._may_omit_chunks = entry.digest is None
        self._nodes = self._read_group()
        self._arrays: dict[str, ShardedArray | None] = {}
        self._indexes: dict[tuple[str, int], ShardIndex] = {}
        n_chunks = sum(grid.n_chunks * 16 for grid in entry.domains.values())
        self.nbytes = 10_000 + (len(self._nodes) + 1) * 4_000 + n_chunks * 5
        """About what it holds in memory when all of its indexes have been read."""

    def array(self, draw: ArrayDraw) -> ShardedArray | None:
        """Return how to read an array, or None where only zarr-python can. Raises MetadataDamaged."""
        name = draw.layout.array_name
        if name not in self._arrays:
            try:
                self._arrays[name] = parse_array(self._node(draw), draw.layout, draw.draw.grid)
            except ForeignArray:
                self._arrays[name] = None
            except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
                raise self._damaged(draw.layout.field, f"the metadata of {name} is damaged: {error}") from error
        return self._arrays[name]

    def read_indexes(self, wanted: Sequence[tuple[ShardedArray, str, Iterable[int]]]) -> None:
        """Read the indexes of (array, field, shards) that are not known yet, all in one fetch."""
        missing = [
            (array, field, shard)
            for array, field, shards in wanted
            for shard in shards
            if (array.name, shard) not in self._indexes
        ]
        spans = [
            Span(array.shard_key(shard), 0 if array.index_at_start else -array.index_bytes, array.index_bytes)
            for array, _, shard in missing
        ]
        try:
            for (array, field, shard), data in zip(missing, self.source.fetch(spans), strict=True):
                self._indexes[array.name, shard] = self._parse_index(array, field, shard, data)
        except FileNotFoundError as error:  # names the object that is gone, whichever was being waited for
            for array, field, shard in missing:
                if array.shard_key(shard) == str(error):
                    raise self._missing(field, shard * array.chunks_per_shard, str(error)) from error
            raise

    def places(self, array: ShardedArray, field: str, chunks: Iterable[int]) -> list[ChunkPlace]:
        """Return where chunks lie; their shards' indexes must have been read. Raises ChunkMissing."""
        places = []
        for chunk in chunks:
            shard, slot = divmod(chunk, array.chunks_per_shard)
            offset, nbytes = self._indexes[array.name, shard][slot].tolist()
            key = array.shard_key(shard)
            if offset == MISSING and nbytes == MISSING:
                if not self._may_omit_chunks:
                    raise self._missing(field, chunk, key)
                nbytes = 0
            elif nbytes > array.most_encoded_bytes or offset >= 2**63:
                raise self._damaged(field, f"the index of {key} gives chunk {chunk} {nbytes} bytes at {offset}")
            places.append(ChunkPlace(chunk, key, offset, nbytes))
        return places

    def rows(self, array: ShardedArray, field: str, place: ChunkPlace, encoded: Buffer) -> np.ndarray[Any, Any]:
        """Return a chunk's rows, (chunk_points, dim) in the stored dtype. Raises ChunkDamaged."""
        try:
            if len(encoded) != place.nbytes:
                raise UndecodableError(f"{place.key} ends after {len(encoded)} of its {place.nbytes} bytes")  # noqa: TRY301  one way out
            data = array.decoder.decode(encoded)
        except UndecodableError as error:
            raise ChunkDamaged(
                f"chunk {place.chunk} of {field} in sample {self.sample_id!r} is damaged: {error}; {REMEDY}.",
                sample=self.sample_id,
                field=field,
                chunk=place.chunk,
            ) from error
        return np.frombuffer(data, array.dtype).reshape(array.chunk_points, array.dim)

    def chunk_key(self, array: ShardedArray, chunk: int) -> str:
        """Return what names a chunk among all chunks of a store, in every revision of it."""
        return f"{self.relpath}/{array.name}/{chunk}"

    def shard_missing(self, array: ShardedArray, field: str, place: ChunkPlace) -> ChunkMissing:
        """Build the error for a shard whose object is gone."""
        return self._missing(field, place.chunk, array.shard_key(place.chunk // array.chunks_per_shard))

    def _read_group(self) -> dict[str, Any]:
        try:
            (data,) = self.source.fetch([Span("zarr.json", 0, None)])
            return parse_group(bytes(data))
        except FileNotFoundError as error:
            raise self._damaged(None, "its zarr.json is missing") from error
        except (ValueError, AttributeError) as error:
            raise self._damaged(None, f"its zarr.json is damaged: {error}") from error

    def _node(self, draw: ArrayDraw) -> dict[str, Any]:
        name = draw.layout.array_name
        if name not in self._nodes:  # not consolidated: each array brings its own
            try:
                (data,) = self.source.fetch([Span(f"{name}/zarr.json", 0, None)])
            except FileNotFoundError as error:
                raise self._damaged(draw.layout.field, f"there is no array {name}") from error
            self._nodes[name] = json.loads(bytes(data))
        node: dict[str, Any] = self._nodes[name]
        return node

    def _parse_index(self, array: ShardedArray, field: str, shard: int, data: Buffer) -> ShardIndex:
        key = array.shard_key(shard)
        if len(data) != array.index_bytes:
            raise self._damaged(field, f"{key} is too short for its index")
        body = memoryview(data)[: array.chunks_per_shard * 16]
        if array.index_has_crc and crc32c.crc32c(body) != int.from_bytes(data[len(body) :], "little"):
            raise self._damaged(field, f"the index of {key} fails its checksum (crc32c)")
        return np.frombuffer(bytes(body), "<u8").reshape(-1, 2)

    def _damaged(self, field: str | None, reason: str) -> MetadataDamaged:
        return MetadataDamaged(
            f"sample {self.sample_id!r} cannot be read: {reason}; {REMEDY}.", sample=self.sample_id, field=field
        )

    def _missing(self, field: str, chunk: int, key: str) -> ChunkMissing:
        return ChunkMissing(
            f"chunk {chunk} of {field} in sample {self.sample_id!r} is missing: nothing of it is in {key}; {REMEDY}.",
            sample=self.sample_id,
            field=field,
            chunk=chunk,
        )
