"""Sending over http.client, with each body received straight into the memory that its tensors share.

For a body of 530 kB `httpx.Client.get` costs 1.1 ms of CPU, this 0.2 ms (tests/benchmarks/client_cpu.py).
"""

from __future__ import annotations

import contextlib
import io
import re
import select
from email.errors import InvalidHeaderDefect, MissingHeaderBodySeparatorDefect
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any

from drawpoint.remote.engine import (
    Answer,
    Hopeless,
    Interrupted,
    Oversized,
    TimedOut,
    Truncated,
    check_length,
    limit_body,
    reason_of,
)
from drawpoint.remote.sockets import open_socket

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Mapping, Sequence

    import httpx
    from _typeshed import WriteableBuffer

    from drawpoint.remote.engine import Deadline

MAX_IDLE = 32
"""Connections kept for reuse; more threads than that at once open new ones."""

_PIECE_BYTES = 65_536
"""Received at once of a body that does not say how long it is."""

_MAX_LINE_BYTES = 65_536
"""Of a line between chunks, as http.client has it for the lines of a head."""

_MAX_HEAD_BYTES = 65_536
"""Of a request, as the service has it."""

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;.*)?\r?\n")

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header (RFC 9110, 5.6.2)."""

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no line of a head may hold: to another reader it could begin another line."""


class HttpEngine:
    """Keeps connections to one address alive, one for each request that goes on at once.

    `headers` are those that httpx would send with every request, `context` is the TLS context for https.
    """

    def __init__(
        self,
        address: httpx.URL,
        headers: Sequence[tuple[bytes, bytes]],
        timeout: httpx.Timeout,
        context: ssl.SSLContext | None,
    ) -> None:
        self._host = address.raw_host.decode()
        self._port = address.port or (443 if context else 80)
        self._prefix = address.raw_path.decode().rstrip("/")
        self._headers = [(name.decode().lower(), value.decode("latin-1")) for name, value in headers]
        self._timeout = timeout
        self._context = context
        # A list: its append and pop are atomic, and the last one used is the one most likely alive.
        self._idle: list[socket.socket] = []

    def send(
        self, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline, limit: int
    ) -> Answer:
        """Send a GET of `target`, or a POST of `body`, and return the whole answer, of `limit` bytes at most.

        Raises a TransportFailure, and ValueError for headers that cannot be sent.
        """
        sent = [header for header in self._headers if header[0] not in headers]  # one name may have several values
        request = _encode_request(self._prefix + target, [*sent, *headers.items()], body)
        sock = self._take_idle()
        if sock is None:
            sock = open_socket(self._host, self._port, self._context, self._timeout.connect, deadline)
        is_reusable = False
        # Whatever interrupts it (a signal, too), the rest of that answer must never be read as the next one.
        try:
            answer, is_reusable = self._exchange(sock, request, deadline, limit)
        finally:
            if is_reusable and len(self._idle) < MAX_IDLE:
                self._idle.append(sock)
            else:
                sock.close()
        return answer

    def close_idle(self) -> None:
        """Close the connections that wait for reuse."""
        while (sock := self._pop()) is not None:
            sock.close()

    def close(self) -> None:
        self.close_idle()

    def __del__(self) -> None:
        self.close()

    def _pop(self) -> socket.socket | None:
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        return None

    def _take_idle(self) -> socket.socket | None:
        """Return a connection that the service has neither closed nor sent anything over that nobody asked for."""
        while (sock := self._pop()) is not None:
            if not _is_readable(sock):
                return sock
            sock.close()
        return None

    def _exchange(self, sock: socket.socket, request: bytes, deadline: Deadline, limit: int) -> tuple[Answer, bool]:
        """Return the answer to `request`, and whether nothing follows it, so that the connection may go on."""

        def bound_read() -> None:
            _set_timeout(sock, deadline.clip(self._timeout.read))

        with HTTPResponse(sock) as response:
            reads = _BoundedReads(response.fp.detach(), bound_read)
            incoming = response.fp = io.BufferedReader(reads)
            try:
                _set_timeout(sock, deadline.clip(self._timeout.write))
                sock.sendall(request)
                _read_head(response)
            except TimeoutError as error:
                raise TimedOut("it did not answer in time") from error
            except OSError as error:
                raise Interrupted(f"the connection broke before an answer: {reason_of(error)}") from error
            except HTTPException as error:
                raise Interrupted(f"the answer is not HTTP/1.1: {reason_of(error)}") from error
            if reads.has_ended:
                raise Interrupted("the connection broke before an answer: it was closed within the head")
            headers = _check_headers(response)
            try:
                content = _read_body(response, limit_body(response.status, limit))
            except TimeoutError as error:
                raise TimedOut("the body stopped coming") from error
            except OSError as error:
                raise Truncated(f"the connection broke in the body: {reason_of(error)}") from error
            reads.is_stopped = True  # peek shows what has been received, and waits for nothing
            is_reusable = not response.will_close and not reads.has_ended and not incoming.peek()
            return Answer(response.status, headers, content), is_reusable


