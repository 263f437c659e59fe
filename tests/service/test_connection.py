"""A client that sends no whole request, or does not read its answer, is not waited for."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from drawpoint.payload import content_digest
from drawpoint_service.connection import MAX_HEAD_BYTES
from drawpoint_store import FileMap, ZarrStoreWriter
from live import LiveService

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


def write_big_store(root: Path) -> None:
    writer = ZarrStoreWriter(root, FileMap(volume_position="p"), "big", chunk_points=2**17, compression_level=0)
    writer.write_sample("s", {"volume_position": np.zeros((2**21, 3), np.float32)})
    writer.save_manifest()


def test_a_client_that_does_not_read_loses_its_place(tmp_path: Path) -> None:
    write_big_store(tmp_path)
    path = "/stores/big/samples/s"
    with LiveService({"big": tmp_path}, max_requests=1, send_seconds=0.3) as service, socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.settimeout(30)
        stuck.connect(("127.0.0.1", service.port))
        stuck.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        stuck.recv(100)
        assert httpx.get(service.url + path).status_code == 503
        while (status := httpx.get(service.url + path).status_code) == 503:
            pass
        assert status == 200
        assert len(receive_all(stuck)) < 2**21 * 12


def test_a_head_that_is_too_long_is_refused(store_root: Path) -> None:
    with LiveService({"made": store_root}) as service:
        with connect(service) as client:
            client.sendall(head_of(MAX_HEAD_BYTES - 1))
            assert receive_all(client).startswith(b"HTTP/1.1 200 ")
        with connect(service) as client:
            client.sendall((START + b"X-Long: ").ljust(MAX_HEAD_BYTES, b"a"))
            headers, problem = parse_problem(receive_all(client), 431)
            assert problem["type"] == "urn:drawpoint:request-header-fields-too-large"
            assert headers["connection"] == "close"
        with connect(service) as client:
            client.sendall((START + b"X-Long: ").ljust(50 * MAX_HEAD_BYTES, b"a"))
            parse_problem(receive_all(client), 431)
        with connect(service) as client:
            client.sendall(START + b"X: a\r\n" * 11_000 + b"\r\n")
            assert b" 200 " not in receive_all(client)


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


def test_requests_on_one_connection_are_bounded_each_for_itself(store_root: Path) -> None:
    with LiveService({"made": store_root}, header_seconds=30) as service, connect(service) as client:
        for _ in range(10):
            client.sendall(head_of(10_000).replace(b"Connection: close\r\n", b""))
            assert receive_answer(client).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/3.7\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"BREW / HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        START + b"no colon\r\n\r\n",
        START + b"X\x00: a\r\n\r\n",
        START + b"X: a\x00\r\n\r\n",
        START + b"Content-Length: -1\r\n\r\n",
        START + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        START + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        START + b"Transfer-Encoding: gzip\r\n\r\n",
        b"POST /stores/made/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST /stores/made/batch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}no line end",
    ],
)
def test_what_is_no_http_is_answered_with_a_problem(store_root: Path, request_bytes: bytes) -> None:
    with LiveService({"made": store_root}) as service, connect(service) as client:
        client.sendall(request_bytes)
        headers, problem = parse_problem(receive_all(client), 400)
        assert problem["type"] == "urn:drawpoint:bad-request"
        assert headers["connection"] == "close"
        assert httpx.get(f"{service.url}/healthz").status_code == 200


def test_a_refusal_names_the_request_and_the_log_does_too(store_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LiveService({"made": store_root}) as service, connect(service) as client:
        client.sendall(START + b"X-Request-ID: mine\r\nX: y\r\nno colon\r\n\r\n")
        assert parse_problem(receive_all(client), 400)[1]["instance"] == "mine"
    assert "mine: 400: " in caplog.text


def test_a_refusal_does_not_spoil_the_answer_before_it(store_root: Path) -> None:
    path = b"/stores/made/samples/param0/run"
    with LiveService({"made": store_root}) as service, connect(service) as client:
        client.sendall(b"GET " + path + b"?seed=1 HTTP/1.1\r\nHost: x\r\n\r\nno HTTP\r\n\r\n" + b"x" * MAX_HEAD_BYTES)
        head, _, body = receive_all(client).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == httpx.get(f"{service.url}{path.decode()}?seed=1").content
