"""Targets: the chunks that a plan reads of each array, and where their rows belong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from drawpoint.errors import ChunkMissing
    from drawpoint_store.reading.arrays import ShardedArray
    from drawpoint_store.reading.open_sample import OpenSample
    from drawpoint_store.reading.plan import DomainDraw, ReadPlan
    from drawpoint_store.storage.byte_sources import Fetching


class DrawnRows:
    """The rows drawn of a domain, chunk by chunk, for all of its arrays alike.

    `slices` cuts each chunk that is touched, in order, into rows of the answer (True, slice) and rows of the chunk that
    are not drawn (False, slice); `partial` are the chunks that have some. `shards` are the chunks by their shard.
    """

    __slots__ = ("partial", "shards", "slices")

    def __init__(self, draw: DomainDraw) -> None:
        chunk_points = draw.grid.chunk_points
        chunks_per_shard = draw.grid.shard_points // chunk_points
        self.slices: dict[int, list[tuple[bool, slice]]] = {}
        self.partial: set[int] = set()
        self.shards: dict[int, list[int]] = {}
        cut: dict[int, list[tuple[int, int, int]]] = {}
        row = 0
        for chunk, start, stop in draw.rows:
            end = row + stop - start
            if stop - start == chunk_points:
                self.slices[chunk] = [(True, slice(row, end))]
            else:
                cut.setdefault(chunk, []).append((start, stop, row))
            row = end
        for chunk, pieces in cut.items():
            self.slices[chunk] = self._cut(chunk, sorted(pieces), chunk_points)
        for chunk in self.slices:
            self.shards.setdefault(chunk // chunks_per_shard, []).append(chunk)

    def _cut(self, chunk: int, pieces: list[tuple[int, int, int]], chunk_points: int) -> list[tuple[bool, slice]]:
        """Return the slices of a chunk whose rows `start` to `stop` belong at `row` of the answer, for each piece."""
        slices = []
        end = 0
        for start, stop, row in pieces:
            if end < start:
                slices.append((False, slice(end, start)))
            slices.append((True, slice(row, row + stop - start)))
            end = stop
        if end < chunk_points:
            slices.append((False, slice(end, chunk_points)))
        if len(slices) > len(pieces):
            self.partial.add(chunk)
        return slices


class Target(NamedTuple):
    """One array of a read: where its rows go, (T, dim), which rows they are, and the chunks that are to be read."""

    sample: OpenSample
    array: ShardedArray
    field: str
    rows: np.ndarray[Any, Any]
    drawn: DrawnRows
    shard: int
    chunks: Sequence[int]

    def place(self, chunk: int, values: np.ndarray[Any, Any]) -> None:
        """Copy the drawn rows of a chunk to where they belong."""
        start = 0
        for is_drawn, rows in self.drawn.slices[chunk]:
            stop = start + rows.stop - rows.start
            if is_drawn:
                self.rows[rows] = values[start:stop]
            start = stop

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
        rows, known = out[field].reshape(-1, array.dim), array.shards
        for shard, chunks in drawn.shards.items():
            targets.append(Target(sample, array, field, rows, drawn, shard, chunks))
            if shard not in known:
                missing.append((array, field, shard))
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
