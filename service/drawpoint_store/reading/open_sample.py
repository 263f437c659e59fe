"""One opened sample: its arrays' metadata and shard indexes, read once, and the way to its chunks."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, NamedTuple

import crc32c
import numpy as np

from drawpoint.errors import ChunkDamaged, ChunkMissing, MetadataDamaged
from drawpoint_store.reading.arrays import (
    INDEX_ENTRY_BYTES,
    MISPLACED,
    NeedsZarr,
    ShardedArray,
    parse_array,
    parse_group,
)
from drawpoint_store.reading.codecs import UndecodableError
from drawpoint_store.reading.digests import ABSENT_CHUNK_CRC, CRC_BYTES, covers_tables
from drawpoint_store.storage.bounds import METADATA_BYTES_A_VALUE, check_density
from drawpoint_store.storage.byte_sources import ABSENT, RemoteSource, Span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import Any

    from drawpoint.format.manifest import ArrayLayout, SampleEntry
    from drawpoint_store.reading.digests import SampleDigest
    from drawpoint_store.reading.plan import ArrayDraw
    from drawpoint_store.storage.byte_sources import Buffer, Fetching, Source

_METADATA = "zarr.json"

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
        self._digest = entry.digest
        self._stored_digest: SampleDigest | None = None
        self._nodes: dict[str, Any] | None = None
        self._arrays: dict[str, ShardedArray | None] = {}
        self._ahead: dict[Span, Buffer] = {}
        self._group_crc = 0
        self._n_chunks = sum(grid.n_chunks for grid in entry.domains.values())

    @property
    def nbytes(self) -> int:
        """About what it holds in memory when all of its indexes and tables have been read."""
        return 10_000 + (len(self._nodes or ()) + 1) * 4_000 + self._n_chunks * 130

    @property
    def stored_digest(self) -> SampleDigest | None:
        """What binds the sample's bytes to their places; None before its metadata was read, and where nothing does."""
        return self._stored_digest

    def read_metadata(self, draws: Collection[ArrayDraw]) -> Fetching[bool]:
        """Read what describes the arrays of `draws`, and tell whether that was the first time.

        Raises MetadataDamaged.
        """
        is_first = self._nodes is None
        if self._nodes is None:
            # Where a fetch costs a round trip, the indexes are fetched along, from where our own writer puts them.
            ahead = _expected_index_ranges(draws) if isinstance(self.source, RemoteSource) else []
            self._nodes = yield from self._read_group(ahead)
        lacking = [draw.layout for draw in draws if draw.layout.array_name not in self._nodes]
        if lacking:  # not consolidated: each array brings its own
            yield from self._read_nodes(self._nodes, lacking)
        return is_first

    def array(self, draw: ArrayDraw) -> ShardedArray | None:
        """Return how to read an array, or None where only zarr-python can. Raises MetadataDamaged."""
        name = draw.layout.array_name
        if name not in self._arrays:
            try:
                self._arrays[name] = self._parse_array(draw)
            except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
                self.source.forget([Span(_METADATA, 0, None), Span(f"{name}/{_METADATA}", 0, None)])
                raise self._damaged(draw.layout.field, f"the metadata of {name} is damaged: {error}") from error
        return self._arrays[name]

    def _parse_array(self, draw: ArrayDraw) -> ShardedArray | None:
        name = draw.layout.array_name
        parsed: ShardedArray | None = None
        with contextlib.suppress(NeedsZarr):
            parsed = parse_array((self._nodes or {})[name], draw.layout, draw.draw.grid)
        bound = self._stored_digest.arrays.get(name) if self._stored_digest else None
        is_bound = self._digest is not None if bound is None else bound.chunks is not None
        if is_bound and (parsed is None or (bound is None and self._stored_digest is not None)):
            raise self._damaged(draw.layout.field, f"our own writer does not write {name} like this")
        if bound is not None and bound.chunks != (parsed.table_digest if parsed else None):
            raise ValueError("its table of checksums is not the one that its group was written with")
        return parsed

    def read_indexes(self, missing: Sequence[tuple[ShardedArray, str, int]]) -> Fetching[None]:
        """Read the indexes of (array, field, shard), all in one fetch. Raises ChunkMissing and MetadataDamaged."""
        wanted = {
            Span(array.shard_key(shard), 0 if array.index_at_start else -array.index_bytes, array.index_bytes, True): (
                array,
                field,
                shard,
            )
            for array, field, shard in missing
        }
        ahead, self._ahead = self._ahead, {}
        found = {span: ahead[span] for span in wanted if span in ahead}
        spans = [span for span in wanted if span not in found]
        try:
            found.update(zip(spans, (yield spans) if spans else (), strict=True))
        except FileNotFoundError as error:  # names the object that is gone, whichever was being waited for
            array, field, shard = next(wanted[span] for span in spans if span.key == str(error))
            raise self.missing(array, field, shard * array.chunks_per_shard) from error
        absent = [wanted[span] for span, data in found.items() if data is ABSENT]
        if absent:
            yield from self._check_absence(absent)
        try:
            for span, (array, field, shard) in wanted.items():
                array.keep_index(shard, self._parse_index(array, field, shard, found[span]))
        except MetadataDamaged:
            self.source.forget(wanted)
            raise

    def place(self, array: ShardedArray, field: str, chunk: int) -> ChunkPlace:
        """Return where a chunk lies; its shard's index must have been read. Raises ChunkMissing and MetadataDamaged."""
        shard, slot = divmod(chunk, array.chunks_per_shard)
        key, offsets, sizes = array.shards[shard]
        nbytes = sizes[slot]
        if nbytes == MISPLACED:
            raise self._damaged(field, f"the index of {key} gives chunk {chunk} a place where none can be")
        if nbytes == 0 and not self._may_omit(array, [chunk]):
            raise self.missing(array, field, chunk)
        return ChunkPlace(chunk, key, offsets[slot], nbytes)

    def rows(self, array: ShardedArray, field: str, place: ChunkPlace, encoded: Buffer) -> np.ndarray[Any, Any]:
        """Return a chunk's rows, (chunk_points, dim) in the stored dtype. Raises ChunkDamaged."""
        try:
            if len(encoded) != place.nbytes:
                raise UndecodableError(f"{place.key} ends after {len(encoded)} of its {place.nbytes} bytes")  # noqa: TRY301  one way out
            data = array.decoder.decode(encoded)
            if array.table is not None and array.decoder.checksum(encoded) != array.table[place.chunk]:
                raise UndecodableError("it is another chunk: its crc32c is not that of its place")  # noqa: TRY301  one way out
        except UndecodableError as error:
            raise ChunkDamaged(
                f"chunk {place.chunk} of {field} in sample {self.sample_id!r} is damaged: {error}; {REMEDY}.",
                sample=self.sample_id,
                field=field,
                chunk=place.chunk,
            ) from error
        return np.frombuffer(data, array.dtype).reshape(array.chunk_points, array.dim)

    def missing(self, array: ShardedArray, field: str, chunk: int) -> ChunkMissing:
        """Build the error for a chunk that its shard does not hold, or whose shard is gone."""
        key = array.shard_key(chunk // array.chunks_per_shard)
        return ChunkMissing(
            f"chunk {chunk} of {field} in sample {self.sample_id!r} is missing: nothing of it is in {key}; {REMEDY}.",
            sample=self.sample_id,
            field=field,
            chunk=chunk,
        )

    def _read_group(self, ahead: list[Span]) -> Fetching[dict[str, Any]]:
        try:
            data, *found = yield [Span(_METADATA, 0, None), *ahead]
        except FileNotFoundError as error:
            raise self._damaged(None, "its zarr.json is missing") from error
        self._ahead = dict(zip(ahead, found, strict=True))
        self._group_crc = crc32c.crc32c(data)
        try:
            nodes, self._stored_digest = parse_group(bytes(data))
        except (ValueError, AttributeError, RecursionError) as error:
            self.source.forget([Span(_METADATA, 0, None)])
            raise self._damaged(None, f"its zarr.json is damaged: {error}") from error
        self._check_digest()
        return nodes

    def _check_digest(self) -> None:
        """Refuse a group that is not the one that the manifest means, as far as the two tell."""
        if self._stored_digest is None and covers_tables(self._digest):
            reason = "it has none"
        elif self._stored_digest is not None and not self._stored_digest.agrees_with(self._digest):
            reason = "it is of another sample or revision"
        else:
            return
        self.source.forget([Span(_METADATA, 0, None)])
        raise self._damaged(None, f"the digest of the group at {self.relpath} is not the manifest's: {reason}")

    def _read_nodes(self, nodes: dict[str, Any], lacking: Sequence[ArrayLayout]) -> Fetching[None]:
        spans = [Span(f"{layout.array_name}/{_METADATA}", 0, None) for layout in lacking]
        try:
            for layout, data in zip(lacking, (yield spans), strict=True):
                try:
                    check_density(bytes(data), METADATA_BYTES_A_VALUE)
                    nodes[layout.array_name] = json.loads(bytes(data))
                except (ValueError, RecursionError) as error:
                    reason = f"the metadata of {layout.array_name} is damaged: {error}"
                    raise self._damaged(layout.field, reason) from error
        except FileNotFoundError as error:
            lost = next(layout for layout, span in zip(lacking, spans, strict=True) if span.key == str(error))
            raise self._damaged(lost.field, f"there is no array {lost.array_name}") from error

    def _may_omit(self, array: ShardedArray, chunks: Iterable[int]) -> bool:
        """Tell whether chunks that are not stored are nothing but the fill value, and no damage.

        Our own writer stores every chunk, and a digest; others leave out chunks and shards of the fill value, and their
        tables, where they were given some, say which.
        """
        if array.table is not None:
            return all(array.table[chunk] == ABSENT_CHUNK_CRC for chunk in chunks)
        return self._digest is None and self._stored_digest is None

    def _check_absence(self, absent: Sequence[tuple[ShardedArray, str, int]]) -> Fetching[None]:
        """Take shards without an object for the fill value, as zarr-python does, if the writer may have left them out.

        Where there is no table nothing tells that from loss, so that at least what describes them must still be there:
        the group as it was read, and the arrays.
        """
        for array, field, shard in absent:
            first = shard * array.chunks_per_shard
            if not self._may_omit(array, range(first, min(first + array.chunks_per_shard, array.n_chunks))):
                raise self.missing(array, field, first)
        fields = {f"{array.name}/{_METADATA}": field for array, field, _ in absent if array.table is None}
        if not fields:
            return
        spans = [Span(key, 0, None) for key in (_METADATA, *fields)]
        self.source.forget(spans)  # a cache on disk tells what was there once
        try:
            group, *_ = list((yield spans))
        except FileNotFoundError as error:
            key = str(error)
            raise self._damaged(fields.get(key), f"its {key} is missing, and so are shards") from error
        if crc32c.crc32c(group) != self._group_crc:
            self.source.was_replaced = True
            raise self._damaged(None, "its zarr.json was replaced while it was open, and shards are missing")

    def _parse_index(self, array: ShardedArray, field: str, shard: int, data: Buffer) -> np.ndarray[Any, Any] | None:
        if data is ABSENT:
            return None
        key = array.shard_key(shard)
        if len(data) != array.index_bytes:
            raise self._damaged(field, f"{key} is too short for its index")
        body = memoryview(data)[: array.chunks_per_shard * 16]
        if array.index_has_crc and crc32c.crc32c(body) != int.from_bytes(data[len(body) :], "little"):
            raise self._damaged(field, f"the index of {key} fails its checksum (crc32c)")
        return np.frombuffer(body, "<u8").reshape(-1, 2)

    def _damaged(self, field: str | None, reason: str) -> MetadataDamaged:
        return MetadataDamaged(
            f"sample {self.sample_id!r} cannot be read: {reason}; {REMEDY}.", sample=self.sample_id, field=field
        )


def _expected_index_ranges(draws: Iterable[ArrayDraw]) -> list[Span]:
    """Return where the indexes that `draws` need lie in a group of our own writer."""
    spans = []
    for array in draws:
        grid, name = array.draw.grid, array.layout.array_name
        slots = grid.shard_points // grid.chunk_points
        nbytes = slots * INDEX_ENTRY_BYTES + CRC_BYTES
        spans += [
            Span(f"{name}/c/{shard}/0", -nbytes, nbytes, True)
            for shard in sorted({rows.chunk // slots for rows in array.draw.rows})
        ]
    return spans
