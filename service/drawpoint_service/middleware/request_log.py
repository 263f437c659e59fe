"""The request's identity, and a line in the log for each."""

from __future__ import annotations

import logging
import secrets
import time
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from drawpoint_service.middleware.context import add_context

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ACCESS_LOG = logging.getLogger("drawpoint.access")
MAX_REQUEST_ID = 128


class RequestLog:
    """Gives each request a context with an id, adds the context's headers to the answer, and logs a line about both."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        context = add_context(scope, request_id_of(Headers(scope=scope)))
        sent_bytes = 0

        async def send_named(message: Message) -> None:
            nonlocal sent_bytes
            if message["type"] == "http.response.start":
                context.status = message["status"]
                added = {"X-Request-ID": context.request_id, **context.headers}
                named = [(name.lower().encode(), value.encode("latin-1")) for name, value in added.items()]
                message = {**message, "headers": [*message["headers"], *named]}
            else:
                sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        finally:
            context.exit_stack.close()
            if context.is_logged:
                # Without the query: what somebody put there by mistake may be a token.
                ACCESS_LOG.info(
                    '%s "%s %s" %d %.1f ms %d bytes',
                    context.request_id,
                    scope["method"],
                    scope.get("raw_path", b"").decode("ascii", "backslashreplace"),
                    context.status,
                    1e3 * (time.perf_counter() - began),
                    sent_bytes,
                )


def request_id_of(headers: Headers) -> str:
    """Return the id that a request came with, or a new one if that is missing, long or not printable ASCII."""
    given = headers.get("x-request-id", "")
    is_usable = 0 < len(given) <= MAX_REQUEST_ID and given.isascii() and given.isprintable()
    return given if is_usable else secrets.token_hex(8)
