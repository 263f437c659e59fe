"""Heads are read as http.client reads them, and what it would have to guess at is refused."""

from __future__ import annotations

import http.client
import io
import socket
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawpoint.remote.http1 import parse_chunk_size, parse_head, render_request
from drawpoint.remote.wire import Interrupted, Oversized, Truncated

NAMES = st.text("abcXYZ019!#$%&'*+.^_`|~-", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20).filter(
    lambda value: not any(0x7F <= ord(character) < 0xA1 for character in value)
)
FRAMING = st.sampled_from(
    ["", "Content-Length: 0", "content-length: 12", "Transfer-Encoding: chunked", "TRANSFER-ENCODING: Chunked"]
)
CONNECTION = st.sampled_from(
    ["", "Connection: close", "connection: Keep-Alive", "Connection: x, close", "Connection: x"]
)


class _Replay:
    """What http.client wants of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def parse_with_http_client(data: bytes) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(cast("socket.socket", _Replay(data)), method="GET")
    response.begin()
    return response


class TestAHead:
    @given(
        minor=st.sampled_from([0, 1]),
        status=st.integers(200, 599).filter(lambda status: status not in {204, 304}),
        reason=VALUES,
        fields=st.lists(st.tuples(NAMES, VALUES), max_size=6),
        framing=FRAMING,
        connection=CONNECTION,
    )
    def test_is_read_as_http_client_reads_it(
        self, minor: int, status: int, reason: str, fields: list[tuple[str, str]], framing: str, connection: str
    ) -> None:
        taken = {"content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection"}
        fields = [(name, value) for name, value in fields if name.lower() not in taken]
        lines = [f"HTTP/1.{minor} {status} {reason}", *(f"{name}: {value}" for name, value in fields)]
        data = "\r\n".join([*lines, *filter(None, [framing, connection])]).encode("latin-1")
        theirs = parse_with_http_client(data + b"\r\n\r\n")
        ours = parse_head(data)
        assert ours.status == theirs.status
        for name, _ in fields:
            expected = [value.strip(" \t") for value in theirs.headers.get_all(name, [])]
            assert ours.headers[name.lower()] == ", ".join(expected)
        assert ours.chunked == bool(theirs.chunked)
        if not ours.chunked:
            assert ours.length == theirs.length
        assert ours.persistent == (not theirs.will_close)
        theirs.close()

    @pytest.mark.parametrize("status", [100, 103, 199, 204, 304])
    @pytest.mark.parametrize("framing", ["content-length: 100", "transfer-encoding: chunked"])
    def test_of_an_answer_without_a_body_ends_it(self, status: int, framing: str) -> None:
        head = parse_head(f"HTTP/1.1 {status} X\r\n{framing}".encode())
        assert (head.length, head.chunked, head.persistent) == (0, False, True)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"SSH-2.0-OpenSSH",
            b"HTTP/2 200 OK",
            b"HTTP/1.1 20 OK",
            b"HTTP/1.1 999 OK",
            b"HTTP/1.1 200 OK\r\nno colon",
            b"HTTP/1.1 200 OK\r\n: no name",
            b"HTTP/1.1 200 OK\r\na b: c",
            b"HTTP/1.1 200 OK\r\na : b",
            b"HTTP/1.1 200 OK\r\na: b\r\n folded",
            b"HTTP/1.1 200 OK\r\na: b\nc: d",
            b"HTTP/1.1 200 OK\r\na: \0",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1",
            b"HTTP/1.1 200 OK\r\ncontent-length: +1",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1_0",
            b"HTTP/1.1 200 OK\r\ncontent-length: \xb2",
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6",
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity",
        ],
        ids=ascii,
    )
    def test_that_leaves_room_for_guesses_is_refused(self, data: bytes) -> None:
        with pytest.raises(Interrupted):
            parse_head(data)

    @pytest.mark.parametrize("digits", [16, 20, 5000])
    def test_of_a_body_beyond_any_memory_is_told_apart(self, digits: int) -> None:
        with pytest.raises(Oversized):
            parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * digits)

    @given(st.binary(max_size=80))
    def test_of_any_bytes_is_read_or_refused(self, data: bytes) -> None:
        for begin in (b"", b"HTTP/1.1 200 OK\r\n"):
            try:
                parse_head(begin + data)
            except Interrupted:
                continue


class TestAChunk:
    @given(st.integers(0, 16**15 - 1), st.sampled_from(["x", "X"]), st.sampled_from(["", ";a=b", " ;a", "\t"]))
    def test_says_its_size(self, size: int, case: str, extension: str) -> None:
        assert parse_chunk_size(f"{size:{case}}{extension}".encode()) == size

    @pytest.mark.parametrize("line", [b"", b"-1", b"+1", b"0x1", b"1_0", b" 1", b"g", b"1 2"], ids=ascii)
    def test_that_does_not_is_refused(self, line: bytes) -> None:
        with pytest.raises(Truncated):
            parse_chunk_size(line)

    def test_beyond_any_memory_is_told_apart(self) -> None:
        with pytest.raises(Oversized):
            parse_chunk_size(b"f" * 16)


class TestARequest:
    def test_is_rendered_as_it_is_meant(self) -> None:
        expected = b"GET /a%20b?c=d HTTP/1.1\r\nhost: h:80\r\nx: \xfc y\r\n\r\n"
        assert render_request("/a%20b?c=d", [("host", "h:80"), ("x", "ü y")]) == expected

    @given(st.text(min_size=1, max_size=10), st.text(max_size=10), st.text(max_size=10))
    def test_never_holds_another_line(self, target: str, name: str, value: str) -> None:
        try:
            head = render_request(target, [(name, value)])
        except ValueError:
            return
        assert head.count(b"\n") == head.count(b"\r") == 3
