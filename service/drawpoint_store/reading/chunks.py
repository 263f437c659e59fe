"""Chunks: read, checked against their places, decoded, and their rows put where they belong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from crc32c import crc32c

from drawpoint.errors import DataDamaged
from drawpoint_store.reading.memory_cache import ByteBoundedCache
from drawpoint_store.storage.byte_sources import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from drawpoint.errors import ChunkMissing
    from drawpoint_store.reading.arrays import ShardedArray
    from drawpoint_store.reading.open_sample import ChunkPlace, OpenSample
    from drawpoint_store.reading.plan import DomainDraw, ReadPlan
    from drawpoint_store.storage.byte_sources import Buffer, Fetching, Source
    from drawpoint_store.storage.open_files import LocalSource, OpenFile


ChunkCache = ByteBoundedCache["np.ndarray[Any, Any]"]
"""Decoded chunks by `Target.chunk_key`."""

_READ_BYTES = 2**18
"""Chunks that lie side by side are read in place in one call, up to so many bytes: what a core's cache holds."""

_READ_CHUNKS = 256
"""The chunks of such a call: the system takes 1,024 buffers, and a chunk has a few."""


class DrawnRows:
    """The rows drawn of a domain, chunk by chunk, for all of its arrays alike.

    `pieces` holds (start, stop, row) for each chunk that is touched: its rows `start` to `stop` belong at row `row` of
    the answer. `slices` cuts all of such a chunk, in order, into rows of the answer (True, slice) and rows of the chunk
    that are not drawn (False, slice); `partial` are the chunks that have some.
    """

    __slots__ = ("chunks", "partial", "pieces", "shards", "slices")

    def __init__(self, draw: DomainDraw) -> None:
        chunk_points, chunks_per_shard = draw.grid.chunk_points, draw.grid.shard_points // draw.grid.chunk_points
        self.pieces: dict[int, list[tuple[int, int, int]]] = {}
        row = 0
        for chunk, start, stop in draw.rows:
            self.pieces.setdefault(chunk, []).append((start, stop, row))
            row += stop - start
        self.slices: dict[int, list[tuple[bool, slice]]] = {}
        self.partial: set[int] = set()
        for chunk, pieces in self.pieces.items():
            slices = self.slices[chunk] = []
            end = 0
            for start, stop, row in sorted(pieces):
                if end < start:
                    slices.append((False, slice(end, start)))
                slices.append((True, slice(row, row + stop - start)))
                end = stop
            if end < chunk_points:
                slices.append((False, slice(end, chunk_points)))
            if not all(is_drawn for is_drawn, _ in slices):
                self.partial.add(chunk)
        self.chunks = list(self.pieces)
        self.shards = {chunk // chunks_per_shard for chunk in self.chunks}


class Target(NamedTuple):
    """One array of a read: where its rows go, (T, dim), which rows they are, and the chunks that are to be read."""

    sample: OpenSample
    array: ShardedArray
    field: str
    rows: np.ndarray[Any, Any]
    drawn: DrawnRows
    chunks: Sequence[int]

    def place(self, chunk: int, values: np.ndarray[Any, Any]) -> None:
        """Copy the drawn rows of a chunk to where they belong."""
        for start, stop, row in self.drawn.pieces[chunk]:
            self.rows[row : row + stop - start] = values[start:stop]

    def chunk_key(self, chunk: int) -> str:
        """Return what names a chunk among all chunks of a store, in every revision of it."""
        return f"{self.sample.relpath}/{self.array.name}/{chunk}"

    def missing(self, chunk: int) -> ChunkMissing:
        """Build the error for a chunk of it whose shard is gone."""
        return self.sample.missing(self.array, self.field, chunk)


def find_targets(
    sample: OpenSample, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]
) -> Fetching[tuple[list[Target], list[str]]]:
    """Return what is to be read of each array, and the fields that only zarr-python reads.

    The sample's metadata has been read; its indexes are read here.
    """
    drawn_rows = {id(draw): DrawnRows(draw) for draw in plan.draws.values()}
    targets = []
    fallback_fields = []
    missing = []
    for field, draw in plan.arrays.items():
        array, drawn = sample.array(draw), drawn_rows[id(draw.draw)]
        if array is None:
            fallback_fields.append(field)
            continue
        targets.append(Target(sample, array, field, out[field].reshape(-1, array.dim), drawn, drawn.chunks))
        if not drawn.shards <= array.shards.keys():
            missing += [(array, field, shard) for shard in sorted(drawn.shards - array.shards.keys())]
    if missing:
        yield from sample.read_indexes(missing)
    return targets, fallback_fields


