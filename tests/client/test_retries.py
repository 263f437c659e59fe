"""What may pass is tried again, what is damaged once; and a reader never takes one answer for another."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
import torch

import drawpoint
import faulty
from drawpoint import errors
from drawpoint.remote import retry
from drawpoint_store import ZarrChunkReader
from faulty import Fault, FaultyProxy
from live import LiveService

from .conftest import CALLS, OpenStore, assert_equal

SAMPLE = "param0/run"
COUNTS = {"surface": 300, "volume": 1000}
HTML = {"content-type": "text/html"}

PASSING: dict[str, Fault] = {
    "a reset in the body": faulty.reset,
    "a truncated body": faulty.truncate,
    "a head that ends too soon": faulty.cut_head,
    "a hang-up": faulty.hang_up,
    "no HTTP": faulty.babble,
    "a line without a colon": faulty.with_header("x: y\r\nno colon\r\nz", ""),
    "two lengths": faulty.with_header("content-length: 5\r\ncontent-length", "6"),
    "a head that is too long": faulty.with_header("x-long", "x" * 200_000),
    "503": faulty.with_answer(503, {"retry-after": "0"}, b"busy"),
    "503 until a time that is past": faulty.with_answer(503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "503 until nobody knows when": faulty.with_answer(503, {"retry-after": "soon"}),
    "503 until a year that no clock knows": faulty.with_answer(
        503, {"retry-after": f"Wed, 21 Oct {'9' * 30} 07:28:00 GMT"}
    ),
    "429": faulty.with_answer(429),
    "a gateway's 502": faulty.with_answer(502, HTML, b"<h1>Bad Gateway</h1>"),
    "a gateway's 504": faulty.with_answer(504, HTML, b"<h1>Gateway Timeout</h1>"),
}
DAMAGED: dict[str, Fault] = {
    "a flipped bit": faulty.flip,
    "a wrong digest": faulty.with_header("content-digest", "crc32c=:AAAAAA==:"),
    "no digest": faulty.with_header("content-digest", None),
    "a digest of another kind": faulty.with_header("content-digest", "sha-256=:AAAA:"),
    "the answer to another request": faulty.with_header("x-request-id", "0123456789abcdef"),
    "no request id": faulty.with_header("x-request-id", None),
    "another revision": faulty.with_header("x-drawpoint-revision", "0" * 64),
    "no revision": faulty.with_header("x-drawpoint-revision", None),
    "a page of some portal": faulty.with_answer(200, HTML, b"<h1>Please log in</h1>"),
}
HARMLESS: dict[str, Fault] = {
    "in chunks": faulty.chunk,
    "ended by the connection": faulty.end_with_the_connection,
    "behind interim answers": faulty.hint,
    "by a connection that ends": faulty.with_header("connection", "close"),
    "from a cache": lambda reply: faulty.with_header("x-request-id", "of-the-first-to-ask")(
        replace(reply, headers={**reply.headers, "age": "10"})
    ),
    "with a second digest": lambda reply: faulty.with_header(
        "content-digest", f"sha-256=:AAAA:, {reply.headers['content-digest']}"
    )(reply),
}


def assert_drawn(reader: drawpoint.RemoteReader, local: ZarrChunkReader, seed: int = 5) -> None:
    assert_equal(reader.read_sample(SAMPLE, COUNTS, seed=seed), local.read_sample(SAMPLE, COUNTS, seed=seed))


@pytest.mark.usefixtures("short_pauses")
class TestADrawSurvives:
    @pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
    def test_what_passes(self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore, fault: Fault) -> None:
        reader = open_store(proxy.url)
        proxy.script += [fault, fault, fault]
        assert_drawn(reader, local)
        assert len(proxy.draws) == 4

    @pytest.mark.parametrize("fault", DAMAGED.values(), ids=DAMAGED.keys())
    def test_one_damaged_answer(
        self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore, fault: Fault
    ) -> None:
        reader = open_store(proxy.url)
        proxy.script.append(fault)
        assert_drawn(reader, local)
        assert len(proxy.draws) == 2

    @pytest.mark.parametrize("fault", HARMLESS.values(), ids=HARMLESS.keys())
    def test_an_answer_that_comes_otherwise(
        self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore, fault: Fault
    ) -> None:
        reader = open_store(proxy.url)
        proxy.script.append(fault)
        assert_drawn(reader, local, 5)
        assert_drawn(reader, local, 6)
        assert len(proxy.draws) == 2

    def test_bytes_that_nobody_asked_for(
        self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore
    ) -> None:
        reader = open_store(proxy.url)
        proxy.script.append(faulty.say_more)
        for seed in range(3):
            assert_drawn(reader, local, seed)
        assert proxy.draws[0].port != proxy.draws[-1].port

    def test_connections_that_the_service_has_closed_meanwhile(
        self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore
    ) -> None:
        reader = open_store(proxy.url)
        assert_drawn(reader, local)
        proxy.hang_up_all()
        assert_drawn(reader, local)

    def test_an_outage(
        self,
        service: LiveService,
        local: ZarrChunkReader,
        open_store: OpenStore,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with FaultyProxy(service.url) as proxy:
            reader = open_store(proxy.url)
        monkeypatch.setattr(retry, "FIRST_CONTACT_SECONDS", 0.0)
        pauses: list[float] = []
        with ExitStack() as services:

            def wait(seconds: float) -> None:
                pauses.append(seconds)
                if len(pauses) == 3:
                    services.enter_context(FaultyProxy(service.url, port=proxy.port))

            monkeypatch.setattr(time, "sleep", wait)
            assert_drawn(reader, local)
        assert len(pauses) == 3


class TestAPause:
    @pytest.fixture
    def pauses(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        return pauses

    def test_is_as_long_as_the_service_asks(
        self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore, pauses: list[float]
    ) -> None:
        reader = open_store(proxy.url)
        proxy.script.append(faulty.with_answer(503, {"retry-after": "7"}))
        assert_drawn(reader, local)
        assert len(pauses) == 1
        assert 7 <= pauses[0] <= 7.2

    def test_grows_and_differs_between_clients(
        self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore, pauses: list[float]
    ) -> None:
        reader = open_store(proxy.url)
        proxy.script += [faulty.with_answer(503)] * 12
        torch.manual_seed(0)
        assert_drawn(reader, local)
        assert all(pause <= min(10, 0.1 * 2**number) for number, pause in enumerate(pauses))
        assert max(pauses) > 0.2  # fails once in 10**9 runs
        assert len(set(pauses)) == 12


class TestConnections:
    def test_are_never_shared_by_threads(
        self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore
    ) -> None:
        reader = open_store(proxy.url)
        meeting = threading.Barrier(4)
        wrong: list[BaseException] = []

        def hold(reply: faulty.Reply) -> bool:
            meeting.wait(timeout=20)
            return faulty.send(reply)

        def draw(seed: int) -> None:
            try:
                assert_drawn(reader, local, seed)
            except BaseException as error:  # noqa: BLE001  a thread's error is told by the test
                wrong.append(error)

        proxy.always = hold
        for first in range(3):
            threads = [threading.Thread(target=draw, args=(4 * first + number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert not wrong
        assert len({seen.port for seen in proxy.draws}) == 4

    def test_are_given_up_after_an_interruption(
        self, proxy: FaultyProxy, local: ZarrChunkReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reader = drawpoint.connect(proxy.url).store("made")

        def interrupt(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("drawpoint.remote.http_engine._BoundedReads.readinto", interrupt)
            with pytest.raises(KeyboardInterrupt):
                reader.read_sample(SAMPLE, seed=1)
        assert_drawn(reader, local)
        assert len({seen.port for seen in proxy.draws}) == 2


@pytest.mark.usefixtures("short_pauses")
class TestGivingUp:
    @pytest.mark.parametrize("fault", DAMAGED.values(), ids=DAMAGED.keys())
    def test_on_damage_comes_after_one_more_try(self, proxy: FaultyProxy, open_store: OpenStore, fault: Fault) -> None:
        reader = open_store(proxy.url)
        proxy.always = fault
        with pytest.raises(
            errors.ResponseDamaged, match=r"sample 'param0/run' of store 'made': .*asked for again"
        ) as caught:
            reader.read_sample(SAMPLE, COUNTS, seed=5)
        assert len(proxy.draws) == 2
        assert (caught.value.store, caught.value.sample) == ("made", SAMPLE)
        assert caught.value.request_id == proxy.draws[-1].headers["x-request-id"]
        assert str(caught.value.request_id) in str(caught.value)

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (faulty.reset, errors.ResponseDamaged),
            (faulty.hang_up, errors.ServiceUnavailable),
            (faulty.with_answer(503), errors.ServiceUnavailable),
            (faulty.stall, errors.DeadlineExceeded),
            (faulty.drip, errors.DeadlineExceeded),
            (faulty.drip_head, errors.DeadlineExceeded),
        ],
        ids=lambda value: getattr(value, "__name__", None),
    )
    def test_comes_with_the_total_deadline(
        self, proxy: FaultyProxy, open_store: OpenStore, fault: Fault, kind: type[errors.RequestFailed]
    ) -> None:
        reader = open_store(proxy.url, deadline=0.8)
        proxy.always = fault
        with pytest.raises(kind, match="sample 'param0/run' of store 'made' at http") as caught:
            reader.read_sample(SAMPLE, COUNTS, seed=5)
        assert caught.type is kind
        assert not isinstance(caught.value, LookupError)  # an outage is no missing sample
        assert (caught.value.store, caught.value.sample) == ("made", SAMPLE)
        assert caught.value.request_id == proxy.draws[-1].headers["x-request-id"]

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    def test_on_a_service_that_is_gone_tells_no_missing_sample(
        self, service: LiveService, open_store: OpenStore, call: Callable[[drawpoint.RemoteReader], object]
    ) -> None:
        with FaultyProxy(service.url) as proxy:
            reader = open_store(proxy.url, deadline=0.3)
        with pytest.raises(errors.ServiceUnavailable, match="store 'made'") as caught:
            call(reader)
        assert not isinstance(caught.value, KeyError | ValueError | FileNotFoundError)

    def test_names_what_went_wrong_all_along_and_not_that_the_last_try_came_too_late(
        self, proxy: FaultyProxy, open_store: OpenStore
    ) -> None:
        reader = open_store(proxy.url, deadline=2.0)
        proxy.script += [faulty.with_answer(503, {"retry-after": "1"})]  # leaves the second try less than half of it
        proxy.always = faulty.stall
        with pytest.raises(errors.ServiceUnavailable, match="2 attempts"):
            reader.read_sample(SAMPLE, COUNTS, seed=5)

    def test_does_not_come_while_a_shorter_pause_still_fits(
        self, proxy: FaultyProxy, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reader = open_store(proxy.url, deadline=60)
        proxy.script += [faulty.hang_up]
        monkeypatch.setattr(retry, "pause_before", lambda _: 90.0)
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        assert reader.read_sample(SAMPLE, COUNTS, seed=5)
        assert len(pauses) == 1
        assert 0 < pauses[0] <= 30
        assert len(proxy.draws) == 2

    def test_comes_at_once_where_the_service_asks_for_more_patience_than_there_is(
        self, proxy: FaultyProxy, open_store: OpenStore
    ) -> None:
        reader = open_store(proxy.url)
        proxy.always = faulty.with_answer(503, {"retry-after": "3600"})
        with pytest.raises(errors.ServiceUnavailable, match="wait 3600 s, longer than the deadline") as caught:
            reader.read_sample(SAMPLE, COUNTS, seed=5)
        assert caught.value.status == 503
        assert len(proxy.draws) == 1

    def test_comes_soon_where_there_never_was_a_service(
        self, service: LiveService, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with FaultyProxy(service.url) as proxy:
            pass
        monkeypatch.setattr(retry, "FIRST_CONTACT_SECONDS", 0.2)
        with pytest.raises(errors.ServiceUnavailable, match="is `drawpoint serve` running there") as caught:
            open_store(proxy.url)
        assert caught.value.store == "made"


def test_what_was_tried_again_is_freed_without_the_garbage_collector(proxy: FaultyProxy) -> None:
    reader = drawpoint.connect(proxy.url).store("made")
    proxy.script.append(faulty.hang_up)
    reader.read_sample(SAMPLE, COUNTS, seed=1)
    assert len(proxy.draws) == 2
    kept = weakref.ref(reader)
    gc.disable()
    try:
        del reader
        assert kept() is None
    finally:
        gc.enable()
