"""A client that sends no whole request, or does not read its answer, is not waited for."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import numpy as np

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
            head, _, body = receive_all(client).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 431 ")
            assert f"content-length: {len(body)}".encode() in head
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
