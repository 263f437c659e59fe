"""An answer of a form or size that nobody expects is told as damage at once, never an error without a name."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest

import drawpoint
import faulty
from drawpoint import errors
from drawpoint.remote.answers import decode_body
from drawpoint.remote.engine import MAX_PROBLEM_BYTES, YEAR_SECONDS, Answer, Oversized
from faulty import Fault, FaultyProxy

from .conftest import OpenStore

SAMPLE = "param0/run"
COUNTS = {"surface": 300, "volume": 1000}
NESTED = b"[" * 200_000

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


UNCLEAR: dict[str, Fault] = {
    "a length with a sign": lambda reply: faulty.with_header("content-length", f"+{len(reply.body)}")(reply),
    "a length with a grouping": lambda reply: faulty.with_header("content-length", f"0_{len(reply.body)}")(reply),
    "a length of 5000 digits": faulty.with_header("content-length", "9" * 5000),
    "a length beside chunks": faulty.with_header("transfer-encoding", "chunked"),
    "another coding": faulty.with_header("content-length: 5\r\ntransfer-encoding", "gzip, chunked"),
    "a folded line": faulty.with_header("x-folded", "a\r\n b"),
    "a NUL": faulty.with_header("x-nul", "a\0b"),
}
CHUNKS: dict[str, Callable[[bytes], bytes]] = {
    "a size below 0": lambda _: b"-5\r\n" + bytes(2**24),
    "a size with a prefix": lambda body: b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
    "no size": lambda body: b"\r\n%s\r\n0\r\n\r\n" % body,
    "more than its size": lambda body: b"%x\r\n%s\r\n0\r\n\r\n" % (len(body) - 3, body),
}


def read_again(proxy: FaultyProxy, caplog: pytest.LogCaptureFixture, fault: Fault) -> str:
    """Read a sample whose first answer is spoilt; return what is logged of that."""
    caplog.set_level("INFO", "drawpoint")
    reader = drawpoint.connect(proxy.url).store("made")
    proxy.script.append(fault)
    reader.read_sample(SAMPLE, COUNTS, seed=1)
    assert len(proxy.draws) == 2
    return next(message for message in caplog.messages if "trying again" in message)


class TestAnAnswerWhoseEndIsNotClear:
    @pytest.mark.parametrize("fault", UNCLEAR.values(), ids=UNCLEAR)
    def test_is_not_taken_for_http(self, proxy: FaultyProxy, caplog: pytest.LogCaptureFixture, fault: Fault) -> None:
        assert "its head is malformed" in read_again(proxy, caplog, fault)

    @pytest.mark.parametrize("coded", CHUNKS.values(), ids=CHUNKS)
    def test_is_damaged_by_its_chunks(
        self, proxy: FaultyProxy, caplog: pytest.LogCaptureFixture, coded: Callable[[bytes], bytes]
    ) -> None:
        assert "the body has a chunk" in read_again(proxy, caplog, faulty.with_chunks(coded))

    def test_is_damaged_where_it_ends_between_its_chunks(
        self, proxy: FaultyProxy, caplog: pytest.LogCaptureFixture
    ) -> None:
        cut = faulty.with_chunks(lambda body: b"%x\r\n%s\r\n" % (len(body), body))
        assert "the body ended within its chunks" in read_again(proxy, caplog, lambda reply: cut(reply) and False)

    def test_is_complete_where_its_status_has_no_body(self, proxy: FaultyProxy) -> None:
        reader = drawpoint.connect(proxy.url).store("made")
        proxy.always = lambda reply: faulty.with_chunks(lambda _: b"")(replace(reply, status=204, body=b"", headers={}))
        with pytest.raises(errors.RequestFailed, match="the service answered 204"):
            reader.read_sample(SAMPLE, COUNTS, seed=1)


@pytest.mark.parametrize("kind", ["multipart/mixed", "multipart/mixed; boundary=x"])
def test_a_page_of_a_type_that_mails_have_is_reported_by_its_status(
    proxy: FaultyProxy, open_store: OpenStore, kind: str
) -> None:
    reader = open_store(proxy.url)
    proxy.always = faulty.with_answer(404, {"content-type": kind}, b"none")
    with pytest.raises(errors.RequestFailed, match="the service answered 404"):
        reader.read_sample(SAMPLE, COUNTS, seed=1)


def test_what_is_no_http_is_told_in_one_line(proxy: FaultyProxy, caplog: pytest.LogCaptureFixture) -> None:
    message = read_again(proxy, caplog, faulty.babble)
    assert "SSH-2.0" in message
    assert message.isprintable()


def test_a_page_in_place_of_a_document_is_shown_by_its_first_words(proxy: FaultyProxy) -> None:
    proxy.documents = faulty.with_answer(200, {"content-type": "text/html"}, b"<h1>Please log in</h1>")
    with pytest.raises(errors.ResponseDamaged, match=r"no JSON: .*; it begins with b'<h1>Please log in</h1>'"):
        drawpoint.connect(proxy.url).stores()


@pytest.mark.parametrize("name", ["X-Name:", "", "two words"])
def test_what_is_no_name_of_a_header_is_named(proxy: FaultyProxy, name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name.lower()}' is no name of a header"):
        drawpoint.connect(proxy.url, headers={name: "x"}).stores()
    assert not proxy.seen


def coded(body: bytes, coding: str = "gzip") -> Answer:
    return Answer(200, {"content-encoding": coding}, bytearray(body))


class TestACodedDocument:
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


def with_json(body: bytes, status: int = 200, coding: str = "application/json") -> Fault:
    return faulty.with_answer(status, {"content-type": coding}, body)


class TestAProblem:
    def test_of_wrong_members_is_reported_by_its_status(self, proxy: FaultyProxy, open_store: OpenStore) -> None:
        reader = open_store(proxy.url)
        problem = {"type": "urn:drawpoint:unknown-field", "near": 5, "sample": [1], "field": {}, "chunk": "x"}
        proxy.always = with_json(json.dumps(problem).encode(), 422, "application/problem+json")
        with pytest.raises(errors.UnknownField, match="the service answered 422") as caught:
            reader.read_sample(SAMPLE, seed=1)
        assert (caught.value.near, caught.value.sample, caught.value.field) == ((), SAMPLE, None)

    def test_without_a_bottom_is_reported_by_its_status(self, proxy: FaultyProxy, open_store: OpenStore) -> None:
        reader = open_store(proxy.url)
        proxy.always = with_json(NESTED, 422, "application/problem+json")
        with pytest.raises(errors.InvalidDraw, match="the service answered 422"):
            reader.read_sample(SAMPLE, seed=1)


class TestAWishToWait:
    @pytest.mark.parametrize("wish", ["9" * 400, "9" * 5000], ids=len)
    def test_has_a_limit(self, proxy: FaultyProxy, open_store: OpenStore, wish: str) -> None:
        reader = open_store(proxy.url)
        proxy.always = faulty.with_answer(503, {"retry-after": wish})
        with pytest.raises(errors.ServiceUnavailable, match=f"wait {YEAR_SECONDS:.0f} s, longer than the deadline"):
            reader.read_sample(SAMPLE, seed=1)


class TestADocument:
    @pytest.mark.parametrize(
        "body",
        [b"[]x", b"5", b"null", b"[5]", b"{}", b'{"splits": [{}], "samples": [1], "revision": 5}', NESTED],
        ids=["no JSON", "a number", "nothing", "numbers", "empty", "wrong members", "nested"],
    )
    def test_of_another_shape_is_damaged_and_named(self, proxy: FaultyProxy, body: bytes) -> None:
        connection = drawpoint.connect(proxy.url)
        reader = connection.store("made")
        proxy.documents = with_json(body)
        reads: dict[str, Callable[[], object]] = {
            "the list of stores": connection.stores,
            "the splits of store 'made'": reader.splits,
            "split 'train' of store 'made'": lambda: reader.split("train"),
            "the statistics of store 'made'": reader.statistics,
        }
        for name, read in reads.items():
            with pytest.raises(errors.ResponseDamaged, match=f"^{name}: the body "):
                read()
