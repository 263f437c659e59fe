"""The draw rule: exact counts, equal inclusion, few chunks, parts that cover, and rows that never change."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chance import binomial_fits, chi_square_fits
from drawpoint.draw.rows import (
    Stream,
    all_rows,
    count_parts,
    count_rows,
    draw_rows,
    drawn_points,
    part_rows,
    row_indices,
)
from drawpoint.format.manifest import DomainSample

SEEDS = st.integers(0, 2**63 - 1)
STREAMS: st.SearchStrategy[Stream] = st.sampled_from(["fields", "coords"])


def grid_of(n_points: int, chunk_points: int) -> DomainSample:
    n_chunks = math.ceil(n_points / chunk_points)
    return DomainSample(
        n_points=n_points, chunk_points=chunk_points, shard_points=n_chunks * chunk_points, n_chunks=n_chunks
    )


# Chunks larger than the sample too: other writers do not cut them down to it.
GRIDS = st.builds(grid_of, st.integers(1, 400), st.integers(1, 120))


def rows_of(
    grid: DomainSample,
    num_points: int,
    *,
    seed: int = 0,
    sample_id: str = "run_1",
    domain: str = "surface",
    stream: Stream = "fields",
) -> list[int]:
    ranges = draw_rows(grid, num_points, seed=seed, sample_id=sample_id, domain=domain, stream=stream)
    return row_indices(ranges, grid.chunk_points).tolist()


@given(GRIDS, st.none() | st.integers(1, 500), st.none() | st.integers(0, 10**6))
def test_how_many_rows_a_draw_has_is_known_before_it_is_drawn(
    grid: DomainSample, num_points: int | None, part: int | None
) -> None:
    if num_points is None:
        ranges = all_rows(grid)
    elif part is None:
        ranges = draw_rows(grid, num_points, seed=1, sample_id="a", domain="d", stream="fields")
    else:
        ranges = part_rows(grid, num_points, seed=1, part=part, sample_id="a", domain="d")
    assert drawn_points(grid.n_points, num_points, part) == count_rows(ranges)


@given(GRIDS, st.integers(1, 500), SEEDS, st.text(max_size=8), STREAMS)
def test_a_draw_is_of_exactly_that_many_distinct_rows_in_range(
    grid: DomainSample, num_points: int, seed: int, sample_id: str, stream: Stream
) -> None:
    ranges = draw_rows(grid, num_points, seed=seed, sample_id=sample_id, domain="surface", stream=stream)
    rows = row_indices(ranges, grid.chunk_points)
    expected = min(num_points, grid.n_points)
    assert len(rows) == len(set(rows.tolist())) == count_rows(ranges) == expected
    assert rows.dtype == np.int64
    assert 0 <= rows.min() <= rows.max() < grid.n_points
    for each in ranges:
        assert 0 <= each.chunk < grid.n_chunks
        assert 0 <= each.start < each.stop <= grid.chunk_points


@given(GRIDS, st.integers(1, 500), SEEDS, STREAMS)
def test_a_draw_reads_at_most_one_chunk_more_than_it_needs(
    grid: DomainSample, num_points: int, seed: int, stream: Stream
) -> None:
    num_points = min(num_points, grid.n_points)
    ranges = draw_rows(grid, num_points, seed=seed, sample_id="s", domain="d", stream=stream)
    assert len({each.chunk for each in ranges}) <= math.ceil(num_points / grid.chunk_points) + 1
    assert len(ranges) <= len({each.chunk for each in ranges}) + 2  # each of the two windows may wrap once


@given(GRIDS, st.integers(0, 200), SEEDS)
def test_a_draw_of_all_rows_or_more_is_all_rows_in_stored_order(grid: DomainSample, beyond: int, seed: int) -> None:
    assert rows_of(grid, grid.n_points + beyond, seed=seed) == list(range(grid.n_points))
    assert row_indices(all_rows(grid), grid.chunk_points).tolist() == list(range(grid.n_points))


# What each claims, as counts of points of the sample, of a chunk and of the draw.
INCLUSION = {
    "no short chunk": (12, 4, 5),
    "one point, tail of 1": (13, 4, 1),
    "tail of 1": (13, 4, 6),
    "tail of 1, just below n": (13, 4, 12),
    "fewer than the tail": (23, 8, 2),
    "exactly one chunk": (22, 8, 8),
    "just above a chunk": (22, 8, 9),
    "more than the full chunks hold": (22, 8, 19),
    "just below n": (22, 8, 21),
    "one chunk, larger than the sample": (10, 16, 3),
    "two chunks, more than the first": (10, 6, 8),
    "chunks of one point": (9, 1, 4),
    "the example of the contract, in small": (41, 16, 14),
}


@pytest.mark.parametrize("case", INCLUSION)
@pytest.mark.parametrize("stream", ["fields", "coords"])
def test_every_point_is_drawn_with_the_same_probability(case: str, stream: Stream) -> None:
    n_points, chunk_points, num_points = INCLUSION[case]
    grid = grid_of(n_points, chunk_points)
    trials = max(1500, 60 * n_points)
    picks = np.random.default_rng(1).integers(num_points, size=trials)
    drawn = np.zeros(n_points)
    picked = np.zeros(n_points)
    for seed in range(trials):
        ranges = draw_rows(grid, num_points, seed=seed, sample_id="run_1", domain="surface", stream=stream)
        rows = row_indices(ranges, chunk_points)
        drawn[rows] += 1
        picked[rows[picks[seed]]] += 1
    # Rows of one draw hang together: each count is binomial by itself, and one row picked from each draw makes
    # independent counts, which are uniform just if inclusion is equal.
    assert binomial_fits(drawn, trials, num_points / n_points)
    assert chi_square_fits(picked, trials / n_points)


def test_every_full_chunk_goes_with_every_other_equally_often() -> None:
    grid = grid_of(5 * 8 + 3, 8)
    pairs: Counter[tuple[int, ...]] = Counter()
    for seed in range(2000):
        ranges = draw_rows(grid, 16, seed=seed, sample_id="s", domain="d", stream="fields")
        chunks = tuple(sorted({each.chunk for each in ranges} - {5}))
        if not any(each.chunk == 5 for each in ranges):
            pairs[chunks] += 1
    assert len(pairs) == 10
    assert chi_square_fits(np.array(list(pairs.values())), sum(pairs.values()) / 10)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"sample_id": "run_2"}, {"domain": "volume"}, {"stream": "coords"}])
def test_all_that_names_a_draw_changes_it(changed: dict[str, Any]) -> None:
    grid = grid_of(100_000, 64)
    assert rows_of(grid, 500, **changed) != rows_of(grid, 500)


@pytest.mark.parametrize("num_points", [1, 4096, 100_000])
def test_the_cost_of_a_draw_grows_with_its_count_alone(num_points: int) -> None:
    # A step for each of these chunks would take hours; so many are more than a manifest may name.
    points = 10**15 + 1
    grid = DomainSample.model_construct(
        n_points=points, chunk_points=4096, shard_points=4096, n_chunks=points // 4096 + 1
    )
    ranges = draw_rows(grid, num_points, seed=3, sample_id="s", domain="d", stream="fields")
    assert count_rows(ranges) == num_points
    assert len(ranges) <= math.ceil(num_points / 4096) + 3


GOLDEN: list[tuple[tuple[int, int, int, int, str, str, Stream], list[tuple[int, int, int]]]] = [
    ((10, 4, 3, 0, "run_1", "surface", "fields"), [(1, 3, 4), (1, 0, 2)]),
    ((10, 4, 3, 0, "run_1", "surface", "coords"), [(0, 0, 1), (2, 1, 2), (2, 0, 1)]),
    ((10, 4, 9, 1, "run_1", "volume", "fields"), [(1, 1, 4), (0, 0, 4), (2, 0, 2)]),
    ((12, 4, 6, 2**63 - 1, "param1/abc/d", "surface", "fields"), [(2, 3, 4), (0, 0, 4), (2, 0, 1)]),
    ((5, 5, 2, 3, "größe/läuft ✓", "surface_stl", "coords"), [(0, 1, 3)]),
    ((1_000_001, 4096, 4097, 42, "run_7", "volume", "fields"), [(220, 2251, 4096), (171, 0, 2252)]),
    ((9, 4, 8, 6, "a", "b", "fields"), [(0, 0, 4), (1, 0, 3), (2, 0, 1)]),
]


@pytest.mark.parametrize(("named", "expected"), GOLDEN)
def test_draws_of_version_1_are_golden(
    named: tuple[int, int, int, int, str, str, Stream], expected: list[tuple[int, int, int]]
) -> None:
    n_points, chunk_points, num_points, seed, sample_id, domain, stream = named
    ranges = draw_rows(
        grid_of(n_points, chunk_points), num_points, seed=seed, sample_id=sample_id, domain=domain, stream=stream
    )
    assert [(each.chunk, each.start, each.stop) for each in ranges] == expected


def part_of(grid: DomainSample, num_points: int, part: int, *, seed: int = 5, sample_id: str = "run_1") -> list[int]:
    ranges = part_rows(grid, num_points, seed=seed, part=part, sample_id=sample_id, domain="surface")
    return row_indices(ranges, grid.chunk_points).tolist()


@given(GRIDS, st.integers(1, 500), SEEDS, st.integers(0, 2**40))
def test_the_parts_of_a_cycle_hold_every_point_once(grid: DomainSample, num_points: int, seed: int, cycle: int) -> None:
    parts = count_parts(grid.n_points, num_points)
    assert parts == math.ceil(grid.n_points / num_points)
    rows = [part_of(grid, num_points, cycle * parts + index, seed=seed) for index in range(parts)]
    assert sorted(row for part in rows for row in part) == list(range(grid.n_points))
    assert all(len(part) == num_points for part in rows[:-1])
    assert 1 <= len(rows[-1]) <= num_points


@given(GRIDS, st.integers(1, 500), SEEDS, st.integers(0, 2**63 - 1))
def test_a_part_reads_as_few_chunks_as_it_can(grid: DomainSample, num_points: int, seed: int, part: int) -> None:
    ranges = part_rows(grid, num_points, seed=seed, part=part, sample_id="s", domain="d")
    chunks = [each.chunk for each in ranges]
    assert len(chunks) == len(set(chunks))
    need = math.ceil(min(num_points, grid.n_points) / grid.chunk_points)
    assert len(chunks) <= need + (num_points % grid.chunk_points > 0)
    for each in ranges:
        assert 0 <= each.start < each.stop <= min(grid.chunk_points, grid.n_points - each.chunk * grid.chunk_points)


def test_each_cycle_groups_the_points_anew() -> None:
    grid = grid_of(1000, 10)
    cycles = [tuple(part_of(grid, 50, cycle * 20)) for cycle in range(30)]
    assert len(set(cycles)) == 30


def test_a_part_of_all_points_is_all_of_them_in_stored_order() -> None:
    assert part_of(grid_of(10, 4), 10, 7) == part_of(grid_of(10, 4), 99, 7) == list(range(10))
    assert count_parts(10, None) == count_parts(10, 10) == count_parts(10, 11) == 1


@pytest.mark.parametrize(
    ("part", "tens", "elevens"),
    [
        (0, [(0, 0, 4)], [(0, 0, 2), (4, 0, 2)]),
        (1, [(1, 0, 4)], [(3, 0, 2), (1, 0, 2)]),
        (2, [(2, 0, 2)], [(2, 0, 2), (5, 0, 1)]),
        (3, [(1, 0, 4)], [(3, 0, 2), (4, 0, 2)]),
        (2**63 - 1, [(1, 0, 4)], [(0, 0, 2), (4, 0, 2)]),
    ],
)
def test_parts_of_version_1_are_golden(
    part: int, tens: list[tuple[int, int, int]], elevens: list[tuple[int, int, int]]
) -> None:
    ten = part_rows(grid_of(10, 4), 4, seed=5, part=part, sample_id="run_1", domain="surface")
    eleven = part_rows(grid_of(11, 2), 4, seed=5, part=part, sample_id="größe/ü", domain="surface")
    assert [(each.chunk, each.start, each.stop) for each in ten] == tens
    assert [(each.chunk, each.start, each.stop) for each in eleven] == elevens
