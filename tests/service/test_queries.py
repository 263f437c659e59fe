"""What a query may say, and that anything else is named: pure, over any names and values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawpoint.errors import InvalidDraw, InvalidParameter, UnknownDomain, UnknownParameter
from drawpoint.format.manifest import StoreManifest
from drawpoint_service.requests.query import DrawQuery, NoQuery, PageQuery, SampleQuery, parse_query, select_fields
from drawpoint_service.requests.responses import accepts_gzip, matches

MAX_SEED = 2**63 - 1
KNOWN = ("surface", "volume", "seed", "dtype", "revision", "part", "fields", "domains")


@pytest.fixture(scope="module")
def manifest(store_root: Path) -> StoreManifest:
    return StoreManifest.from_json((store_root / "manifest.json").read_bytes())


def test_every_parameter_says_what_it_means(manifest: StoreManifest) -> None:
    pairs = {
        "surface": "12",
        "volume": "all",
        "fields": "volume_sdf,surface_area",
        "domains": "volume",
        "seed": str(MAX_SEED),
        "part": "0",
        "dtype": "stored",
        "revision": "abc",
    }
    assert parse_query(SampleQuery, pairs.items(), manifest.domains).model_dump() == {
        "counts": {"surface": 12, "volume": None},
        "fields": ("volume_sdf", "surface_area"),
        "domains": ("volume",),
        "seed": MAX_SEED,
        "part": 0,
        "dtype": "stored",
        "revision": "abc",
    }
    nothing = parse_query(SampleQuery, [], manifest.domains).model_dump(exclude_defaults=True)
    assert nothing == {}


@given(st.integers(1, MAX_SEED), st.integers(0, MAX_SEED))
def test_counts_and_seeds_are_taken_as_they_are(manifest: StoreManifest, count: int, seed: int) -> None:
    query = parse_query(DrawQuery, [("surface", str(count)), ("seed", str(seed))], manifest.domains)
    assert (query.counts, query.seed) == ({"surface": count}, seed)


@pytest.mark.parametrize("parameter", ["surface", "seed", "part"])
@given(
    value=st.text(max_size=30)
    | st.sampled_from(
        ["-1", "1.5", "1e3", "+1", " 1", "1 ", "1_0", "٣", "", "0x1", "ALL", str(MAX_SEED + 1), "9" * 5000]
    )
)
def test_any_other_text_is_refused_by_name(manifest: StoreManifest, parameter: str, value: str) -> None:
    if re.fullmatch("[0-9]{1,19}", value, re.ASCII) and (parameter == "surface") <= int(value) <= MAX_SEED:
        return
    if parameter == "surface" and value == "all":
        return
    with pytest.raises(InvalidParameter) as caught:
        parse_query(SampleQuery, [("seed", "1"), (parameter, value)][parameter == "seed" :], manifest.domains)
    assert caught.value.parameter == parameter
    assert "an integer in" in str(caught.value)
    assert ("all" in caught.value.allowed) == (parameter == "surface")
    assert len(str(caught.value)) < 1500


@given(st.text(max_size=300).filter(lambda name: name not in KNOWN))
def test_an_unknown_name_is_refused_with_those_known(manifest: StoreManifest, name: str) -> None:
    with pytest.raises(UnknownParameter) as caught:
        parse_query(SampleQuery, [(name, "1")], manifest.domains)
    assert caught.value.allowed == KNOWN


@pytest.mark.parametrize("name", ["fields", "domains", "part", "limit"])
def test_coordinates_know_fewer_names(manifest: StoreManifest, name: str) -> None:
    with pytest.raises(UnknownParameter) as caught:
        parse_query(DrawQuery, [("surface", "1"), (name, "1")], manifest.domains)
    assert caught.value.allowed == ("surface", "volume", "seed", "dtype", "revision")


@pytest.mark.parametrize("name", KNOWN)
def test_a_name_given_twice_is_refused(manifest: StoreManifest, name: str) -> None:
    with pytest.raises(InvalidParameter, match="given once") as caught:
        parse_query(SampleQuery, [(name, "1"), (name, "1")], manifest.domains)
    assert caught.value.parameter == name


@pytest.mark.parametrize("dtype", ["float16", "float64", "Float32", "", "stored,float32"])
def test_other_dtypes_are_refused(manifest: StoreManifest, dtype: str) -> None:
    with pytest.raises(InvalidParameter, match="float32 or stored") as caught:
        parse_query(SampleQuery, [("dtype", dtype)], manifest.domains)
    assert caught.value.allowed == ("float32", "stored")


@pytest.mark.parametrize("parameter", ["fields", "domains"])
@pytest.mark.parametrize("value", ["", ",", "surface_area,", ",surface_area"])
def test_a_list_without_names_is_refused(manifest: StoreManifest, parameter: str, value: str) -> None:
    with pytest.raises(InvalidParameter, match="names with commas"):
        parse_query(SampleQuery, [(parameter, value)], manifest.domains)


def test_a_part_needs_a_seed(manifest: StoreManifest) -> None:
    with pytest.raises(InvalidDraw, match="add seed="):
        parse_query(SampleQuery, [("part", "1")], manifest.domains)


class TestFieldsAndDomainsSelectTogether:
    def test_all_when_neither_is_given(self, manifest: StoreManifest) -> None:
        assert select_fields(SampleQuery(), manifest, "param0/run") is None

    def test_leaving_a_field_that_nobody_knows_to_the_plan(self, manifest: StoreManifest) -> None:
        query = SampleQuery.model_validate({"fields": "nothing,volume_sdf", "domains": "surface"})
        assert select_fields(query, manifest, "param0/run") == ("nothing",)

    def test_and_leaving_nothing_is_refused(self, manifest: StoreManifest) -> None:
        query = SampleQuery.model_validate({"fields": "volume_sdf", "domains": "surface"})
        with pytest.raises(InvalidDraw, match="no field in common"):
            select_fields(query, manifest, "param0/run")

    def test_and_an_unknown_domain_is_refused_with_near_ones(self, manifest: StoreManifest) -> None:
        with pytest.raises(UnknownDomain) as caught:
            select_fields(SampleQuery.model_validate({"domains": "surfaces"}), manifest, "param0/run")
        assert caught.value.near == ("surface",)


class TestPages:
    def test_have_bounds(self) -> None:
        assert parse_query(PageQuery, []).model_dump() == {"limit": 100, "after": ""}
        assert parse_query(PageQuery, [("limit", "1000"), ("after", "b")]).model_dump() == {"limit": 1000, "after": "b"}
        for limit in ("0", "1001", "-1", "many"):
            with pytest.raises(InvalidParameter, match=r"1\.\.1000"):
                parse_query(PageQuery, [("limit", limit)])

    def test_know_no_other_name(self) -> None:
        with pytest.raises(UnknownParameter):
            parse_query(PageQuery, [("offset", "1")])


def test_no_parameter_means_anything_where_there_are_none() -> None:
    parse_query(NoQuery, [])
    with pytest.raises(UnknownParameter):
        parse_query(NoQuery, [("seed", "1")])


@pytest.mark.parametrize(
    ("field", "accepted"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("br, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("br;q=1.0, deflate", False),
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
