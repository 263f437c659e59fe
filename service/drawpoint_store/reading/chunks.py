"""Chunks: what is to be fetched of them, and their rows, decoded and put where they belong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from drawpoint.errors import DataDamaged
from drawpoint_store.reading.memory_cache import ByteBoundedCache
from drawpoint_store.storage.byte_sources import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from drawpoint.errors import ChunkMissing
    from drawpoint_store.reading.arrays import ShardedArray
    from drawpoint_store.reading.open_sample import ChunkPlace, OpenSample
    from drawpoint_store.reading.plan import DomainDraw, ReadPlan
    from drawpoint_store.storage.byte_sources import Buffer, Fetching


ChunkCache = ByteBoundedCache["np.ndarray[Any, Any]"]
"""Decoded chunks by OpenSample.chunk_key."""


class Destination(NamedTuple):
    """Rows `start` to `stop` of a chunk belong at row `row` of the answer."""

    row: int
    start: int
    stop: int


class Target(NamedTuple):
    """One array of a read: how it is stored, what it is called, and which chunks' rows belong where in `rows`."""

    array: ShardedArray
    field: str
    rows: np.ndarray[Any, Any]
    destinations: dict[int, list[Destination]]

    def place(self, chunk: int, values: np.ndarray[Any, Any]) -> None:
        """Copy the drawn rows of a chunk to where they belong."""
        for row, start, stop in self.destinations[chunk]:
            self.rows[row : row + stop - start] = values[start:stop]


class Run(NamedTuple):
    """Chunks of one array that lie side by side in one object."""

    target: Target
    span: Span
    places: list[ChunkPlace]


def find_runs(
    sample: OpenSample,
    plan: ReadPlan,
    out: Mapping[str, np.ndarray[Any, Any]],
    cache: ChunkCache | None,
    most_bytes: int,
) -> Fetching[tuple[list[Run], list[str]]]:
    """Return what is to be fetched of the chunks, in runs of `most_bytes`, and the fields that only zarr-python reads.

    The sample's metadata has been read; its indexes are read here. What `cache` holds goes to its place in `out`.
    """
    direct: list[tuple[str, DomainDraw, ShardedArray, np.ndarray[Any, Any]]] = []
    fallback_fields = []
    for field, draw in plan.arrays.items():
        array = sample.array(draw)
        if array is None:
            fallback_fields.append(field)
        else:
            direct.append((field, draw.draw, array, out[field]))
    yield from sample.read_indexes(
        [
            (array, field, sorted({rows.chunk // array.chunks_per_shard for rows in draw.rows}))
            for field, draw, array, _ in direct
        ]
    )
    destinations = {id(draw): _find_destinations(draw) for draw in plan.draws.values()}
    runs: list[Run] = []
    for field, rows, array, filled in direct:
        target = Target(array, field, filled.reshape(-1, array.dim), destinations[id(rows)])
        wanted = target.destinations if cache is None else _place_cached(sample, target, cache)
        runs += _join_chunks(sample, target, wanted, most_bytes)
    return runs, fallback_fields


def _find_destinations(draw: DomainDraw) -> dict[int, list[Destination]]:
    """Return where the drawn rows of each chunk belong in the answer."""
    destinations: dict[int, list[Destination]] = {}
    row = 0
    for chunk, start, stop in draw.rows:
        destinations.setdefault(chunk, []).append(Destination(row, start, stop))
        row += stop - start
    return destinations


def _join_chunks(sample: OpenSample, target: Target, chunks: Iterable[int], most_bytes: int) -> Iterator[Run]:
    """Return what to fetch of one array, chunks that lie side by side together; gaps are never fetched.

    Chunks that the index declares absent are nothing but the fill value, and are put in place here.
    """
    array = target.array
    run: Run | None = None
    for place in sorted(sample.places(array, target.field, chunks), key=lambda place: place[1:]):
        if place.nbytes == 0:
            fill_value = np.array(array.fill_value, array.dtype)
            target.place(place.chunk, np.broadcast_to(fill_value, (array.chunk_points, array.dim)))
            continue
        if run is not None and run.span.key == place.key:
            _, start, nbytes, _ = run.span
            assert nbytes is not None
            if place.offset == start + nbytes and nbytes + place.nbytes <= most_bytes:
                run.places.append(place)
                run = run._replace(span=Span(place.key, start, nbytes + place.nbytes))
                continue
        if run is not None:
            yield run
        run = Run(target, Span(place.key, place.offset, place.nbytes), [place])
    if run is not None:
        yield run


def _place_cached(sample: OpenSample, target: Target, cache: ChunkCache) -> list[int]:
    """Put the rows of chunks that are still decoded where they belong, and return the chunks that are not."""
    wanted = []
    for chunk in target.destinations:
        values = cache.get(sample.chunk_key(target.array, chunk))
        if values is None:
            wanted.append(chunk)
        else:
            target.place(chunk, values)
    return wanted


def read_runs(sample: OpenSample, runs: list[Run], cache: ChunkCache | None) -> None:
    """Fetch and decode the chunks of `runs`, and put their rows where they belong."""
    try:
        place_runs(sample, runs, sample.source.fetch([run.span for run in runs]), cache)
    except FileNotFoundError as error:
        raise find_lost(sample, runs, error) from error


def place_runs(sample: OpenSample, runs: list[Run], fetched: Iterable[Buffer], cache: ChunkCache | None) -> None:
    """Decode the chunks of `runs` and put their rows where they belong."""
    for run, data in zip(runs, fetched, strict=True):
        target, view = run.target, memoryview(data)
        for place in run.places:
            begin = place.offset - run.span.start
            try:
                values = sample.rows(target.array, target.field, place, view[begin : begin + place.nbytes])
            except DataDamaged:
                sample.source.forget(run.span for run in runs)
                raise
            target.place(place.chunk, values)
            if cache is not None:
                # A view would keep all that was fetched along with it in memory.
                held = values.copy() if target.array.decoder.is_plain else values
                cache.put(sample.chunk_key(target.array, place.chunk), held, held.nbytes)


def find_lost(sample: OpenSample, runs: list[Run], error: FileNotFoundError) -> ChunkMissing:
    """Return the error for the object that is gone, which `error` names, whichever was being waited for."""
    lost = next(run for run in runs if run.span.key == str(error))
    return sample.shard_missing(lost.target.array, lost.target.field, lost.places[0])
