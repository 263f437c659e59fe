"""One request and its answer, seen from outside: identity, access, digest, failure, and a line in the log."""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from drawpoint.format.payload import content_digest
from drawpoint_service import problems
from drawpoint_service.requests.responses import problem_response
from drawpoint_service.routes import docs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from drawpoint_service.server.connection import Connection
    from drawpoint_service.server.draining import Draining
    from drawpoint_service.stores.catalog import ServedStore

ACCESS_LOG = logging.getLogger("drawpoint.access")
LOG = logging.getLogger("drawpoint.service")
OPEN_PATHS = {"/healthz", "/readyz", *docs.PATHS}
"""What answers without a token: whoever watches over the service, or reads what it answers, need not be let in."""

MAX_REQUEST_ID = 128
CONNECTION_KEY = "drawpoint.connection"
_KEY = "drawpoint.exchange"


@dataclass
class Exchange:
    """What routes tell the outside of themselves: `headers` go on every answer, that of an error too."""

    request_id: str
    is_head: bool
    store: ServedStore | None = None
    headers: dict[str, str] = field(default_factory=dict)
    until_sent: ExitStack = field(default_factory=ExitStack)
    """What is held until the answer has been sent, or has failed to be."""

    awaits_body: bool = False
    """Whether more of the request's body is to come, which nobody will read once the answer is on its way."""

    is_logged: bool = True
    status: int = 0
    sent_bytes: int = 0


def exchange_of(scope: Scope) -> Exchange:
    """Return the exchange that a request is part of."""
    exchange: Exchange = scope[_KEY]
    return exchange


def connection_of(scope: Scope) -> Connection | None:
    """Return the connection that a request came on, None where another server than ours runs the application."""
    connection: Connection | None = scope.get("state", {}).get(CONNECTION_KEY)
    return connection


class Exchanges:
    """ASGI middleware around the whole application.

    It gives each request an id, keeps out who has no token, answers HEAD as GET without the body, adds id, digest
    and the exchange's headers to every answer, turns what nobody foresaw into a problem, and logs a line.
    """

    def __init__(self, app: ASGIApp, tokens: Sequence[str], draining: Draining) -> None:
        self._app = app
        self._tokens = [token.encode() for token in tokens]
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = Headers(scope=scope)
        exchange = Exchange(name_request(headers), is_head=scope["method"] == "HEAD", awaits_body=_has_body(headers))
        connection = connection_of(scope)
        is_surplus = connection is not None and connection.is_surplus
        answer = _Answer(exchange, send, lambda: exchange.awaits_body or is_surplus or self._draining.begun)
        inner = {**scope, _KEY: exchange, "method": "GET" if exchange.is_head else scope["method"]}
        app = self._refuse(scope, headers, exchange) or self._app

        async def receive_body() -> Message:
            message = await receive()
            exchange.awaits_body = message.get("more_body", False)
            return message

        try:
            await app(inner, receive_body if exchange.awaits_body else receive, answer.send)
        except Exception:
            LOG.exception("%s failed", exchange.request_id)
            if exchange.status:
                raise
            problem = problems.plain(
                500, "the service failed; its log says why, under this request's id.", exchange.request_id
            )
            await problem_response(problem)(inner, receive, answer.send)
        finally:
            exchange.until_sent.close()
            if exchange.is_logged:
                # Without the query: what somebody put there by mistake may be a token.
                ACCESS_LOG.info(
                    '%s "%s %s" %d %.1f ms %d bytes',
                    exchange.request_id,
                    scope["method"],
                    scope.get("raw_path", b"").decode("ascii", "backslashreplace"),
                    exchange.status,
                    1e3 * (time.perf_counter() - began),
                    exchange.sent_bytes,
                )

    def _refuse(self, scope: Scope, headers: Headers, exchange: Exchange) -> Response | None:
        if not self._tokens or scope["path"] in OPEN_PATHS:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            detail = "this service wants a token: send `Authorization: Bearer TOKEN`."
            problem = problems.plain(401, detail, exchange.request_id)
            return problem_response(problem, {"WWW-Authenticate": 'Bearer realm="drawpoint"'})
        # Every token is compared, each in constant time: how long it takes says nothing of any of them.
        held = given.strip().encode()
        if sum(hmac.compare_digest(held, token) for token in self._tokens):
            return None
        problem = problems.plain(
            403, "this token is not one that the service knows; ask for another.", exchange.request_id
        )
        return problem_response(problem)


class _Answer:
    """The way out: holds an answer's head back until its body is there, to put the digest on it.

    `is_last` tells, when the answer is there, whether it is the last one on its connection.
    """

    def __init__(self, exchange: Exchange, send: Send, is_last: Callable[[], bool]) -> None:
        self._exchange = exchange
        self._send = send
        self._is_last = is_last
        self._start: Message = {}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        body = message.get("body", b"")
        if not self._exchange.status:
            await self._send_start(body, whole=not message.get("more_body", False))
        if self._exchange.is_head:
            message = {**message, "body": b""}
        else:
            self._exchange.sent_bytes += len(body)
        await self._send(message)

    async def _send_start(self, body: bytes, *, whole: bool) -> None:
        exchange, start = self._exchange, self._start
        exchange.status = start["status"]
        headers = list(start["headers"])
        named = {name for name, _ in headers}
        added = {"X-Request-ID": exchange.request_id, **exchange.headers}
        if body and whole and b"content-digest" not in named and not exchange.is_head:
            added["Content-Digest"] = content_digest(body)
        if self._is_last():
            added["Connection"] = "close"
        headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in added.items()]
        await self._send({**start, "headers": headers})


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def name_request(headers: Headers) -> str:
    """Return the id of a request: the one it came with, if that is sane."""
    given = headers.get("x-request-id", "")
    sane = 0 < len(given) <= MAX_REQUEST_ID and given.isascii() and given.isprintable()
    return given if sane else secrets.token_hex(8)
