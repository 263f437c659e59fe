"""Chunks of local files: read in place where they are stored as they are, else decoded aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from crc32c import crc32c

from drawpoint_store.reading.chunks import finish, settle

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drawpoint_store.reading.chunks import ChunkCache
    from drawpoint_store.reading.targets import Target
    from drawpoint_store.storage.open_files import LocalSource, OpenFile

_READ_BYTES = 2**18
"""Chunks that lie side by side are read in place in one call, up to so many bytes: what a core's cache holds."""

_READ_CHUNKS = 256
"""The chunks of such a call: the system takes 1,024 buffers, and a chunk has a few."""


def read_local(source: LocalSource, targets: Iterable[Target], cache: ChunkCache | None, *, wait: bool = True) -> bool:
    """Read chunks from open files, and tell whether they all are in place; without `wait` some may have to wait."""
    for target in targets:
        rows, left = target.rows, target.chunks
        is_as_asked = target.array.decoder.crc_bytes is not None and rows.dtype == target.array.dtype
        if cache is None and is_as_asked and rows.flags.c_contiguous:
            found = _read_in_place(source, target, wait=wait)
            if found is None:
                return False
            left = found
        if left and not _read_aside(source, target, left, cache, wait=wait):
            return False
    return True


def _read_in_place(source: LocalSource, target: Target, *, wait: bool) -> list[int] | None:
    """Read the rows of chunks that are stored as they are to where they belong, and return the chunks that are left.

    Left are those that are not stored, and those whose bytes are not what they should be. None if some would have to
    be waited for, and must not.
    """
    array, chunks = target.array, target.chunks
    slices, partial = target.drawn.slices, target.drawn.partial
    crc_bytes = array.decoder.crc_bytes or 0
    stored_bytes = array.decoder.nbytes + crc_bytes
    most_bytes = min(_READ_BYTES, _READ_CHUNKS * stored_bytes)
    _, offsets, sizes = array.shards[target.shard]
    first = target.shard * array.chunks_per_shard
    drawn = target.rows.data
    undrawn = np.empty((array.chunk_points, array.dim), array.dtype).data if partial else drawn
    file = None
    left: list[int] = []
    number, count = 0, len(chunks)
    while number < count:
        chunk = chunks[number]
        number += 1
        if sizes[chunk - first] != stored_bytes:
            left.append(chunk)
            continue
        begin = offsets[chunk - first]
        end = begin + stored_bytes
        together = [chunk]
        # What takes the rows that are not drawn takes those of one chunk a read.
        while number < count and chunk not in partial and end + stored_bytes - begin <= most_bytes:
            chunk = chunks[number]
            if offsets[chunk - first] != end or sizes[chunk - first] != stored_bytes:
                break
            together.append(chunk)
            number += 1
            end += stored_bytes
        buffers: list[memoryview | bytearray] = []
        for chunk in together:
            for is_drawn, rows in slices[chunk]:
                buffers.append(drawn[rows] if is_drawn else undrawn[rows])
            if crc_bytes:
                buffers.append(bytearray(crc_bytes))
        file = file or _open_shard(source, target, wait=wait)
        if file is not None and file.read_into(buffers, begin, end - begin, wait=wait) == end - begin:
            left += _find_damaged(target, together, buffers)
        elif wait:
            left += together
        else:
            return None
    return left


def _find_damaged(target: Target, chunks: Sequence[int], buffers: Iterable[memoryview | bytearray]) -> list[int]:
    """Return those of the chunks that were read into these buffers whose bytes are not what they should be."""
    slices, table, crc_bytes = target.drawn.slices, target.array.table, target.array.decoder.crc_bytes
    damaged = []
    views = iter(buffers)
    for chunk in chunks:
        checksum = 0
        for _ in slices[chunk]:
            checksum = crc32c(next(views), checksum)
        if (crc_bytes and checksum != int.from_bytes(next(views), "little")) or (table and checksum != table[chunk]):
            damaged.append(chunk)
    return damaged


def _read_aside(
    source: LocalSource, target: Target, chunks: Sequence[int], cache: ChunkCache | None, *, wait: bool
) -> bool:
    """Read chunks from an open file, decode them and put their rows in place; tells what `read_local` tells."""
    file = None
    for chunk in chunks:
        place = settle(target, chunk, cache)
        if place is None:
            continue
        file = file or _open_shard(source, target, wait=wait)
        if file is None:
            return False
        data = np.empty(place.nbytes, np.uint8).data
        done = file.read_into([data], place.offset, place.nbytes, wait=wait)
        if done < place.nbytes and not wait:
            return False
        finish(target, place, data[:done], cache)
    return True


def _open_shard(source: LocalSource, target: Target, *, wait: bool) -> OpenFile | None:
    key = target.array.shards[target.shard].key
    if not wait:
        return source.find_open(key)
    try:
        return source.open(key)
    except FileNotFoundError as error:
        raise target.missing(target.chunks[0]) from error
