"""Routes whose endpoints check by themselves what a request says, with nothing of FastAPI's in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.routing import APIRoute

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """Calls its endpoint with the request and the texts that its path names; FastAPI documents it from its signature.

    FastAPI would collect, validate and hand over each of these by its own means, which takes as long as the plan of a
    draw and finds nothing: texts of a path are always valid.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)  # refuses it
            return
        response = await self.endpoint(request=Request(scope, receive, send), **scope["path_params"])
        await response(scope, receive, send)