def split_targets(targets: Sequence[Target], count: int) -> list[list[Target]]:
    """Return `count` shares of as many chunks, fewer where there are fewer chunks; neighbours stay together."""
    total = sum(len(target.chunks) for target in targets)
    count = min(count, total)
    shares = []
    for number in range(count):
        share = []
        begin, end = (total * each // count for each in (number, number + 1))
        for target in targets:
            chunks = target.chunks[max(begin, 0) : max(end, 0)]
            if chunks:
                share.append(target._replace(chunks=chunks))
            begin, end = begin - len(target.chunks), end - len(target.chunks)
        shares.append(share)
    return shares


def read_local(source: LocalSource, targets: Iterable[Target], cache: ChunkCache | None, *, wait: bool = True) -> bool:
    """Read chunks from open files, and tell whether they all are in place; without `wait` some may have to wait."""
    for target in targets:
        rows = target.rows
        left: Sequence[int] | None = target.chunks
        is_plain = target.array.decoder.crc_bytes is not None
        if cache is None and is_plain and rows.dtype == target.array.dtype and rows.flags.c_contiguous:
            left = _read_in_place(source, target, wait=wait)
        if left is None or not all(_read_aside(source, target, chunk, cache, wait=wait) for chunk in left):
            return False
    return True


_Read = tuple[int, int, list[memoryview], list[tuple[int, list[memoryview], memoryview]]]
"""Chunks that lie side by side: their shard, where they begin, buffers for it all; each chunk's rows and checksum."""


def _read_in_place(source: LocalSource, target: Target, *, wait: bool) -> list[int] | None:
    """Read the rows of chunks that are stored as they are to where they belong, and return the chunks that are left.

    Left are those that are not stored, and those whose bytes are not what they should be. None if some would have to
    be waited for, and must not.
    """
    decoder, table = target.array.decoder, target.array.table
    stored_bytes = decoder.nbytes + (decoder.crc_bytes or 0)
    reads, left = _find_reads(target, stored_bytes)
    open_shard, file = -1, None
    for shard, offset, buffers, chunks in reads:
        if shard != open_shard:
            open_shard, file = shard, _open_shard(source, target, shard, wait=wait)
        nbytes = stored_bytes * len(chunks)
        if file is None or file.read_into(buffers, offset, nbytes, wait=wait) < nbytes:
            if not wait:
                return None
            left += [chunk for chunk, _, _ in chunks]
            continue
        for chunk, views, stored in chunks:
            checksum = 0
            for view in views:
                checksum = crc32c(view, checksum)
            if (stored and checksum != int.from_bytes(stored, "little")) or (table and checksum != table[chunk]):
                left.append(chunk)
    return left


def _find_reads(target: Target, stored_bytes: int) -> tuple[list[_Read], list[int]]:
    """Return how to read the chunks of an array in place, and those that are not stored, or not as they are."""
    array, slices, partial = target.array, target.drawn.slices, target.drawn.partial
    chunks_per_shard, crc_bytes = array.chunks_per_shard, stored_bytes - array.decoder.nbytes
    most_chunks = min(max(_READ_BYTES // stored_bytes, 1), _READ_CHUNKS)
    drawn = target.rows.data
    undrawn = np.empty((array.chunk_points, array.dim), array.dtype).data if partial else drawn
    checksums = memoryview(bytearray(crc_bytes * len(target.chunks)))
    at_checksum = 0
    reads: list[_Read] = []
    left: list[int] = []
    buffers: list[memoryview] = []
    chunks: list[tuple[int, list[memoryview], memoryview]] = []
    shard = next_offset = -1
    for chunk in target.chunks:
        shard_of_chunk, slot = divmod(chunk, chunks_per_shard)
        if shard_of_chunk != shard:
            shard, next_offset = shard_of_chunk, -1
            _, offsets, sizes = array.shards[shard]
        if sizes[slot] != stored_bytes:
            left.append(chunk)
            continue
        views = [drawn[rows] if is_drawn else undrawn[rows] for is_drawn, rows in slices[chunk]]
        stored = checksums[at_checksum : at_checksum + crc_bytes]
        at_checksum += crc_bytes
        offset = offsets[slot]
        if offset == next_offset and len(chunks) < most_chunks:
            buffers += views
            chunks.append((chunk, views, stored))
        else:
            buffers, chunks = views.copy(), [(chunk, views, stored)]
            reads.append((shard, offset, buffers, chunks))
        if crc_bytes:
            buffers.append(stored)
        # What takes the rows that are not drawn takes those of one chunk a read.
        next_offset = -1 if chunk in partial else offset + stored_bytes
    return reads, left


def _read_aside(source: LocalSource, target: Target, chunk: int, cache: ChunkCache | None, *, wait: bool) -> bool:
    """Read a chunk from an open file, decode it and put its rows in place; tells what `read_local` tells."""
    place = _settle(target, chunk, cache)
    if place is None:
        return True
    file = _open_shard(source, target, chunk // target.array.chunks_per_shard, wait=wait)
    if file is None:
        return False
    data = np.empty(place.nbytes, np.uint8).data
    done = file.read_into([data], place.offset, place.nbytes, wait=wait)
    if done < place.nbytes and not wait:
        return False
    _finish(target, place, data[:done], cache)
    return True


def _open_shard(source: LocalSource, target: Target, shard: int, *, wait: bool) -> OpenFile | None:
    key, chunks_per_shard = target.array.shards[shard].key, target.array.chunks_per_shard
    if not wait:
        return source.find_open(key)
    try:
        return source.open(key)
    except FileNotFoundError as error:
        raise target.missing(next(each for each in target.chunks if each // chunks_per_shard == shard)) from error


def _settle(target: Target, chunk: int, cache: ChunkCache | None) -> ChunkPlace | None:
    """Return where the bytes of a chunk are to be read, None if nothing is: its rows are in place.

    Nothing is to be read of a chunk that is still decoded, and of one of nothing but the fill value.
    """
    array = target.array
    values = None if cache is None else cache.get(target.chunk_key(chunk))
    if values is None:
        place = target.sample.place(array, target.field, chunk)
        if place.nbytes:
            return place
        fill_value = np.array(array.fill_value, array.dtype)
        values = np.broadcast_to(fill_value, (array.chunk_points, array.dim))
    target.place(chunk, values)
    return None


def _finish(target: Target, place: ChunkPlace, encoded: memoryview, cache: ChunkCache | None) -> None:
    """Decode a chunk and put its rows where they belong. Raises ChunkDamaged."""
    values = target.sample.rows(target.array, target.field, place, encoded)
    target.place(place.chunk, values)
    if cache is not None:
        # A view would keep all that was fetched along with it in memory.
        held = values.copy() if target.array.decoder.is_plain else values
        cache.put(target.chunk_key(place.chunk), held, held.nbytes)


class Run(NamedTuple):
    """Chunks of one array that lie side by side in one object, to be fetched together."""

    target: Target
    span: Span
    places: list[ChunkPlace]


def find_runs(targets: Iterable[Target], cache: ChunkCache | None, most_bytes: int) -> list[Run]:
    """Return what is to be fetched: chunks that lie side by side together, up to `most_bytes`, and never a gap."""
    runs: list[Run] = []
    for target in targets:
        settled = (_settle(target, chunk, cache) for chunk in target.chunks)
        begin = len(runs)
        for place in sorted((place for place in settled if place is not None), key=lambda place: place[1:]):
            if len(runs) > begin:
                (key, start, nbytes, _), places = runs[-1].span, runs[-1].places
                assert nbytes is not None
                if key == place.key and start + nbytes == place.offset and nbytes + place.nbytes <= most_bytes:
                    places.append(place)
                    runs[-1] = Run(target, Span(key, start, nbytes + place.nbytes), places)
                    continue
            runs.append(Run(target, Span(place.key, place.offset, place.nbytes), [place]))
    return runs


def fetch_runs(source: Source, runs: list[Run], cache: ChunkCache | None) -> None:
    """Fetch and decode the chunks of `runs`, and put their rows where they belong."""
    try:
        place_runs(runs, source.fetch([run.span for run in runs]), cache)
    except FileNotFoundError as error:
        raise find_lost(runs, error) from error


def place_runs(runs: list[Run], fetched: Iterable[Buffer], cache: ChunkCache | None) -> None:
    """Decode the chunks of `runs` and put their rows where they belong."""
    for run, data in zip(runs, fetched, strict=True):
        view = memoryview(data)
        for place in run.places:
            begin = place.offset - run.span.start
            try:
                _finish(run.target, place, view[begin : begin + place.nbytes], cache)
            except DataDamaged:
                run.target.sample.source.forget(run.span for run in runs)
                raise


def find_lost(runs: list[Run], error: FileNotFoundError) -> ChunkMissing:
    """Return the error for the object that is gone, which `error` names, whichever was being waited for."""
    lost = next(run for run in runs if run.span.key == str(error))
    return lost.target.missing(lost.places[0].chunk)
