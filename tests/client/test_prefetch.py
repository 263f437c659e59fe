"""Reads ahead give what reads one by one give, and leave nothing behind."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

import drawpoint
from drawpoint import errors
from drawpoint_store import ZarrChunkReader
from live import LiveService

from .conftest import OpenStore, assert_equal

SAMPLE = "param0/run"
COUNTS = {"surface": 30, "volume": 50}


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("drawpoint-prefetch")] == []


@pytest.mark.usefixtures("no_thread_is_left")
class TestReadsAhead:
    def test_come_in_order_and_equal(self, service: LiveService, local: ZarrChunkReader, open_store: OpenStore) -> None:
        reader = open_store(service.url)
        seeds = list(range(30))
        found = drawpoint.prefetch(lambda seed: reader.read_sample(SAMPLE, COUNTS, seed=seed), seeds)
        for seed, drawn in zip(seeds, found, strict=True):
            assert_equal(drawn, local.read_sample(SAMPLE, COUNTS, seed=seed))

    @pytest.mark.parametrize("in_flight", [1, 3])
    def test_are_in_flight_as_many_as_allowed_and_no_more(self, in_flight: int) -> None:
        under_way: set[int] = set()
        most = 0
        changed = threading.Condition()
        full = threading.Barrier(in_flight)

        def read(number: int) -> int:
            nonlocal most
            with changed:
                under_way.add(number)
                most = max(most, len(under_way))
            full.wait(30)  # passes only when as many as allowed are under way
            with changed:
                under_way.discard(number)
            return number

        assert list(drawpoint.prefetch(read, range(6 * in_flight), in_flight=in_flight)) == list(range(6 * in_flight))
        assert most == in_flight

    def test_go_on_while_a_result_is_used_and_take_no_more_requests_than_needed(self) -> None:
        taken = []
        read_last = threading.Event()

        def requests() -> Iterator[int]:
            for number in itertools.count():
                taken.append(number)
                yield number

        def read(number: int) -> int:
            if number == 3:
                read_last.set()
            return number

        results = drawpoint.prefetch(read, requests(), in_flight=3)
        assert next(results) == 0
        assert read_last.wait(30)  # read ahead, while nobody asks for more
        assert taken == [0, 1, 2, 3]
        assert next(results) == 1
        assert taken == [0, 1, 2, 3, 4]
        del results

    def test_end_with_the_loop_that_breaks(self) -> None:
        for number in drawpoint.prefetch(lambda number: number, itertools.count()):
            if number == 10:
                break

    def test_raise_in_its_place_what_a_read_raises(self, service: LiveService) -> None:
        with drawpoint.connect(service.url) as connection:
            reader = connection.store("made")
            found = drawpoint.prefetch(
                lambda sample_id: reader.read_sample(sample_id, COUNTS, seed=1), [SAMPLE, SAMPLE, "nothing", SAMPLE]
            )
            assert len(next(found)) == len(next(found)) == 10
            with pytest.raises(errors.SampleNotFound):
                next(found)
            assert list(found) == []

    def test_need_at_least_one_in_flight(self) -> None:
        with pytest.raises(ValueError, match=">= 1, not 0"):
            drawpoint.prefetch(len, [], in_flight=0)
