"""Health: whether the service is alive, and whether it can read its stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from drawpoint_service import problems
from drawpoint_service.middleware.context import context_of
from drawpoint_service.openapi.responses import document_json
from drawpoint_service.requests import responses

if TYPE_CHECKING:
    from drawpoint_service.server.draining import Draining
    from drawpoint_service.stores.readiness import Readiness


def health_routes(readiness: Readiness, draining: Draining) -> APIRouter:
    """Make the routes for supervisors, which need no token."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", responses=document_json(dict[str, str], of_store=False))
    async def healthz() -> Response:
        """Answer that the service is alive."""
        return responses.json_response(b'{"status":"ok"}', {"Cache-Control": "no-store"})

    @router.get("/readyz", responses=document_json(dict[str, str], 503, of_store=False))
    async def readyz(request: Request) -> Response:
        """Answer whether a chunk of every store can be read."""
        if draining.begun:
            why = "the service is shutting down; ask another replica."
        elif failures := await readiness.check():
            why = "; ".join(f"store {store_id!r}: {reason}" for store_id, reason in failures.items())
        else:
            return responses.json_response(b'{"status":"ready"}', {"Cache-Control": "no-store"})
        problem = problems.problem_from_status(503, why, context_of(request.scope).request_id)
        return responses.problem_response(problem)

    return router
