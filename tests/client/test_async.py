"""Reads that are awaited, and reads ahead, give what blocking reads give, and leave nothing behind."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

import drawpoint
import faulty
from drawpoint import errors
from drawpoint.remote import retry as transport
from drawpoint_store import ZarrChunkReader
from faulty import Fault, FaultyProxy
from live import LiveService

SAMPLE = "param0/run"
COUNTS = {"surface": 30, "volume": 50}
FIELDS = ["surface_pressure", "volume_velocity"]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "BACKOFF_BASE_SECONDS", 0.01)


def assert_equal(found: Any, expected: dict[str, torch.Tensor]) -> None:
    assert isinstance(found, dict), found
    assert list(found) == list(expected)
    assert all(found[name].equal(tensor) for name, tensor in expected.items())


class TestAnAwaitingReader:
    def test_reads_what_the_local_reader_reads(self, service: LiveService, local: ZarrChunkReader) -> None:
        async def read() -> tuple[Any, ...]:
            generator = torch.Generator().manual_seed(5)
            async with drawpoint.connect(service.url).async_store("made") as reader:
                assert isinstance(reader, drawpoint.AsyncRemoteReader)
                assert reader.manifest.revision == local.manifest.revision
                assert (reader.store_id, reader.store_root) == ("made", f"{service.url}/stores/made")
                return (
                    await reader.read_sample(SAMPLE, COUNTS, generator),
                    await reader.read_coords(SAMPLE, "surface", 20, generator),
                    await reader.read_sample(SAMPLE, COUNTS, fields=FIELDS, seed=1, part=2),
                    await reader.read_batch([{"id": SAMPLE, "seed": 3}, "nothing"], COUNTS, coords={"volume": 9}),
                )

        drawn, coords, part, (found, error) = asyncio.run(read())
        generator = torch.Generator().manual_seed(5)
        assert_equal(drawn, local.read_sample(SAMPLE, COUNTS, generator))
        assert coords.equal(local.read_coords(SAMPLE, "surface", 20, generator))
        assert_equal(part, local.read_sample(SAMPLE, COUNTS, fields=FIELDS, seed=1, part=2))
        (expected,) = local.read_batch([{"id": SAMPLE, "seed": 3}], COUNTS, coords={"volume": 9})
        assert isinstance(expected, dict)
        assert_equal(found, expected)
        assert isinstance(error, errors.SampleNotFound)

    def test_has_many_calls_under_way_at_once(self, service: LiveService, local: ZarrChunkReader) -> None:
        async def read() -> list[dict[str, torch.Tensor]]:
            async with drawpoint.connect(service.url).async_store("made") as reader:
                return await asyncio.gather(*(reader.read_sample(SAMPLE, COUNTS, seed=seed) for seed in range(40)))

        for seed, drawn in enumerate(asyncio.run(read())):
            assert_equal(drawn, local.read_sample(SAMPLE, COUNTS, seed=seed))

    @pytest.mark.parametrize(
        "fault",
        [
            *(faulty.reset, faulty.truncate, faulty.hang_up, faulty.babble, faulty.flip, faulty.chunk),
            *(faulty.with_answer(503, {"retry-after": "0"}), faulty.with_header("x-request-id", "of-another")),
        ],
    )
    def test_survives_what_passes(self, proxy: FaultyProxy, local: ZarrChunkReader, fault: Fault) -> None:
        proxy.script += [fault, faulty.send, fault]

        async def read() -> list[Any]:
            async with drawpoint.connect(proxy.url).async_store("made") as reader:
                drawn = await reader.read_sample(SAMPLE, COUNTS, seed=1)
                return [drawn, *await reader.read_batch([{"id": SAMPLE, "seed": 1}], COUNTS)]

        for drawn in asyncio.run(read()):
            assert_equal(drawn, local.read_sample(SAMPLE, COUNTS, seed=1))

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (faulty.hang_up, errors.ServiceUnavailable),
            (faulty.stall, errors.DeadlineExceeded),
            (faulty.drip, errors.DeadlineExceeded),
            (faulty.with_answer(404), errors.RequestFailed),
        ],
    )
    def test_gives_up_with_the_deadline_and_names_the_cause(
        self, proxy: FaultyProxy, fault: Fault, kind: type[errors.RequestFailed]
    ) -> None:
        proxy.always = fault

        async def read() -> None:
            async with drawpoint.connect(proxy.url, deadline=0.5, timeout=None).async_store("made") as reader:
                await reader.read_sample(SAMPLE, COUNTS, seed=1)

        with pytest.raises(kind, match="sample 'param0/run' of store 'made'") as caught:
            asyncio.run(read())
        assert not isinstance(caught.value, errors.SampleNotFound)

    def test_ends_a_call_at_once_that_is_cancelled(self, proxy: FaultyProxy) -> None:
        proxy.always = faulty.stall

        async def read() -> None:
            async with drawpoint.connect(proxy.url).async_store("made") as reader:
                call = asyncio.ensure_future(reader.read_sample(SAMPLE, COUNTS, seed=1))
                while not proxy.draws:  # noqa: ASYNC110  the proxy lives in a thread and sets no asyncio.Event
                    await asyncio.sleep(0)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call

        asyncio.run(asyncio.wait_for(read(), 30))

    def test_sends_what_connect_was_told(self, proxy: FaultyProxy, store_root: Path) -> None:
        async def read(url: str, **options: Any) -> None:
            async with drawpoint.connect(url, **options).async_store("made") as reader:
                await reader.read_sample(SAMPLE, COUNTS, seed=1)

        asyncio.run(read(proxy.url, headers={"x-project": "wings"}))
        assert proxy.draws[-1].headers["x-project"] == "wings"
        with LiveService({"made": store_root}, token="secret") as guarded:
            asyncio.run(read(guarded.url, token="secret"))
            with pytest.raises(errors.AccessDenied):
                asyncio.run(read(guarded.url))
        with httpx.Client() as client, pytest.raises(TypeError, match="give connect\\(\\) options"):
            asyncio.run(read(proxy.url, client=client))

    def test_does_not_travel(self, service: LiveService) -> None:
        async def read() -> None:
            async with drawpoint.connect(service.url).async_store("made") as reader:
                with pytest.raises(TypeError, match="belongs to one event loop"):
                    pickle.dumps(reader)

        asyncio.run(read())

    def test_of_an_unknown_store_is_an_error_with_near_ones(self, service: LiveService) -> None:
        async def read() -> None:
            async with drawpoint.connect(service.url).async_store("mde"):
                raise AssertionError

        with pytest.raises(errors.StoreNotFound, match="near names: made"):
            asyncio.run(read())


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("drawpoint-prefetch")] == []


@pytest.mark.usefixtures("no_thread_is_left")
class TestReadsAhead:
    def test_come_in_order_and_equal(
        self, service: LiveService, local: ZarrChunkReader, open_store: Callable[..., drawpoint.RemoteReader]
    ) -> None:
        reader = open_store(service.url)
        seeds = list(range(30))
        found = drawpoint.prefetch(lambda seed: reader.read_sample(SAMPLE, COUNTS, seed=seed), seeds)
        for seed, drawn in zip(seeds, found, strict=True):
            assert_equal(drawn, local.read_sample(SAMPLE, COUNTS, seed=seed))

    def test_of_batches_are_batches(self, service: LiveService, local: ZarrChunkReader) -> None:
        with drawpoint.connect(service.url) as connection:
            batches = [[{"id": SAMPLE, "seed": 2 * batch + item} for item in range(2)] for batch in range(5)]
            found = drawpoint.prefetch(connection.store("made").read_batch, batches, in_flight=2)
            drawn = [sample for batch in found for sample in batch]
        for seed, sample in enumerate(drawn):
            assert_equal(sample, local.read_sample(SAMPLE, seed=seed))

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

    def test_end_with_the_exception_of_the_training(self) -> None:
        def train() -> None:
            for _ in drawpoint.prefetch(lambda number: number, itertools.count()):
                raise RuntimeError("no convergence")

        with pytest.raises(RuntimeError, match="no convergence"):
            train()

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

    def test_wait_as_a_busy_service_asks(self, proxy: FaultyProxy) -> None:
        proxy.script += [faulty.with_answer(503, {"retry-after": "0"})] * 6
        with drawpoint.connect(proxy.url) as connection:
            reader = connection.store("made")
            found = drawpoint.prefetch(lambda seed: reader.read_coords(SAMPLE, "surface", 5, seed=seed), range(8))
            drawn = [coords.tolist() for coords in found]
            assert drawn == [reader.read_coords(SAMPLE, "surface", 5, seed=seed).tolist() for seed in range(8)]

    def test_need_at_least_one_in_flight(self) -> None:
        with pytest.raises(ValueError, match="1 or more; not 0"):
            drawpoint.prefetch(len, [], in_flight=0)

    def test_of_nothing_are_nothing(self) -> None:
        assert list(drawpoint.prefetch(len, [])) == []
