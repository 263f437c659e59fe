"""Seeds: what is one, and how far a generator moves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drawpoint.draw.seeds import MAX_SEED, check_count, check_part, check_seed, fresh_seed, resolve_seed
from drawpoint.errors import InvalidDraw, SampleNotFound
from drawpoint_store import ZarrChunkReader
from small import same


@given(st.integers(0, MAX_SEED))
def test_every_integer_of_63_bits_is_a_seed_and_a_part(number: int) -> None:
    assert check_seed(number) == check_part(number) == resolve_seed(number, None) == number


@pytest.mark.parametrize(
    "bad", [-1, 2**63, True, 1.0, "3", None, [1], np.True_, np.float32(4), 3 + 0j, pytest.param(10**5000, id="long")]
)
@pytest.mark.parametrize("check", [check_seed, check_part, lambda bad: check_count("surface", bad)])
def test_nothing_else_is_a_seed_a_part_or_a_count(check: Callable[[Any], int], bad: Any) -> None:
    with pytest.raises(InvalidDraw, match="must be an integer in ") as caught:
        check(bad)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", [np.int16, np.uint64, np.int64, torch.tensor, np.array])
def test_integers_of_numpy_and_torch_become_plain_ones(kind: Callable[[int], Any]) -> None:
    assert type(check_seed(kind(7))) is int
    assert check_seed(kind(7)) == check_count("surface", kind(7)) == 7


def test_fresh_seeds_differ_and_are_seeds() -> None:
    seeds = {fresh_seed() for _ in range(100)}
    assert len(seeds) == 100
    assert all(check_seed(seed) == seed for seed in seeds)


def test_a_generator_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidDraw, match=r"torch\.Generator, not Generator"):
        resolve_seed(None, np.random.default_rng())  # type: ignore[arg-type]  # what is refused


CALLS: dict[str, Callable[[ZarrChunkReader, torch.Generator], Any]] = {
    "a draw": lambda reader, g: reader.read_sample("param0/run", {"surface": 10, "volume": 10}, generator=g),
    "a full read": lambda reader, g: reader.read_sample("param0/run", generator=g),
    "one field": lambda reader, g: reader.read_sample("param0/run", {"surface": 10}, g, ["surface_area"]),
    "an explicit seed": lambda reader, g: reader.read_sample("param0/run", {"surface": 10}, generator=g, seed=3),
    "a part": lambda reader, g: reader.read_sample("param0/run", {"surface": 10}, generator=g, seed=3, part=1),
    "coordinates": lambda reader, g: reader.read_coords("param0/run", "surface", 10, generator=g),
    "all coordinates": lambda reader, g: reader.read_coords("param0/run", "surface", None, g),
    "coordinates with a seed": lambda reader, g: reader.read_coords("param0/run", "surface", 10, g, seed=3),
    "an unknown sample": lambda reader, g: reader.read_sample("param9/run", generator=g),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_generator_advances_by_one_draw_a_call(store_root: Path, call: str) -> None:
    generator, expected = (torch.Generator().manual_seed(5) for _ in range(2))
    resolve_seed(None, expected)
    with pytest.raises(SampleNotFound) if call == "an unknown sample" else nullcontext():
        CALLS[call](ZarrChunkReader(store_root), generator)
    assert torch.equal(generator.get_state(), expected.get_state())


def test_a_generator_draws_what_its_number_draws_as_a_seed_and_leaves_the_global_one_alone(store_root: Path) -> None:
    before = torch.get_rng_state()
    reader = ZarrChunkReader(store_root)
    seed = resolve_seed(None, torch.Generator().manual_seed(5))
    drawn = reader.read_sample("param0/run", {"surface": 50}, torch.Generator().manual_seed(5), ["surface_area"])
    assert same(drawn, reader.read_sample("param0/run", {"surface": 50}, fields=["surface_area"], seed=seed))
    reader.read_sample("param0/run", {"surface": 50})
    assert torch.equal(torch.get_rng_state(), before)
