"""Which answers are the last ones on their connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from drawpoint_service.middleware.context import context_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from drawpoint_service.server.draining import Draining


class ConnectionClose:
    """Adds `Connection: close` where the service is ending, the connection is surplus, or a body was left unread."""

    def __init__(self, app: ASGIApp, draining: Draining) -> None:
        self._app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = context_of(scope).connection
        is_surplus = connection is not None and connection.is_surplus
        headers = Headers(scope=scope)
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        is_unread = has_body

        async def receive_body() -> Message:
            nonlocal is_unread
            message = await receive()
            is_unread = message.get("more_body", False)
            return message

        async def send_last(message: Message) -> None:
            is_last = is_unread or is_surplus or self._draining.begun
            if is_last and message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive_body if has_body else receive, send_last)
