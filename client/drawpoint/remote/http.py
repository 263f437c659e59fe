"""The engine for draws: http.client, with each body received straight into the memory that its tensors share.

For a body of 530 kB `httpx.Client.get` costs 1.1 ms of CPU, this 0.2 ms (tests/benchmarks/client_cpu.py).
"""

from __future__ import annotations

import contextlib
import io
import re
import select
from email.errors import (
    FirstHeaderLineIsContinuationDefect,
    InvalidHeaderDefect,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)
from http.client import HTTPConnection, HTTPException, HTTPResponse, InvalidURL
from typing import TYPE_CHECKING, Any

from drawpoint.remote.engine import (
    Answer,
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

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;.*)?\r?\n")

_OUT_OF_PLACE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What the value of a header may not hold: to another reader it could begin another line."""

_DEFECTS = (
    FirstHeaderLineIsContinuationDefect,
    InvalidHeaderDefect,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)
"""Of a head; http.client's parser of mails finds others in an answer whose type is that of a mail in parts."""


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
        self._idle: list[_Exchanges] = []

    def send(
        self,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
        limit: int,
        *,
        fresh_connection: bool,
    ) -> Answer:
        if fresh_connection:
            self.close()
        sent = [header for header in self._headers if header[0] not in headers]  # one name may have several values
        connection = self._take_idle() or _Exchanges(self._host, self._port, self._context, self._timeout)
        try:
            answer = connection.exchange(self._prefix + target, [*sent, *headers.items()], body, deadline, limit)
        except BaseException:
            # Whatever interrupted it (a signal, too), the rest of that answer must never be read as the next one.
            connection.close()
            raise
        if connection.is_reusable and len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread may take the last one
                self._idle.pop().close()

    def __del__(self) -> None:
        self.close()

    def _take_idle(self) -> _Exchanges | None:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took the last one
                return None
            if not connection.has_ended():
                return connection
            connection.close()
        return None


