"""A client that sends no whole request, or does not read its answer, is not waited for."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from drawpoint.format.payload import content_digest
from drawpoint_service.server.connection import MAX_HEAD_BYTES, count_connections
from live import LiveService
from waiting import wait_until

START = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


def connect(service: LiveService) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=30)


def receive_all(client: socket.socket) -> bytes:
    received = bytearray()
    try:
        while data := client.recv(2**20):
            received += data
    except ConnectionResetError:
        pass
    return bytes(received)


def receive_answer(client: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"}"):
        data = client.recv(2**16)
        assert data
        received += data
    return received


def parse_problem(answer: bytes, status: int) -> tuple[dict[str, str], dict[str, Any]]:
    """Return headers and problem of the one answer in `answer`, which must be whole."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    problem: dict[str, Any] = json.loads(body)
    assert first.startswith(f"HTTP/1.1 {status} ")
    assert headers["content-type"] == "application/problem+json"
    assert headers["content-length"] == str(len(body))
    assert headers["content-digest"] == content_digest(body)
    assert headers["x-request-id"] == problem["instance"]
    assert problem.keys() == {"type", "title", "status", "detail", "instance"}
    assert problem["status"] == status
    return headers, problem


def head_of(size: int) -> bytes:
    begin = START + b"Connection: close\r\nX-Long: "
    return begin + b"a" * (size - len(begin) - 4) + b"\r\n\r\n"


def test_a_client_that_does_not_read_loses_its_place(big_root: Path) -> None:
    path = "/stores/big/samples/s"
    with LiveService({"big": big_root}, max_requests=1, send_seconds=1.5) as service, socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.settimeout(30)
        stuck.connect(("127.0.0.1", service.port))
        stuck.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        stuck.recv(100)
        assert httpx.get(service.url + path).status_code == 503
        wait_until(lambda: httpx.get(service.url + path).status_code == 200)
        assert len(receive_all(stuck)) < 2**21 * 12


def test_a_head_that_is_too_long_is_refused(service: LiveService) -> None:
    with connect(service) as client:
        client.sendall(head_of(MAX_HEAD_BYTES - 1))
        assert receive_all(client).startswith(b"HTTP/1.1 200 ")
    for size in (1, 50):
        with connect(service) as client:
            client.sendall((START + b"X-Long: ").ljust(size * MAX_HEAD_BYTES, b"a"))
            headers, problem = parse_problem(receive_all(client), 431)
            assert problem["type"] == "urn:drawpoint:request-header-fields-too-large"
            assert headers["connection"] == "close"


def test_a_head_that_is_not_completed_is_not_waited_for(store_root: Path) -> None:
    with LiveService({"made": store_root}, header_seconds=0.2) as service:
        for begun in (b"", b"GET /hea", START):
            with connect(service) as client:
                client.sendall(begun)
                assert receive_all(client) == b""
        with connect(service) as client:
            client.sendall(START + b"\r\n")
            assert receive_answer(client).startswith(b"HTTP/1.1 200 ")
            client.sendall(START)
            assert b"HTTP/1.1" not in receive_all(client)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/3.7\r\n\r\n",
        b"BREW / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        START + b"no colon\r\n\r\n",
        START + b"X: a\x00\r\n\r\n",
        START + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        START + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /stores/made/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_what_is_no_http_is_answered_with_a_problem(service: LiveService, request_bytes: bytes) -> None:
    with connect(service) as client:
        client.sendall(request_bytes)
        headers, problem = parse_problem(receive_all(client), 400)
        assert problem["type"] == "urn:drawpoint:bad-request"
        assert headers["connection"] == "close"
        assert httpx.get(f"{service.url}/healthz").status_code == 200


