"""What a draw is: version 1 of the rule, as pure functions of seed, sample, domain, stream, grid and count.

A draw of T out of n points costs a few chunks, and shows every point with the same probability T/n. Because the
stored points are already shuffled, whole chunks are random subsets; what needs care is the short last chunk
(the `tail`) and the rows beyond T. With F rows in full chunks, t0 = max(0, T - F) and t1 = min(T, tail):

- take t = t1 rows of the tail with probability (T*tail/n - t0) / (t1 - t0), else t = t0, so that t is T*tail/n on
  average; they are a random cyclic window of the tail;
- take the other T - t rows as a random cyclic window over ceil((T - t) / chunk_points) full chunks drawn without
  replacement.

Randomness comes from `philox`, so that the same seed gives the same rows on any machine and any NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from drawpoint.draw.philox import PhiloxStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drawpoint.format.manifest import DomainSample

DRAW_VERSION = 1
_RULE = f"draw/{DRAW_VERSION}"

Stream = Literal["fields", "coords"]


class RowRange(NamedTuple):
    """Rows `start` to `stop` (exclusive, counted from the chunk's first row) of chunk `chunk`."""

    chunk: int
    start: int
    stop: int


def all_rows(grid: DomainSample) -> tuple[RowRange, ...]:
    """Return every row of a domain, in stored order."""
    return tuple(RowRange(chunk, 0, _chunk_rows(grid, chunk)) for chunk in range(grid.n_chunks))


def draw_rows(
    grid: DomainSample, num_points: int, *, seed: int, sample_id: str, domain: str, stream: Stream
) -> tuple[RowRange, ...]:
    """Return the rows of one random draw of `num_points` distinct rows, in the order of the draw.

    Every row is drawn with probability num_points / n_points, out of at most one chunk more than that many rows
    need. All rows in stored order where `num_points` is n_points or more.
    """
    points, per_chunk = grid.n_points, grid.chunk_points
    if num_points >= points:
        return all_rows(grid)
    random = PhiloxStream(_RULE, stream, seed, sample_id, domain)
    tail = points % per_chunk
    full_chunks = points // per_chunk
    fewest = max(0, num_points - full_chunks * per_chunk)
    most = min(num_points, tail)
    from_tail = fewest
    if most > fewest and random.below(points * (most - fewest)) < num_points * tail - fewest * points:
        from_tail = most
    from_full = num_points - from_tail
    chunks = random.choose(-(-from_full // per_chunk), full_chunks)
    rows = _window(chunks, per_chunk, from_full, random)
    return (*rows, *_window([full_chunks], tail, from_tail, random))


def drawn_points(n_points: int, num_points: int | None, part: int | None = None) -> int:
    """Return how many of `n_points` rows a draw of `num_points` (None: all) has; the last part of a cycle may be short.

    That is told without drawing them: it is what draw_rows gives, and part_rows for a part.
    """
    if num_points is None or num_points >= n_points:
        return n_points
    if part is None:
        return num_points
    return min(num_points, n_points - part % count_parts(n_points, num_points) * num_points)


def count_parts(n_points: int, num_points: int | None) -> int:
    """Return K, the number of parts of `num_points` points that hold each of `n_points` points once."""
    return 1 if num_points is None else -(-n_points // num_points)


def part_rows(
    grid: DomainSample, num_points: int, *, seed: int, part: int, sample_id: str, domain: str
) -> tuple[RowRange, ...]:
    """Return part `part` mod K of cycle `part` div K, where K = ceil(n_points / num_points).

    The K parts of a cycle hold every row exactly once; the last of them is the shorter one. Each cycle permutes the
    full chunks anew. The short last chunk stays at the end of the permutation, so that where num_points is a
    multiple of chunk_points each part is whole chunks.
    """
    if num_points >= grid.n_points:
        return all_rows(grid)
    cycle, index = divmod(part, count_parts(grid.n_points, num_points))
    order = PhiloxStream(_RULE, "parts", seed, cycle, sample_id, domain).permutation(grid.n_points // grid.chunk_points)
    begin = index * num_points
    end = min(begin + num_points, grid.n_points)
    rows = []
    for place in range(begin // grid.chunk_points, -(-end // grid.chunk_points)):
        chunk = int(order[place]) if place < len(order) else len(order)
        first = place * grid.chunk_points
        rows.append(RowRange(chunk, max(begin - first, 0), min(end - first, grid.chunk_points)))
    return tuple(rows)


def count_rows(rows: Iterable[RowRange]) -> int:
    """Return how many rows the ranges hold."""
    return sum(each.stop - each.start for each in rows)


def row_indices(rows: Iterable[RowRange], chunk_points: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the stored row numbers that the ranges hold, in their order (int64)."""
    parts = [np.arange(each.start, each.stop) + each.chunk * chunk_points for each in rows]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _chunk_rows(grid: DomainSample, chunk: int) -> int:
    return min(grid.chunk_points, grid.n_points - chunk * grid.chunk_points)


def _window(chunks: list[int], per_chunk: int, length: int, random: PhiloxStream) -> list[RowRange]:
    """Return a random cyclic window of `length` rows over the concatenated chunks of `per_chunk` rows."""
    if length == 0:
        return []
    place, start = divmod(random.below(len(chunks) * per_chunk), per_chunk)
    window = []
    while length > 0:
        stop = min(start + length, per_chunk)
        window.append(RowRange(chunks[place % len(chunks)], start, stop))
        length -= stop - start
        place, start = place + 1, 0
    return window
