"""The hot path: HTTP/1.1 over plain sockets, each body received straight into the memory that its tensors share.

For a body of 530 kB `httpx.Client.get` costs 1.2 ms of CPU, `http.client` 0.25 ms, this 0.15 ms
(tests/benchmarks/client_cpu.py).
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from typing import TYPE_CHECKING

from drawpoint.remote.http1 import MAX_HEAD_BYTES, Head, parse_chunk_size, parse_head, render_request
from drawpoint.remote.tls import NO_TLS, is_no_tls
from drawpoint.remote.wire import (
    Answer,
    Interrupted,
    Oversized,
    Refused,
    TimedOut,
    Truncated,
    Unreachable,
    Untrusted,
    check_length,
    limit_body,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx

    from drawpoint.remote.wire import Deadline

MAX_IDLE = 32
"""Connections kept for reuse; more threads than that at once open new ones."""

_RECEIVE_BYTES = 16_384
"""Asked for where it is not known what comes: a head, and the beginning of the body that comes with it."""


class LeanEngine:
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
        self._place = (address.raw_host.decode(), address.port or (443 if context else 80))
        self._prefix = address.raw_path.decode().rstrip("/")
        self._headers = [(name.decode().lower(), value.decode("latin-1")) for name, value in headers]
        self._timeout = timeout
        self._context = context
        # A list: its append and pop are atomic, and the last one used is the one most likely alive.
        self._idle: list[_Connection] = []

    def send(
        self, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline, limit: int
    ) -> Answer:
        kept = [header for header in self._headers if header[0] not in headers]  # one name may have several values
        request = render_request(self._prefix + target, [*kept, *headers.items()], body)
        connection = self._take() or _Connection(self._place, self._context, self._timeout, deadline)
        try:
            answer = connection.exchange(request, deadline, limit)
        except BaseException:
            # Whatever interrupted it (a signal, too), the rest of that answer must never be read as the next one.
            connection.close()
            raise
        if connection.reusable and len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def drop_idle(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread may take the last one
                self._idle.pop().close()

    close = drop_idle

    def __del__(self) -> None:
        self.drop_idle()

    def _take(self) -> _Connection | None:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took the last one
                return None
            if not connection.has_ended():
                return connection
            connection.close()
        return None


class _Connection:
    """One connection; every step on it is bounded by its own timeout and by the total deadline.

    A timeout of the socket alone would be no bound: it begins anew with each byte that drips in.
    """

    def __init__(
        self, place: tuple[str, int], context: ssl.SSLContext | None, timeout: httpx.Timeout, deadline: Deadline
    ) -> None:
        self._timeout = timeout
        self._deadline = deadline
        self._received = bytearray()
        self._socket = _open(place, context, timeout.connect, deadline)
        self.reusable = False

    def exchange(self, request: bytes, deadline: Deadline, limit: int) -> Answer:
        """Send a request and return the whole answer to it, of `limit` bytes of body at most."""
        self._deadline = deadline
        self.reusable = False
        try:
            self._socket.settimeout(deadline.clip(self._timeout.write))
            self._socket.sendall(request)
            answer = self._read_head()
        except TimeoutError as error:
            raise TimedOut("it did not answer in time") from error
        except OSError as error:
            raise Interrupted(f"the connection broke before an answer: {_reason(error)}") from error
        try:
            body = self._read_body(answer, limit_body(answer.status, limit))
        except TimeoutError as error:
            raise TimedOut("the body stopped coming") from error
        except OSError as error:
            raise Truncated(f"the connection broke in the body: {_reason(error)}") from error
        # Bytes beyond the answer belong to nothing that was asked for.
        self.reusable = answer.persistent and not self._received
        return Answer(answer.status, answer.headers, body)

    def has_ended(self) -> bool:
        """Tell whether an idle connection was closed by the service, or brought what nobody asked for."""
        if not hasattr(select, "poll"):
            return bool(select.select([self._socket], [], [], 0)[0])  # Windows
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self._socket.close()

    def _read_head(self) -> Head:
        while True:
            while (end := self._received.find(b"\r\n\r\n")) < 0:
                if len(self._received) > MAX_HEAD_BYTES:
                    raise Interrupted(f"the answer has a head of more than {MAX_HEAD_BYTES} bytes")
                if not self._receive():
                    raise Interrupted("the connection was closed before an answer")
            head = parse_head(self._received[:end])
            del self._received[: end + 4]
            if head.status >= 200:  # noqa: PLR2004  below: interim answers, the real one follows
                return head

    def _read_body(self, head: Head, limit: int) -> bytearray:
        if head.length is not None:
            check_length(head.length, limit)
            return self._read_exactly(head.length)
        if head.chunked:
            return self._read_chunks(limit)
        while self._receive():
            check_length(len(self._received), limit)
        body, self._received = self._received, bytearray()
        return body

    def _read_exactly(self, length: int) -> bytearray:
        try:
            body = bytearray(length)
        except (MemoryError, OverflowError) as error:
            # A manifest may make the draw itself that large.
            raise Oversized(f"the answer has a body of {length} bytes, more than there is memory for") from error
        filled = min(length, len(self._received))
        body[:filled] = self._received[:filled]
        del self._received[:filled]
        view = memoryview(body)
        while filled < length:
            self._await()
            count = self._socket.recv_into(view[filled:])
            if not count:
                raise Truncated(f"the body ended after {filled} of {length} bytes")
            filled += count
        return body

    def _read_chunks(self, limit: int) -> bytearray:
        body = bytearray()
        while True:
            length = parse_chunk_size(self._read_line())
            if length == 0:
                while self._read_line():  # trailers
                    pass
                return body
            check_length(len(body) + length, limit)
            body += self._read_exactly(length)
            if self._read_line():
                raise Truncated("the body has a chunk that is longer than it says")

    def _read_line(self) -> bytearray:
        while (end := self._received.find(b"\r\n")) < 0:
            if len(self._received) > MAX_HEAD_BYTES or not self._receive():
                raise Truncated("the body ended within a chunk")
        line = self._received[:end]
        del self._received[: end + 2]
        return line

    def _receive(self) -> bool:
        """Receive something more; tells whether there was anything."""
        self._await()
        data = self._socket.recv(_RECEIVE_BYTES)
        self._received += data
        return bool(data)

    def _await(self) -> None:
        self._socket.settimeout(self._deadline.clip(self._timeout.read))


def _open(
    place: tuple[str, int], context: ssl.SSLContext | None, timeout: float | None, deadline: Deadline
) -> socket.socket:
    try:
        connection = socket.create_connection(place, deadline.clip(timeout))
    except OSError as error:
        raise Unreachable(f"no connection: {_reason(error)}") from error
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            return connection
        connection.settimeout(deadline.clip(timeout))
        return context.wrap_socket(connection, server_hostname=place[0])
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise Untrusted(f"its certificate is refused: {error.verify_message}") from error
    except OSError as error:
        connection.close()
        if is_no_tls(error):
            raise Refused(NO_TLS) from error
        raise Unreachable(f"no TLS connection: {_reason(error)}") from error
    except BaseException:
        connection.close()
        raise


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".")
