"""What is to be fetched of chunks, and where their rows belong; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from drawpoint_store.storage.sources import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from drawpoint_store.reading.arrays import ShardedArray
    from drawpoint_store.reading.plan import DomainDraw
    from drawpoint_store.reading.sample import ChunkPlace, OpenSample


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
        """Put the drawn rows of a chunk where they belong."""
        for row, start, stop in self.destinations[chunk]:
            self.rows[row : row + stop - start] = values[start:stop]


class Run(NamedTuple):
    """Chunks of one array that lie side by side in one object."""

    target: Target
    span: Span
    places: list[ChunkPlace]


def find_destinations(draw: DomainDraw) -> dict[int, list[Destination]]:
    """Return where the drawn rows of each chunk belong in the answer."""
    destinations: dict[int, list[Destination]] = {}
    row = 0
    for chunk, start, stop in draw.rows:
        destinations.setdefault(chunk, []).append(Destination(row, start, stop))
        row += stop - start
    return destinations


def join_chunks(sample: OpenSample, target: Target, chunks: Iterable[int], most_bytes: int) -> Iterator[Run]:
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
