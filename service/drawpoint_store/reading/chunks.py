"""Chunks: fetched, checked against their places, decoded, and their rows put where they belong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from drawpoint.errors import DataDamaged
from drawpoint_store.reading.memory_cache import ByteBoundedCache
from drawpoint_store.storage.byte_sources import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drawpoint.errors import ChunkMissing
    from drawpoint_store.reading.open_sample import ChunkPlace
    from drawpoint_store.reading.targets import Target
    from drawpoint_store.storage.byte_sources import Buffer, Source


ChunkCache = ByteBoundedCache[np.ndarray[Any, Any]]
"""Decoded chunks by `Target.chunk_key`."""


def settle(target: Target, chunk: int, cache: ChunkCache | None) -> ChunkPlace | None:
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


def finish(target: Target, place: ChunkPlace, encoded: memoryview, cache: ChunkCache | None) -> None:
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
        settled = (settle(target, chunk, cache) for chunk in target.chunks)
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
                finish(run.target, place, view[begin : begin + place.nbytes], cache)
            except DataDamaged:
                run.target.sample.source.forget(run.span for run in runs)
                raise


def find_lost(runs: list[Run], error: FileNotFoundError) -> ChunkMissing:
    """Return the error for the object that is gone, which `error` names, whichever was being waited for."""
    lost = next(run for run in runs if run.span.key == str(error))
    return lost.target.missing(lost.places[0].chunk)
