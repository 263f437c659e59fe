"""An answer that is larger than what was asked for is refused at once, before it fills the memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import drawpoint
import faulty
from drawpoint import errors
from drawpoint.wire import MAX_DOCUMENT_BYTES, MAX_PROBLEM_BYTES
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

    @pytest.mark.parametrize("fault", ENDLESS.values(), ids=ENDLESS)
    def test_is_refused_where_it_is_awaited(self, proxy: FaultyProxy, fault: Fault) -> None:
        proxy.always = fault

        async def read() -> None:
            async with drawpoint.connect(proxy.url).async_store("made") as reader:
                await reader.read_sample(SAMPLE, COUNTS, seed=1)

        with pytest.raises(errors.ResponseDamaged, match="at most"):
            asyncio.run(read())
        assert len(proxy.draws) == 1

    @pytest.mark.parametrize("size", [b"f" * 15, b"f" * 16, b"0" * 5000 + b"1"], ids=len)
    def test_is_refused_by_the_size_of_a_chunk(self, proxy: FaultyProxy, size: bytes) -> None:
        reader = drawpoint.connect(proxy.url).store("made")
        proxy.always = faulty.announce_chunk(size)
        with pytest.raises(errors.ResponseDamaged, match=r"at most|any memory"):
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
