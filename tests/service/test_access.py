"""Tokens, request ids, and the log."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from drawpoint_service.admission.admission import READS
from drawpoint_service.app import create_app
from drawpoint_service.middleware.access import OPEN_PATHS
from drawpoint_service.settings import Settings
from live import LiveService

SAMPLE = "/stores/made/samples/param0/run?surface=5&volume=5"
TOKENS = ["first-token", "second+/=token"]


@pytest.fixture(scope="module")
def service(store_root: Path) -> Iterator[LiveService]:
    with LiveService({"made": store_root}, token=TOKENS) as running:
        yield running


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_any_token_of_the_service_lets_in(http: httpx.Client, token: str, scheme: str) -> None:
    for path in (SAMPLE, "/stores"):
        assert http.get(path, headers={"Authorization": f"{scheme} {token}"}).status_code == 200


@pytest.mark.parametrize("path", [SAMPLE, "/stores", "/stores/made/manifest", "/docs/../stores", "/nowhere"])
def test_a_request_without_a_token_is_401(http: httpx.Client, path: str) -> None:
    for headers in ({}, {"Authorization": "Basic Zmlyc3QtdG9rZW4="}, {"Authorization": "Bearer"}):
        answer = http.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
        assert "Authorization: Bearer" in answer.json()["detail"]


@pytest.mark.parametrize("token", ["first-toke", "first-token-", "first-token second", "x" * 5000])
def test_a_request_with_an_unknown_token_is_403(http: httpx.Client, token: str) -> None:
    answer = http.get(SAMPLE, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    assert token[:6] not in answer.json()["detail"].replace("this token", "")
    assert http.get(SAMPLE, headers=[(b"Authorization", b"Bearer \xff\xfe")]).status_code == 403


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_token(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 200


def test_with_tokens_an_answer_is_cached_privately(http: httpx.Client) -> None:
    answer = http.get(f"{SAMPLE}&seed=1", headers={"Authorization": f"Bearer {TOKENS[0]}"})
    assert answer.headers["Cache-Control"] == "private, max-age=3600"


@pytest.mark.parametrize("given", ["a b/c:d", "x" * 128])
def test_the_request_id_is_the_one_given(http: httpx.Client, given: str) -> None:
    assert http.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", [b"", b"x" * 129, b"caf\xc3\xa9", b"tab\there"])
def test_an_unusable_request_id_is_replaced(http: httpx.Client, given: bytes) -> None:
    made = [http.get("/healthz", headers=[(b"X-Request-ID", given)]).headers["X-Request-ID"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{16}", request_id) for request_id in made)
    assert made[0] != made[1]


def test_the_log_has_a_line_a_request_and_no_token(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    authorization = {"Authorization": f"Bearer {TOKENS[0]}"}
    with caplog.at_level(logging.DEBUG):
        sent = http.get(SAMPLE, headers={**authorization, "X-Request-ID": "one"})
        http.get("/stores?token=first-token", headers={**authorization, "X-Request-ID": "two"})
        http.get("/stores", headers={"Authorization": "Bearer first-toke", "X-Request-ID": "three"})
        http.head("/stores", headers={**authorization, "X-Request-ID": "four"})
        http.get("/stores/a%0Aforged%1b", headers={"X-Request-ID": "line-break"})
        # A line is written when its answer has been sent: the next answer shows that it has been.
        http.get("/healthz", headers={"X-Request-ID": "five"})
    lines = [record.getMessage() for record in caplog.records if record.name == "drawpoint.access"]
    by_id = {line.split(" ", 1)[0]: line for line in lines}
    path = "/stores/made/samples/param0/run"
    assert re.fullmatch(rf'one "GET {path}" 200 [0-9.]+ ms {len(sent.content)} bytes', by_id["one"])
    assert re.fullmatch(r'two "GET /stores" 422 [0-9.]+ ms [0-9]+ bytes', by_id["two"])
    assert re.fullmatch(r'three "GET /stores" 403 [0-9.]+ ms [0-9]+ bytes', by_id["three"])
    assert re.fullmatch(r'four "HEAD /stores" 200 [0-9.]+ ms 0 bytes', by_id["four"])
    assert by_id["line-break"].isprintable()
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("drawpoint")]
    assert not [line for line in ours if "first-tok" in line]


def test_what_is_said_of_routes_by_their_paths_holds_of_each_of_them() -> None:
    contexts = iter_route_contexts(create_app({}, Settings()).routes)
    paths = {re.sub(r":path}", "}", context.path) for context in contexts if context.path is not None}
    reading = {path for path in paths if READS.match(re.sub(r"\{\w+\}", "x", path))}
    from_memory = {"/stores", "/stores/{store_id}", "/stores/{store_id}/manifest", "/stores/{store_id}/samples"}
    assert paths - reading - OPEN_PATHS == from_memory, "a route that reads from the storage belongs into READS"
    assert {path for path in paths if not path.startswith("/stores")} == OPEN_PATHS
