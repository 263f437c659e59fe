"""The order of an epoch depends on seed and epoch, is shared equally by ranks, and resumes anywhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawpoint import ResumableSampler
from drawpoint.errors import InvalidDraw, InvalidParameter

LENGTHS = st.integers(1, 60)
WORLDS = st.integers(1, 7)
EPOCHS = st.integers(0, 2**63 - 1)


def ranks(length: int, world_size: int, **options: Any) -> list[ResumableSampler]:
    return [ResumableSampler(range(length), rank=rank, world_size=world_size, **options) for rank in range(world_size)]


@given(LENGTHS, WORLDS, EPOCHS, st.booleans(), st.booleans())
def test_ranks_share_every_index_equally(
    length: int, world_size: int, epoch: int, shuffle: bool, drop_last: bool
) -> None:
    samplers = ranks(length, world_size, shuffle=shuffle, drop_last=drop_last)
    for sampler in samplers:
        sampler.set_epoch(epoch)
    seen = [list(sampler) for sampler in samplers]
    assert {len(each) for each in seen} == {len(sampler) for sampler in samplers}
    flat = [index for each in seen for index in each]
    if drop_last:
        assert len(set(flat)) == len(flat) == length // world_size * world_size
    else:
        assert set(flat) == set(range(length))
        assert len(flat) == -(-length // world_size) * world_size
    if not shuffle:
        assert seen[0] == list(range(0, length, world_size))[: len(seen[0])]


def test_orders_differ_by_epoch_and_seed_and_are_golden() -> None:
    first, other = ResumableSampler(range(10)), ResumableSampler(range(10), seed=1)
    golden = [4, 6, 7, 5, 3, 8, 0, 9, 1, 2]
    assert list(first) == list(first) == golden
    first.set_epoch(1)
    assert len({tuple(first), tuple(other), tuple(golden)}) == 3


@given(LENGTHS, WORLDS, EPOCHS, st.data())
def test_a_resumed_epoch_gives_the_rest(length: int, world_size: int, epoch: int, data: st.DataObject) -> None:
    for sampler in ranks(length, world_size, seed=3):
        sampler.set_epoch(epoch)
        whole = list(sampler)
        taken = data.draw(st.integers(0, len(whole)))
        sampler.advance(taken)
        assert list(sampler) == whole[taken:]
        twin = ResumableSampler(range(length), rank=sampler.rank, world_size=world_size, seed=3)
        twin.load_state_dict(sampler.state_dict())
        assert list(twin) == whole[taken:]
        assert twin.state_dict() == sampler.state_dict()


def test_set_epoch_goes_on_with_the_present_epoch_and_begins_another() -> None:
    sampler = ResumableSampler(range(5), shuffle=False)
    sampler.advance(2)
    sampler.set_epoch(0)
    assert list(sampler) == [2, 3, 4]
    sampler.set_epoch(1)
    assert list(sampler) == [0, 1, 2, 3, 4]


@given(LENGTHS, WORLDS, WORLDS, st.data())
def test_another_number_of_ranks_may_resume(length: int, before: int, after: int, data: st.DataObject) -> None:
    first = ranks(length, before)
    steps = data.draw(st.integers(0, length // before))
    seen = []
    for sampler in first:
        seen.extend(list(sampler)[:steps])
        sampler.advance(steps)
    states = [sampler.state_dict() for sampler in first]
    assert all(state == states[0] for state in states)
    rest: list[int] = []
    for sampler in ranks(length, after):
        sampler.load_state_dict(states[0])
        rest.extend(sampler)
    assert sorted({*seen, *rest}) == list(range(length))
    assert len(rest) - (length - len(seen)) == -(length - len(seen)) % after  # nothing twice but what fills up


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"done": 9}, r"the state's done must be an integer in 0\.\.8, not 9"),
        ({"done": -1}, "the state's done"),
        ({"epoch": -1}, "the state's epoch"),
        ({"epoch": "2"}, "the state's epoch"),
        ({"seed": 4}, "seed"),
        ({"n_samples": 9}, "n_samples"),
        ({"version": 2}, "version"),
    ],
)
def test_an_invalid_state_is_refused_and_changes_nothing(change: dict[str, Any], named: str) -> None:
    sampler = ResumableSampler(range(8))
    sampler.advance(3)
    before = sampler.state_dict()
    with pytest.raises(InvalidParameter, match=named):
        sampler.load_state_dict(before | change)
    assert sampler.state_dict() == before


def test_an_incomplete_state_is_refused_with_what_it_lacks() -> None:
    sampler = ResumableSampler(range(8))
    state = sampler.state_dict()
    del state["epoch"]
    with pytest.raises(InvalidParameter, match="the state has no epoch; load what state_dict returned"):
        sampler.load_state_dict(state)
    others: list[Any] = [None, {}, [1]]
    for other in others:
        with pytest.raises(InvalidParameter, match="the state has no "):
            sampler.load_state_dict(other)


def test_invalid_numbers_are_refused() -> None:
    others: list[Any] = [2, "1"]
    for other in others:
        with pytest.raises(InvalidParameter, match="rank"):
            ResumableSampler(range(3), rank=other, world_size=2)
    with pytest.raises(InvalidDraw, match=r"^world_size must be an integer in 1"):
        ResumableSampler(range(3), world_size=0)
    with pytest.raises(InvalidParameter, match="count"):
        ResumableSampler(range(3)).advance(4)
    with pytest.raises(InvalidDraw, match=r"^epoch must be an integer in 0"):
        ResumableSampler(range(3)).set_epoch(-1)
