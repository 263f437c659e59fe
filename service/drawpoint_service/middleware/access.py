"""The token check: a request needs one of the service's tokens, where it has any."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from drawpoint_service import problems
from drawpoint_service.middleware.context import context_of
from drawpoint_service.requests.responses import problem_response
from drawpoint_service.routes import docs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN_PATHS = {"/healthz", "/readyz", *docs.PATHS}
"""Paths that need no token: probes of supervisors, and the documentation."""


class AccessCheck:
    """Answers 401 to a request without a token, and 403 to one whose token the service does not know."""

    def __init__(self, app: ASGIApp, tokens: Sequence[str]) -> None:
        self._app = app
        self._tokens = [token.encode() for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_open = scope["type"] != "http" or not self._tokens or scope["path"] in OPEN_PATHS
        refusal = None if is_open else self._refusal(scope)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        request_id = context_of(scope).request_id
        if scheme.lower() != "bearer" or not given.strip():
            detail = "this service wants a token: send `Authorization: Bearer TOKEN`."
            problem = problems.problem_from_status(401, detail, request_id)
            return problem_response(problem, {"WWW-Authenticate": 'Bearer realm="drawpoint"'})
        # Every token is compared, each in constant time: how long it takes says nothing of any of them.
        held = given.strip().encode()
        if sum(hmac.compare_digest(held, token) for token in self._tokens):
            return None
        return problem_response(
            problems.problem_from_status(
                403, "this token is not one that the service knows; ask for another.", request_id
            )
        )
