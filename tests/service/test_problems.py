"""Whatever goes wrong is a problem document with the status and the sentence that the contract promises."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from drawpoint import errors
from drawpoint_service.problems import Problem
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.plan import ReadPlan
from live import LiveService

SAMPLE = "/stores/made/samples/param0/run"
COORDS = "/stores/made/coords/param0/run"


@pytest.fixture(scope="module")
def service(store_root: Path) -> Iterator[LiveService]:
    with LiveService({"made": store_root, "other": store_root}, max_response_bytes=100_000) as running:
        yield running


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-digest"]
    document: dict[str, Any] = answer.json()
    assert document == Problem.model_validate(document).model_dump(exclude_none=True, mode="json")
    assert document["status"] == answer.status_code
    assert document["instance"] == answer.headers["x-request-id"]
    assert document["detail"].endswith(".")
    return document


@pytest.mark.parametrize(
    ("path", "kind", "near", "sentence"),
    [
        ("/stores/mde", "store-not-found", ["made"], "this service has no store 'mde'; near names: made."),
        ("/stores/zzz/manifest", "store-not-found", ["made", "other"], "there is: made, other."),
        ("/stores/made/samples/param0/rum", "sample-not-found", ["param0/run", "param1/run"], "'param0/rum'"),
        ("/stores/made/coords/nothing?surface=1", "sample-not-found", ["param0/run", "param1/run"], "'nothing'"),
        ("/stores/made/splits/train", "split-not-found", None, "ships no splits; put lists of sample ids"),
        ("/stores/made/statistics", "statistics-not-found", None, "`drawpoint stats` makes them"),
        ("/nowhere", "not-found", None, "there is nothing at '/nowhere'; /docs lists what there is."),
        ("/stores/", "not-found", None, "there is nothing at '/stores/'"),
    ],
)
def test_an_unknown_name_or_path_is_404(
    http: httpx.Client, path: str, kind: str, near: list[str] | None, sentence: str
) -> None:
    answer = http.get(path)
    problem = problem_of(answer)
    assert answer.status_code == 404
    assert problem["type"] == f"urn:drawpoint:{kind}"
    assert sorted(problem.get("near", [])) == sorted(near or [])
    assert sentence in problem["detail"]


@pytest.mark.parametrize(
    ("path", "kind", "sentences"),
    [
        (f"{SAMPLE}?surfce=5", "unknown-parameter", ["'surfce'", "near names: surface;", "volume, seed, dtype"]),
        (f"{COORDS}?surface=5&part=1&seed=1", "unknown-parameter", ["'part'", "surface, volume, seed, dtype"]),
        (f"{SAMPLE}?surface=5&surface=6", "invalid-parameter", ["surface='5,6'", "given once"]),
        *(
            (f"{SAMPLE}?surface={text}", "invalid-parameter", ["surface='", "integer in 1..", "or all"])
            for text in ("0", "-1", "1.5", "", "%00", "+1", " 1", "1e3", "1_0", "%D9%A3", "ALL", "9" * 5000)
        ),
        (f"{SAMPLE}?seed=-1", "invalid-parameter", ["seed='-1'", "0..9223372036854775807"]),
        (f"{SAMPLE}?seed=9223372036854775808", "invalid-parameter", ["seed='9223372036854775808'"]),
        (f"{SAMPLE}?seed=all", "invalid-parameter", ["seed='all'"]),
        (f"{SAMPLE}?seed=1&part=x", "invalid-parameter", ["part='x'"]),
        (f"{SAMPLE}?part=1", "invalid-draw", ["part needs seed", "add seed="]),
        (f"{SAMPLE}?dtype=float16", "invalid-parameter", ["dtype='float16'", "float32 or stored"]),
        (f"{SAMPLE}?fields=surface_presure", "unknown-field", ["'surface_presure'", "near names: surface_pressure"]),
        (f"{SAMPLE}?fields=", "invalid-parameter", ["fields=''", "names with commas"]),
        (f"{SAMPLE}?domains=surface,", "invalid-parameter", ["domains='surface,'", "names with commas"]),
        (f"{SAMPLE}?domains=surface&fields=nothing,volume_sdf", "unknown-field", ["'nothing'"]),
        (f"{SAMPLE}?domains=volum", "unknown-domain", ["'volum'", "near names: volume", "allowed: surface, volume"]),
        (f"{SAMPLE}?domains=volume&fields=surface_area", "invalid-draw", ["no field in common"]),
        (COORDS, "invalid-draw", ["at least one domain", "surface, volume"]),
        ("/stores/made/samples?limit=1001", "invalid-parameter", ["limit='1001'", "1..1000"]),
        ("/stores/made/samples?offset=3", "unknown-parameter", ["'offset'", "limit, after"]),
        *(
            (f"/stores{path}?x=1", "unknown-parameter", ["'x'"])
            for path in ("", "/made", "/made/manifest", "/made/statistics", "/made/splits")
        ),
    ],
)
def test_an_invalid_parameter_is_422_and_named(http: httpx.Client, path: str, kind: str, sentences: list[str]) -> None:
    answer = http.get(path)
    problem = problem_of(answer)
    assert answer.status_code == 422
    assert problem["type"] == f"urn:drawpoint:{kind}"
    for sentence in sentences:
        assert sentence in problem["detail"]


def test_allowed_names_and_the_parameter_are_members(http: httpx.Client) -> None:
    assert problem_of(http.get(f"{SAMPLE}?dtype=int8"))["allowed"] == ["float32", "stored"]
    problem = problem_of(http.get(f"{SAMPLE}?surfce=1"))
    assert problem["parameter"] == "surfce"
    assert problem["allowed"][:3] == ["surface", "volume", "seed"]
    assert problem_of(http.get(f"{SAMPLE}?domains=x"))["allowed"] == ["surface", "volume"]
    assert len(problem_of(http.get(f"{SAMPLE}?fields=x"))["allowed"]) == 10


@pytest.mark.parametrize(
    "sample",
    [
        "../../../../etc/passwd",
        "%2e%2e/%2e%2e/manifest.json",
        "..%2F..%2Fmanifest.json",
        "param0/../param0/run",
        "/param0/run",
        "param0/run/",
        "param0/run.zarr/zarr.json",
        "param0%00/run",
        "%C3%A9t%C3%A9/%F0%9F%9A%97",
        "%FF%FE",
        "s3://bucket/x",
        "x" * 20_000,
        "",
    ],
)
@pytest.mark.parametrize("kind", ["samples", "coords"])
def test_an_id_is_looked_up_and_never_followed(http: httpx.Client, kind: str, sample: str) -> None:
    # httpx would resolve the dots itself.
    connection = HTTPConnection(http.base_url.host, http.base_url.port)
    connection.request("GET", f"/stores/made/{kind}/{sample}?surface=1")
    answer = connection.getresponse()
    problem = json.loads(answer.read())
    connection.close()
    assert (problem["type"], answer.status) == ("urn:drawpoint:sample-not-found", 404)
    assert len(problem["detail"]) < 2000


def test_a_draw_that_is_too_large_is_413_with_what_to_add(http: httpx.Client) -> None:
    answer = http.get(f"{SAMPLE}?surface=all")
    problem = problem_of(answer)
    assert answer.status_code == 413
    assert problem["type"] == "urn:drawpoint:response-too-large"
    assert problem["sample"] == "param0/run"
    for remedy in ("506,000 bytes", "100,000", "surface= and volume=", "fields=", "part= and seed="):
        assert remedy in problem["detail"]
    assert "part=" not in problem_of(http.get(f"{COORDS}?volume=all"))["detail"]
    assert http.head(f"{SAMPLE}?surface=all").status_code == 413
    path = f"{SAMPLE}?volume=2500&domains=volume"  # 11 components of 4 bytes, or of 2 but for the 3 of the position
    assert http.get(path).status_code == 413
    assert http.get(f"{path}&dtype=stored").status_code == 200


def test_another_revision_is_409(http: httpx.Client) -> None:
    revision = http.get("/stores/made").json()["revision"]
    assert http.get(f"{SAMPLE}?surface=5&volume=5&revision={revision}").status_code == 200
    for path in (f"{SAMPLE}?surface=5", f"{COORDS}?surface=5", "/stores/made/samples/gone?surface=5"):
        answer = http.get(f"{path}&revision=abc")
        assert answer.status_code == 409
        assert problem_of(answer)["type"] == "urn:drawpoint:revision-changed"
        assert f"is at revision {revision}, not 'abc'" in answer.json()["detail"]
        assert answer.headers["X-Drawpoint-Revision"] == revision


def test_other_methods_are_405(http: httpx.Client) -> None:
    allowed = {
        **dict.fromkeys(("/stores", SAMPLE, "/healthz", "/openapi.json"), "GET, HEAD"),
        "/stores/made/batch": "POST",
    }
    for path, methods in allowed.items():
        answer = http.request("DELETE", path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == methods
        assert problem_of(answer)["type"] == "urn:drawpoint:method-not-allowed"


@pytest.fixture
def damaged_root(store_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_root, tmp_path / "store"))


def test_damaged_data_is_502_naming_sample_field_and_chunk(damaged_root: Path) -> None:
    shard = damaged_root / "param0/run.zarr/volume/velocity/c/0/0"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    with LiveService({"made": damaged_root}) as service:
        answer = httpx.get(f"{service.url}{SAMPLE}?seed=4")
        problem = problem_of(answer)
        assert answer.status_code == 502
        assert problem["type"] == "urn:drawpoint:chunk-damaged"
        assert (problem["sample"], problem["field"], problem["chunk"]) == ("param0/run", "volume_velocity", 0)
        assert problem["store"] == "made"
        assert answer.headers["X-Drawpoint-Seed"] == "4"
        assert httpx.get(f"{service.url}{SAMPLE}?fields=volume_sdf").status_code == 200


def test_missing_data_is_502_and_does_not_say_where_the_store_lies(damaged_root: Path) -> None:
    (damaged_root / "param0/run.zarr/volume/velocity/c/0/0").unlink()
    shutil.rmtree(damaged_root / "param1")
    with LiveService({"made": damaged_root}) as service:
        for path in (SAMPLE, "/stores/made/samples/param1/run"):
            answer = httpx.get(service.url + path)
            assert answer.status_code == 502
            assert problem_of(answer)["store"] == "made"
            assert str(damaged_root) not in answer.text


class BrokenStore(ZarrChunkReader):
    """A store whose reads fail as `failure` says: no storage can be made to fail in just these ways."""

    failure: Exception

    def read_into(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> None:  # noqa: ARG002  the real one's
        raise self.failure


@pytest.mark.parametrize("place", ["file://{root}/", "{root}//param0", "{root}/./x/..", "."])
def test_storage_that_does_not_answer_is_502_and_only_the_log_says_where_it_is(
    store_root: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = BrokenStore(str(store_root))
    reason = f"{place.format(root=store_root)} cannot be read: timed out."
    store.failure = errors.StoreUnreadable(reason, sample="param0/run")
    with LiveService({"made": store}) as service, caplog.at_level(logging.WARNING):
        answers = [
            httpx.get(service.url + SAMPLE, headers={"X-Request-ID": "one"}),
            httpx.post(
                service.url + "/stores/made/batch",
                json={"samples": [{"id": "param0/run"}]},
                headers={"X-Request-ID": "two"},
            ),
            httpx.get(service.url + "/readyz"),
        ]
    problem = problem_of(answers[0])
    assert (problem["type"], problem["status"]) == ("urn:drawpoint:store-unreadable", 502)
    sentence = "sample 'param0/run' cannot be read; the service's log says why, under this request's id."
    assert problem["detail"] == sentence
    assert answers[2].json()["detail"].startswith("store 'made': sample 'param0/run' cannot be read")
    for answer in answers:
        assert b"timed out" not in answer.content
        assert str(store_root).encode() not in answer.content
    assert caplog.messages.count(f"one: {reason}") == caplog.messages.count(f"two: {reason}") == 1


def test_an_unforeseen_failure_is_500_without_internals(store_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = BrokenStore(str(store_root))
    store.failure = RuntimeError("the inside")
    with caplog.at_level(logging.INFO), LiveService({"made": store}) as service, httpx.Client() as client:
        answer = client.get(service.url + SAMPLE, headers={"X-Request-ID": "of-this-test"})
        assert client.get(service.url + "/healthz").status_code == 200
    problem = problem_of(answer)
    assert (answer.status_code, problem["type"]) == (500, "urn:drawpoint:internal-server-error")
    assert "inside" not in answer.text
    failed = next(record for record in caplog.records if record.name == "drawpoint.service")
    assert failed.getMessage() == "of-this-test failed"
    assert "the inside" in caplog.text
