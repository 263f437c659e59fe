"""What the middlewares and routes of one request tell each other."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

    from drawpoint_service.server.connection import BoundedConnection
    from drawpoint_service.stores.catalog import ServedStore

CONNECTION_KEY = "drawpoint.connection"
_KEY = "drawpoint.context"


@dataclass
class RequestContext:
    """One request: `headers` go on whatever its answer will be, `store` is the one that it asks, once that is known."""

    request_id: str
    connection: BoundedConnection | None
    """The connection that the request came on, None where another server than ours runs the application."""

    is_head: bool = False
    store: ServedStore | None = None
    headers: dict[str, str] = field(default_factory=dict)
    exit_stack: ExitStack = field(default_factory=ExitStack)
    """What is held until the answer has been sent, or has failed to be."""

    is_logged: bool = True
    status: int = 0
    """The status of the answer, 0 before its head is sent."""


def add_context(scope: Scope, request_id: str) -> RequestContext:
    """Make the context of a request and put it into its scope."""
    context = RequestContext(request_id, scope.get("state", {}).get(CONNECTION_KEY))
    scope[_KEY] = context
    return context


def context_of(scope: Scope) -> RequestContext:
    """Return the context of a request."""
    context: RequestContext = scope[_KEY]
    return context
