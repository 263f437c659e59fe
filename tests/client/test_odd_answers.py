"""What an answer says in a form that nobody expects is left out or told as damage, never an error without a name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import drawpoint
import faulty
from drawpoint import errors
from drawpoint.remote.answers import check_problem
from drawpoint.remote.wire import YEAR_SECONDS
from faulty import Fault, FaultyProxy

SAMPLE = "param0/run"

OpenStore = Callable[..., drawpoint.RemoteReader]

NESTED = b"[" * 200_000


def with_json(body: bytes, status: int = 200, coding: str = "application/json") -> Fault:
    return faulty.with_answer(status, {"content-type": coding}, body)


class TestAProblem:
    @pytest.mark.parametrize("value", [5, 1e400, True, None, {"a": 1}, [1], [["a"]]], ids=repr)
    def test_counts_a_member_of_another_type_as_absent(self, value: Any) -> None:
        names = ("type", "title", "detail", "sample", "field", "near")
        assert check_problem({**dict.fromkeys(names, value), "status": "x", "chunk": True}) == {}

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
    @pytest.mark.parametrize(
        ("wish", "seconds"),
        [("9" * 400, YEAR_SECONDS), ("9" * 5000, YEAR_SECONDS)],
        ids=["400 digits", "5000 digits"],
    )
    def test_has_a_limit(self, proxy: FaultyProxy, open_store: OpenStore, wish: str, seconds: float) -> None:
        reader = open_store(proxy.url)
        proxy.always = faulty.with_answer(503, {"retry-after": wish})
        with pytest.raises(errors.ServiceUnavailable, match=f"wait {seconds:.0f} s, longer than the deadline"):
            reader.read_sample(SAMPLE, seed=1)

    def test_until_a_year_that_no_clock_knows_is_none(self, proxy: FaultyProxy, open_store: OpenStore) -> None:
        reader = open_store(proxy.url)
        proxy.script.append(faulty.with_answer(503, {"retry-after": f"Wed, 21 Oct {'9' * 30} 07:28:00 GMT"}))
        assert reader.read_coords(SAMPLE, "surface", 5, seed=1).shape == (5, 3)


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

    def test_that_is_no_manifest_is_an_error_with_a_name(self, proxy: FaultyProxy) -> None:
        proxy.documents = with_json(NESTED)
        with pytest.raises(errors.DrawpointError, match="manifest of store 'made'"):
            drawpoint.connect(proxy.url).store("made")