class _Exchanges(HTTPConnection):
    """A connection of http.client on which every step is bounded by its own timeout and by the total deadline."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None, timeout: httpx.Timeout) -> None:
        super().__init__(host, port)
        self._tls = context
        self._timeouts = timeout
        self._deadline: Deadline
        self.is_reusable = False

    def exchange(
        self, target: str, headers: Sequence[tuple[str, str]], body: bytes | None, deadline: Deadline, limit: int
    ) -> Answer:
        """Send a request and return the whole answer to it, of `limit` bytes of body at most."""
        self._deadline = deadline
        self.is_reusable = False
        try:
            self._send_request(target, headers, body)
            response = self.getresponse()
        except TimeoutError as error:
            raise TimedOut("it did not answer in time") from error
        except OSError as error:
            raise Interrupted(f"the connection broke before an answer: {reason_of(error)}") from error
        except HTTPException as error:
            raise Interrupted(f"the answer is not HTTP/1.1: {reason_of(error)}") from error
        with response:
            if self._incoming.reads.has_ended:
                raise Interrupted("the connection broke before an answer: it was closed within the head")
            answered = _read_headers(response)
            try:
                content = _read_body(response, limit_body(response.status, limit))
            except TimeoutError as error:
                raise TimedOut("the body stopped coming") from error
            except OSError as error:
                raise Truncated(f"the connection broke in the body: {reason_of(error)}") from error
        # Bytes beyond the answer belong to nothing that was asked for.
        self.is_reusable = self.sock is not None and not self._incoming.has_more
        return Answer(response.status, answered, content)

    def has_ended(self) -> bool:
        """Tell whether an idle connection was closed by the service, or brought what nobody asked for."""
        if not hasattr(select, "poll"):
            return bool(select.select([self.sock], [], [], 0)[0])  # Windows
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def connect(self) -> None:
        """Open the socket of this connection."""
        self.sock = open_socket(self.host, self.port, self._tls, self._timeouts.connect, self._deadline)

    def send(self, data: Any) -> None:
        """Send the head or the body of a request; http.client calls this."""
        if self.sock is None:
            self.connect()
        self._bound(self.sock, self._timeouts.write)
        super().send(data)

    def _send_request(self, target: str, headers: Sequence[tuple[str, str]], body: bytes | None) -> None:
        try:
            self.putrequest("GET" if body is None else "POST", target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                self.putheader(name, value)
        except (ValueError, InvalidURL) as error:  # characters that could begin another line
            raise ValueError(f"the request cannot be sent: {reason_of(error)}.") from error
        if body is not None:
            self.putheader("content-length", str(len(body)))
        self.endheaders(body)

    def response_class(self, sock: socket.socket, method: str | None) -> _FinalResponse:  # type: ignore[override]  # a class in http.client
        """Return a response that reads from `sock`; http.client calls this as the class that it is by default."""

        def wait() -> None:
            self._bound(sock, self._timeouts.read)

        response = _FinalResponse(sock, method=method)
        response.fp = self._incoming = _Incoming(_BoundedReads(response.fp.detach(), wait))
        return response

    def _bound(self, sock: socket.socket, timeout: float | None) -> None:
        """Give the next step on `sock` its `timeout`, or what is left of the deadline."""
        seconds = self._deadline.clip(timeout)
        if seconds != sock.gettimeout():  # to set it is a system call
            sock.settimeout(seconds)


class _FinalResponse(HTTPResponse):
    """The response that ends an exchange: http.client skips 100 before it, this skips 102 and 103 too."""

    def begin(self) -> None:
        super().begin()
        while self.status < 200:  # noqa: PLR2004  the first status that is no interim one
            self.headers = None  # type: ignore[assignment]  # as before the first head
            super().begin()


class _BoundedReads(io.RawIOBase):
    """Calls `wait` before each read of `raw`: a timeout of the socket begins anew with each byte that drips in."""

    def __init__(self, raw: Any, wait: Callable[[], None]) -> None:
        self._raw = raw
        self._wait = wait
        self.has_ended = False
        self.is_stopped = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self.is_stopped:
            return None
        self._wait()
        count: int = self._raw.readinto(buffer)
        self.has_ended = not count
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Incoming(io.BufferedReader):
    """What comes over a connection until http.client has the whole answer, and whether there was more than that."""

    def __init__(self, reads: _BoundedReads) -> None:
        super().__init__(reads)
        self.reads = reads
        self.has_more = False

    def close(self) -> None:
        try:
            if not self.closed:
                self.reads.is_stopped = True  # peek shows what has been received, and waits for nothing
                self.has_more = bool(self.peek())
        finally:
            super().close()


def _read_headers(response: HTTPResponse) -> dict[str, str]:
    """Return the headers by name in lower case; raises Interrupted for a head that leaves room for guesses."""
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        key, text = name.lower(), value.strip(" \t")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if (
        any(isinstance(defect, _DEFECTS) for defect in response.headers.defects)
        or any(map(_OUT_OF_PLACE.search, headers.values()))
        or (length is not None and (response.length is None or not (length.isascii() and length.isdigit())))
        or (coding is not None and (coding.lower() != "chunked" or length is not None))
    ):
        raise Interrupted("the answer is not HTTP/1.1: its head is malformed")
    return headers


def _read_body(response: HTTPResponse, limit: int) -> bytearray:
    if response.length is not None:
        return _read_exactly(response, response.length, limit)
    if response.chunked:
        return _read_chunks(response.fp, limit)
    body = bytearray()
    while piece := response.read1(_PIECE_BYTES):
        body += piece
        check_length(len(body), limit)
    return body


def _read_chunks(incoming: io.BufferedReader, limit: int) -> bytearray:
    """Return a body in chunks; http.client would take a size of -1, and what no chunk holds, for a part of it."""
    body = bytearray()
    while length := _read_chunk_size(incoming):
        check_length(len(body) + length, limit)
        body += incoming.read(length)
        if incoming.readline(2) not in (b"\r\n", b"\n"):
            raise Truncated("the body has a chunk that is cut, or longer than it says")
    while (line := incoming.readline(_MAX_LINE_BYTES)) not in (b"\r\n", b"\n"):
        if not line.endswith(b"\n"):
            raise Truncated("the body ended within the lines after its last chunk")
    return body


def _read_chunk_size(incoming: io.BufferedReader) -> int:
    line = incoming.readline(_MAX_LINE_BYTES)
    match = _CHUNK_SIZE.fullmatch(line)
    if match is None:
        raise Truncated(
            f"the body has a chunk of {line.strip()[:20]!r} bytes" if line else "the body ended within its chunks"
        )
    return int(match[1], 16)


def _read_exactly(response: HTTPResponse, length: int, limit: int) -> bytearray:
    check_length(length, limit)
    try:
        body = bytearray(length)
    except (MemoryError, OverflowError) as error:
        # A manifest may make the draw itself that large.
        raise Oversized(f"the answer has a body of {length} bytes, more than there is memory for") from error
    filled = response.fp.readinto(body)  # what http.client adds is for chunks, which 204 may announce and not have
    if filled < length:
        raise Truncated(f"the body ended after {filled} of {length} bytes")
    return body