class _BoundedReads(io.RawIOBase):
    """Calls `bound` before each read of `raw`: a timeout of the socket begins anew with each byte that drips in."""

    def __init__(self, raw: Any, bound: Callable[[], None]) -> None:
        self._raw = raw
        self._bound = bound
        self.has_ended = False
        self.is_stopped = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self.is_stopped:
            return None
        self._bound()
        count: int = self._raw.readinto(buffer)
        self.has_ended = not count
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _is_readable(sock: socket.socket) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])  # Windows
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _set_timeout(sock: socket.socket, seconds: float) -> None:
    if seconds != sock.gettimeout():  # to set it is a system call
        sock.settimeout(seconds)


def _encode_request(target: str, headers: Sequence[tuple[str, str]], body: bytes | None) -> bytes:
    lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1"]
    for name, value in headers:
        if not _NAME.fullmatch(name):
            raise ValueError(f"the request cannot be sent: {name!r} is no name of a header.")
        lines.append(f"{name}: {value}")
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    if any(map(_CONTROL.search, lines)):
        raise ValueError("the request cannot be sent: its address or a header holds a control character.")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if len(head) > _MAX_HEAD_BYTES:
        raise Hopeless(f"the request's head is longer than {_MAX_HEAD_BYTES:,} bytes; ask in fewer words")
    return head + (body or b"")


def _read_head(response: HTTPResponse) -> None:
    response.begin()
    while response.status < HTTPStatus.OK:  # http.client skips 100 alone of the interim answers
        response.headers = None  # type: ignore[assignment]  # as before the first head
        response.begin()


def _check_headers(response: HTTPResponse) -> dict[str, str]:
    """Return the headers by name in lower case; raises Interrupted for a head that leaves room for guesses."""
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        key, text = name.lower(), value.strip(" \t")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if (
        # The parser is one of mails: it finds other defects in an answer whose type is that of a mail in parts.
        any(isinstance(each, InvalidHeaderDefect | MissingHeaderBodySeparatorDefect) for each in response.msg.defects)
        or any(map(_CONTROL.search, headers.values()))
        or (length is not None and (response.length is None or not (length.isascii() and length.isdigit())))
        or (coding is not None and (coding.lower() != "chunked" or length is not None))
    ):
        raise Interrupted("the answer is not HTTP/1.1: its head is malformed")
    return headers


def _read_body(response: HTTPResponse, limit: int) -> bytearray:
    if response.length is not None:
        return _read_exactly(response.fp, response.length, limit)
    if response.chunked:
        return _read_chunks(response.fp, limit)
    body = bytearray()
    while piece := response.fp.read1(_PIECE_BYTES):
        body += piece
        check_length(len(body), limit)
    return body


def _read_exactly(incoming: io.BufferedReader, length: int, limit: int) -> bytearray:
    check_length(length, limit)
    try:
        body = bytearray(length)
    except (MemoryError, OverflowError) as error:
        # A manifest may make the draw itself that large.
        raise Oversized(f"the answer has a body of {length} bytes, more than there is memory for") from error
    filled = incoming.readinto(body)
    if filled < length:
        raise Truncated(f"the body ended after {filled} of {length} bytes")
    return body


def _read_chunks(incoming: io.BufferedReader, limit: int) -> bytearray:
    """Return a body in chunks; http.client would take a size of -1, and what no chunk holds, for a part of it."""
    body = bytearray()
    while True:
        line = incoming.readline(_MAX_LINE_BYTES)
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            cause = f"has a chunk of {line.strip()[:20]!r} bytes" if line else "ended within its chunks"
            raise Truncated(f"the body {cause}")
        size = int(match[1], 16)
        if not size:
            break
        check_length(len(body) + size, limit)
        body += incoming.read(size)
        if incoming.readline(2) not in (b"\r\n", b"\n"):
            raise Truncated("the body has a chunk that is cut, or longer than it says")
    while (line := incoming.readline(_MAX_LINE_BYTES)) not in (b"\r\n", b"\n"):
        if not line.endswith(b"\n"):
            raise Truncated("the body ended within the lines after its last chunk")
    return body
