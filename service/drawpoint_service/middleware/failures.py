"""What goes wrong is answered with a problem document: errors of ours, of HTTP itself, and what nobody foresaw."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from drawpoint.errors import DrawpointError, Overloaded
from drawpoint_service import problems
from drawpoint_service.middleware.context import context_of
from drawpoint_service.requests.responses import problem_response

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

LOG = logging.getLogger("drawpoint.service")


def explain_errors(app: FastAPI, retry_after_seconds: int) -> None:
    """Answer DrawpointErrors and HTTPExceptions with problem documents."""

    async def explain(request: Request, error: Exception) -> Response:
        assert isinstance(error, DrawpointError)
        context = context_of(request.scope)
        if problems.is_server_fault(error):
            LOG.warning("%s: %s", context.request_id, error)
        headers = {"Retry-After": str(retry_after_seconds)} if isinstance(error, Overloaded) else None
        return problem_response(problems.describe(error, context.request_id, context.store), headers)

    async def explain_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        detail = str(error.detail)
        if error.status_code == HTTPStatus.NOT_FOUND:
            detail = f"there is nothing at {request.url.path[:200]!r}; /docs lists what there is."
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            methods = set(headers["Allow"].split(", "))
            headers["Allow"] = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
            detail = f"{request.method} is not allowed here; allowed: {headers['Allow']}."
        problem = problems.problem_from_status(error.status_code, detail, context_of(request.scope).request_id)
        return problem_response(problem, headers)

    app.add_exception_handler(DrawpointError, explain)
    app.add_exception_handler(HTTPException, explain_http)


class Failures:
    """ASGI middleware that answers 500 to what nobody foresaw, and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception:
            if scope["type"] != "http":
                raise
            context = context_of(scope)
            LOG.exception("%s failed", context.request_id)
            if context.status:  # the answer has begun: all that is left is to end it
                raise
            detail = "the service failed; its log says why, under this request's id."
            await problem_response(problems.problem_from_status(500, detail, context.request_id))(scope, receive, send)
