"""An answer that is larger than what was asked for is refused at once, before it fills the memory."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable

import pytest

import drawpoint
import faulty
from drawpoint import errors
from drawpoint.remote.answers import decode_body
from drawpoint.remote.wire import MAX_DOCUMENT_BYTES, MAX_PROBLEM_BYTES, Answer, Oversized
from faulty import Fault, FaultyProxy

SAMPLE = "param0/run"
COUNTS = {"surface": 300, "volume": 1000}

OpenStore = Callable[..., drawpoint.RemoteReader]

ENDLESS: dict[str, Fault] = {
    "a body without an end": faulty.pour,
    "chunks without an end": faulty.pour_chunks,
    "a length of 2 GiB": faulty.with_header("content-length", str(2**31)),
    "a length beyond any memory": faulty.with_header("content-length", str(10**14)),
}


class TestAnAnswerThatIsTooLarge:
    @pytest.mark.parametrize("fault", ENDLESS.values(), ids=ENDLESS)
    def test_is_refused_at_once(self, proxy: FaultyProxy, open_store: OpenStore, fault: Fault) -> None:
        reader = open_store(proxy.url)
        proxy.always = fault
        with pytest.raises(errors.ResponseDamaged, match=r"sample 'param0/run' of store 'made'.* at most"):
            reader.read_sample(SAMPLE, COUNTS, seed=1)
        with pytest.raises(errors.ResponseDamaged, match=r"2 samples of store 'made'.* at most"):
            reader.read_batch([SAMPLE, SAMPLE], COUNTS)
        assert len(proxy.draws) == 2

    @pytest.mark.parametrize("size", [b"f" * 15, b"f" * 5000], ids=len)
    def test_is_refused_by_the_size_of_a_chunk(self, proxy: FaultyProxy, size: bytes) -> None:
        reader = drawpoint.connect(proxy.url).store("made")
        proxy.always = faulty.announce_chunk(size)
        with pytest.raises(errors.ResponseDamaged, match="at most"):
            reader.read_sample(SAMPLE, COUNTS, seed=1)
        assert len(proxy.draws) == 1

    def test_is_refused_sooner_if_it_is_a_problem(self, proxy: FaultyProxy, open_store: OpenStore) -> None:
        reader = open_store(proxy.url)
        proxy.always = faulty.with_answer(500, body=bytes(MAX_PROBLEM_BYTES + 1))
        with pytest.raises(errors.ResponseDamaged, match=f"{MAX_PROBLEM_BYTES} at most"):
            reader.read_sample(SAMPLE, seed=1)

    def test_is_refused_if_it_is_a_document(self, proxy: FaultyProxy) -> None:
        proxy.documents = faulty.with_header("content-length", str(MAX_DOCUMENT_BYTES + 1))
        with pytest.raises(errors.ResponseDamaged, match=f"store 'made'.*{MAX_DOCUMENT_BYTES} at most"):
            drawpoint.connect(proxy.url).store("made")


def coded(body: bytes, coding: str = "gzip") -> Answer:
    return Answer(200, {"content-encoding": coding}, bytearray(body))


class TestACodedDocument:
    def test_is_decoded_up_to_the_limit(self) -> None:
        assert decode_body(coded(gzip.compress(b"[1]")), 3) == b"[1]"
        assert decode_body(coded(b"[1]", "identity"), 3) == b"[1]"

    def test_that_swells_is_refused_before_it_is_in_memory(self) -> None:
        bomb = coded(gzip.compress(bytes(2**26)))
        tracemalloc.start()
        try:
            with pytest.raises(Oversized, match="at most"):
                decode_body(bomb, 2**20)
            assert tracemalloc.get_traced_memory()[1] < 2**23
        finally:
            tracemalloc.stop()

    def test_that_swells_is_refused_at_once(self, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(decode_body, "__defaults__", (1000,))  # a gibibyte takes too long here
        with pytest.raises(errors.ResponseDamaged, match=r"store 'made'.*1000 at most"):
            drawpoint.connect(proxy.url).store("made")
        assert len(proxy.seen) == 1
        assert proxy.seen[0].headers["accept-encoding"] == "gzip"

    @pytest.mark.parametrize(
        "answer",
        [
            coded(b"[1]"),
            coded(gzip.compress(b"[1]")[:-1]),
            coded(gzip.compress(b"[1]") + b"x"),
            coded(b"[1]", "br"),
        ],
        ids=["no gzip", "cut", "more behind", "another coding"],
    )
    def test_that_does_not_decode_is_damaged(self, answer: Answer) -> None:
        with pytest.raises(errors.ResponseDamaged):
            decode_body(answer)