def test_a_refusal_names_the_request_and_the_log_does_too(
    service: LiveService, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(service) as client:
        client.sendall(START + b"X-Request-ID: mine\r\nX: y\r\nno colon\r\n\r\n")
        assert parse_problem(receive_all(client), 400)[1]["instance"] == "mine"
    assert "mine: 400: " in caplog.text


def test_a_refusal_does_not_spoil_the_answer_before_it(service: LiveService) -> None:
    path = b"/stores/made/samples/param0/run"
    with connect(service) as client:
        client.sendall(b"GET " + path + b"?seed=1 HTTP/1.1\r\nHost: x\r\n\r\nno HTTP\r\n\r\n" + b"x" * MAX_HEAD_BYTES)
        head, _, body = receive_all(client).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == httpx.get(f"{service.url}{path.decode()}?seed=1").content


def begin_batch(client: socket.socket, path: str = "/stores/made/batch", headers: str = "") -> None:
    """Send the head of a batch, and the first byte of a body of a hundred."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n{headers}"
    client.sendall(f"{head}\r\n{{".encode())


def test_a_body_that_drips_is_not_waited_for(store_root: Path) -> None:
    with LiveService({"made": store_root}, body_seconds=0.3, max_requests=1) as service, connect(service) as client:
        begin_batch(client)
        assert httpx.get(f"{service.url}/stores/made/splits").status_code == 503  # it counts as a request
        head, _, body = receive_all(client).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in head.lower()
        problem = json.loads(body)
        assert problem["type"] == "urn:drawpoint:request-timeout"
        assert "within 0.3 s" in problem["detail"]
        assert httpx.get(f"{service.url}/stores/made/splits").status_code == 404


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/stores/made/batch", "", 401),
        ("/stores/none/batch", "Authorization: Bearer right\r\n", 404),
        ("/stores", "Authorization: Bearer right\r\n", 405),
    ],
)
def test_an_answer_that_does_not_need_the_body_ends_the_connection(
    store_root: Path, path: str, token: str, status: int
) -> None:
    with LiveService({"made": store_root}, token=["right"], body_seconds=600) as service, connect(service) as client:
        begin_batch(client, path, token)
        assert receive_all(client).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_body_that_was_read_leaves_the_connection_open(http: httpx.Client) -> None:
    answer = http.post("/stores/made/batch", json={"samples": [{"id": "x"}]})
    assert answer.status_code == 200
    assert "connection" not in answer.headers


def test_beyond_max_connections_probes_are_answered_and_others_get_503(store_root: Path) -> None:
    with LiveService({"made": store_root}, max_connections=2, retry_after_seconds=7) as service:
        with connect(service), connect(service):
            for path, status in (
                ("/healthz", 200),
                ("/readyz", 200),
                ("/stores", 503),
                ("/stores/x/samples/y", 503),
            ):
                answer = httpx.get(service.url + path)
                assert answer.status_code == status
                assert answer.headers["connection"] == "close"
            assert answer.headers["Retry-After"] == "7"
            assert answer.json()["type"] == "urn:drawpoint:overloaded"
        wait_until(lambda: httpx.get(f"{service.url}/stores").status_code == 200)


def test_a_surplus_connection_that_says_nothing_is_closed(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drawpoint_service.server.connection.SURPLUS_SECONDS", 0.2)
    with (
        LiveService({"made": store_root}, max_connections=1) as service,
        connect(service),
        connect(service) as other,
    ):
        assert receive_all(other) == b""


def test_beyond_three_times_max_connections_a_connection_is_closed_unread(store_root: Path) -> None:
    with LiveService({"made": store_root}, max_connections=1) as service, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(service)).sendall(START)
        last = stack.enter_context(connect(service))
        last.sendall(START + b"\r\n")
        assert receive_all(last) == b""


@pytest.mark.parametrize(
    ("wanted", "files", "counts"),
    [
        (2048, resource.RLIM_INFINITY, (2048, 4096)),
        (2048, 1024, (576, 192)),
        (10, 64, (10, 20)),
        (2048, 4, (1, 1)),
    ],
)
def test_fewer_connections_are_kept_where_descriptors_are_few(wanted: int, files: int, counts: tuple[int, int]) -> None:
    assert count_connections(wanted, files) == counts
