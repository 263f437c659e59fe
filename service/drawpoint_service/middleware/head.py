"""HEAD: the answer to GET without its body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawpoint_service.middleware.context import context_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadRequests:
    """Hands HEAD on as GET, and drops the body of the answer and its digest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [header for header in message["headers"] if header[0] != b"content-digest"]
                await send({**message, "headers": headers})
            else:
                await send({**message, "body": b""})

        context_of(scope).is_head = True
        await self._app({**scope, "method": "GET"}, receive, send_head)
