"""One connection, as uvicorn's protocol with bounds: on their number, on requests' heads, on unread answers."""

from __future__ import annotations

import logging
import resource
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from drawpoint_service import problems
from drawpoint_service.middleware.context import CONNECTION_KEY
from drawpoint_service.middleware.request_log import request_id_of
from drawpoint_service.requests.responses import problem_response

if TYPE_CHECKING:
    import asyncio

    from drawpoint_service.settings import Settings

MAX_HEAD_BYTES = 1 << 16
"""A head that arrives behind another request's body may have as much again."""

LINGER_SECONDS = 2.0
"""How long a client that was refused may go on sending, before the connection is reset."""

SURPLUS_SECONDS = 2.0
"""How long a connection beyond max_connections may take to say what it wants; a supervisor's probe says it at once."""

SURPLUS_FACTOR = 2
"""So many times max_connections may be open beyond it, waiting for their refusal; what comes then is closed unread."""

SHUTDOWN_SECONDS = 0.25
"""How long a server that ends waits for a request that its client may be sending just now on an idle connection."""

RESERVED_FILES = 256
"""Descriptors that are kept for what is no connection: stores, logs, caches."""

LOG = logging.getLogger("drawpoint.service")


class BoundedConnection(HttpToolsProtocol):
    """Closes when a request's head is too long or takes too long, and when the client stops reading its answer.

    Of the connections that are open at once, all but the first `limit` are surplus: they get one answer. uvicorn has no
    setting for any of these bounds; its `limit_concurrency` would refuse supervisors' probes, and in plain text.
    """

    def __init__(
        self, *args: Any, limit: int, surplus_limit: int, header_seconds: float, send_seconds: float, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.app_state = {**self.app_state, CONNECTION_KEY: self}
        self.is_surplus = False
        self._limit = limit
        self._surplus_limit = surplus_limit
        self._is_shutting_down = False
        self._header_seconds = header_seconds
        self._send_seconds = send_seconds
        self._awaits_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        surplus = len(self.connections) - self._limit
        if surplus > self._surplus_limit:
            transport.abort()
            return
        if surplus > 0:
            self.is_surplus = True
            self._header_seconds = min(self._header_seconds, SURPLUS_SECONDS)
        self._start_head_timer()

    @property
    def is_gone(self) -> bool:
        """Whether the client has left, or was sent away."""
        return self.transport.is_closing()

    def shutdown(self) -> None:
        if self._is_answering():
            super().shutdown()
            return
        # An idle connection may have been opened, or its next request sent, just now.
        self._is_shutting_down = True
        self.loop.call_later(SHUTDOWN_SECONDS, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head_timer()
        self._cancel_send_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # In pieces: the parser keeps an unfinished head to itself, and what it has been given cannot be taken back.
        while data and not self._has_ended():
            piece, data = data[:MAX_HEAD_BYTES], data[MAX_HEAD_BYTES:]
            if self._awaits_head:
                room = MAX_HEAD_BYTES - self._head_bytes
                piece, data = piece[:room], piece[room:] + data
                self._head_bytes += len(piece)
            super().data_received(piece)
            if self._has_ended():
                return
            if self._awaits_head and self._head_bytes >= MAX_HEAD_BYTES:
                self._refuse(431, f"the request's head is longer than {MAX_HEAD_BYTES:,} bytes; ask in fewer words.")
            elif self._head_bytes:
                self._start_head_timer()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's message names nothing
        """Answer what the parser does not take for HTTP."""
        self._refuse(400, "the request is not HTTP/1.1 as RFC 9112 has it, so it is not known what it asks for.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._awaits_head = True

    def on_headers_complete(self) -> None:
        self._awaits_head = False
        self._cancel_head_timer()
        super().on_headers_complete()
        if self._is_shutting_down:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._awaits_head = True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._send_timer = self.loop.call_later(self._send_seconds, self._check_sending)

    def resume_writing(self) -> None:
        self._cancel_send_timer()
        super().resume_writing()

    def _start_head_timer(self) -> None:
        # Between requests the time that a connection is kept alive bounds the wait, until a byte of the next one comes.
        if self._head_timer is None and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self._header_seconds, self._check_head)

    def _check_head(self) -> None:
        self._head_timer = None
        if self._is_answering():
            self._start_head_timer()
        else:
            self.transport.close()

    def _cancel_head_timer(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, detail: str) -> None:
        self._refused = True
        if self._is_answering() and (self.cycle.response_started or not self.cycle.more_body):
            # A refusal now would be taken for the answer to the request before, or for a part of it.
            self.cycle.keep_alive = False
            return
        if self._is_answering():
            self.cycle.disconnected = True  # the application learns that there is no more of the body, and is not heard
            self.cycle.message_event.set()
        request_id = request_id_of(Headers(raw=self.headers or []))
        LOG.warning("%s: %d: %s", request_id, status, detail)
        answer = problem_response(problems.problem_from_status(status, detail, request_id))
        headers = [
            *self.server_state.default_headers,
            *answer.raw_headers,
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + bytes(answer.body))
        # A connection that is closed with something unread is reset, and the client may never see the answer.
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _has_ended(self) -> bool:
        return self._refused or self.transport.is_closing()

    def _close_if_idle(self) -> None:
        # A head that has begun has its time; the server waits for it, as it does for an answer.
        if not self._is_answering() and not self._head_bytes:
            self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _check_sending(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent == self._unsent_bytes:
            self.transport.abort()
            return
        self._unsent_bytes = unsent
        self._send_timer = self.loop.call_later(self._send_seconds, self._check_sending)

    def _cancel_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None


def bound_connections(settings: Settings) -> Any:
    """Return what makes a connection bounded as the settings say, for uvicorn's `http`; worker processes get it too."""
    limit, surplus_limit = count_connections(settings.max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return partial(
        BoundedConnection,
        limit=limit,
        surplus_limit=surplus_limit,
        header_seconds=settings.header_seconds,
        send_seconds=settings.send_seconds,
    )


def count_connections(wanted: int, files: int) -> tuple[int, int]:
    """Return how many connections there may be, and how many surplus ones, of a process that may have `files` open."""
    if files == resource.RLIM_INFINITY:
        return wanted, SURPLUS_FACTOR * wanted
    room = max(2, files - min(RESERVED_FILES, files // 2))
    most = min(wanted, room * 3 // 4)
    return most, min(SURPLUS_FACTOR * wanted, room - most)
