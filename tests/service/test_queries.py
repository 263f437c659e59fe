"""What a query may say, over any names and values, and how header fields are read: pure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawpoint.errors import InvalidParameter, UnknownParameter
from drawpoint.format.manifest import StoreManifest
from drawpoint_service.requests.query import DrawQuery, SampleQuery, parse_query
from drawpoint_service.requests.responses import accepts_gzip, matches

MAX_SEED = 2**63 - 1
KNOWN = ("surface", "volume", "seed", "dtype", "revision", "part", "fields", "domains")


@pytest.fixture(scope="module")
def domains(store_root: Path) -> list[str]:
    return list(StoreManifest.from_json((store_root / "manifest.json").read_bytes()).domains)


def test_every_parameter_says_what_it_means(domains: list[str]) -> None:
    pairs = {
        "surface": "12",
        "volume": "all",
        "fields": "volume_sdf,surface_area,volume_sdf",
        "domains": "volume",
        "seed": str(MAX_SEED),
        "part": "0",
        "dtype": "stored",
        "revision": "abc",
    }
    assert parse_query(SampleQuery, pairs.items(), domains).model_dump() == {
        "counts": {"surface": 12, "volume": None},
        "fields": ("volume_sdf", "surface_area"),
        "domains": ("volume",),
        "seed": MAX_SEED,
        "part": 0,
        "dtype": "stored",
        "revision": "abc",
    }
    assert parse_query(SampleQuery, [], domains).model_dump(exclude_none=True) == {"counts": {}, "dtype": "float32"}


@given(st.integers(1, MAX_SEED), st.integers(0, MAX_SEED))
def test_counts_and_seeds_are_taken_as_they_are(domains: list[str], count: int, seed: int) -> None:
    query = parse_query(DrawQuery, [("surface", str(count)), ("seed", str(seed))], domains)
    assert (query.counts, query.seed) == ({"surface": count}, seed)


@pytest.mark.parametrize("parameter", ["surface", "seed", "part"])
@given(
    value=st.text(max_size=30)
    | st.sampled_from(
        ["-1", "1.5", "1e3", "+1", " 1", "1 ", "1_0", "٣", "", "0x1", "ALL", str(MAX_SEED + 1), "9" * 5000]
    )
)
def test_any_other_text_is_refused_by_name(domains: list[str], parameter: str, value: str) -> None:
    if re.fullmatch("[0-9]{1,19}", value, re.ASCII) and (parameter == "surface") <= int(value) <= MAX_SEED:
        return
    if parameter == "surface" and value == "all":
        return
    with pytest.raises(InvalidParameter) as caught:
        parse_query(SampleQuery, [("seed", "1"), (parameter, value)][parameter == "seed" :], domains)
    assert caught.value.parameter == parameter
    assert "an integer in" in str(caught.value)
    assert ("all" in caught.value.allowed) == (parameter == "surface")
    assert len(str(caught.value)) < 1500


@given(st.text(max_size=300).filter(lambda name: name not in KNOWN))
def test_an_unknown_name_is_refused_with_those_known(domains: list[str], name: str) -> None:
    with pytest.raises(UnknownParameter) as caught:
        parse_query(SampleQuery, [(name, "1")], domains)
    assert caught.value.allowed == KNOWN


@pytest.mark.parametrize("name", KNOWN)
def test_a_name_given_twice_is_refused(domains: list[str], name: str) -> None:
    with pytest.raises(InvalidParameter, match="given once") as caught:
        parse_query(SampleQuery, [(name, "1"), (name, "1")], domains)
    assert caught.value.parameter == name


@pytest.mark.parametrize(
    ("field", "accepted"),
    [
        (None, False),
        ("", False),
        ("GZIP", True),
        ("br, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
    ],
)
def test_accept_encoding_is_obeyed(field: str | None, accepted: bool) -> None:
    assert accepts_gzip(field) is accepted


@pytest.mark.parametrize(
    ("field", "matched"),
    [(None, False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ('"b"', False), ("*", True), ("a", False)],
)
def test_if_none_match_is_compared_weakly(field: str | None, matched: bool) -> None:
    assert matches(field, ['"a"']) is matched
