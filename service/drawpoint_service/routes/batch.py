"""Batches: many draws in one request, each item with its tensors or its error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import APIRouter, HTTPException, Request, Response

from drawpoint.format.payload import CONTENT_TYPE
from drawpoint_service.admission.semaphore import NO_MEMORY
from drawpoint_service.middleware.context import context_of
from drawpoint_service.openapi.parameters import query_parameters
from drawpoint_service.openapi.responses import document_batch, document_problems
from drawpoint_service.requests import draw_payload, query, responses
from drawpoint_service.requests.batch_body import is_json, parse_batch, receive_body
from drawpoint_service.requests.batch_plan import allocate_batch, finish_batch, plan_batch, read_item

if TYPE_CHECKING:
    from drawpoint.errors import DrawpointError
    from drawpoint_service.admission.semaphore import FairSemaphore
    from drawpoint_service.read_pool import ReadPool
    from drawpoint_service.requests.batch_plan import BatchPlan
    from drawpoint_service.settings import Settings
    from drawpoint_service.stores.catalog import Catalog, ServedStore

LOG = logging.getLogger("drawpoint.service")


def batch_routes(catalog: Catalog, settings: Settings, pool: ReadPool, memory: FairSemaphore) -> APIRouter:
    """Make the route that sends batches."""
    router = APIRouter(tags=["draws"])

    @router.post(
        "/stores/{store_id}/batch",
        response_class=Response,
        responses={**document_batch(), **document_problems(404, 408, 409, 413, 415, 422, 503)},
        openapi_extra={"parameters": query_parameters(query.RevisionQuery)},
    )
    async def read_batch(store_id: str, request: Request) -> Response:
        """Send many draws in one file; items that fail have an error in its metadata."""
        store = await catalog.enter(request, store_id)
        revision = query.parse_query(query.RevisionQuery, request.query_params.multi_items()).revision
        if not is_json(request.headers):
            detail = "the body of a batch is JSON, not compressed; send it as application/json."
            raise HTTPException(415, detail, {"Accept": "application/json", "Accept-Encoding": "identity"})
        body = await receive_body(request.stream(), settings.body_seconds)
        asked = parse_batch(body, store.manifest, settings.max_batch_samples, store.id)
        if asked.body.revision not in (None, store.revision):
            store = await catalog.enter(request, store_id, asked.body.revision)
            asked = parse_batch(body, store.manifest, settings.max_batch_samples, store.id)
        for wanted in (revision, asked.body.revision):
            draw_payload.check_revision(store.id, store.revision, wanted)
        plan = await pool.run(plan_batch, store, asked, settings.max_response_bytes)
        context_of(request.scope).exit_stack.callback(await memory.acquire(plan.nbytes, NO_MEMORY))
        filled, digest = await read_plan(store, plan, context_of(request.scope).request_id)
        headers = {"Cache-Control": "no-store", "Content-Digest": digest}
        return responses.BufferResponse(filled, CONTENT_TYPE, headers)

    async def read_plan(store: ServedStore, plan: BatchPlan, request_id: str) -> tuple[bytearray, str]:
        filled = await pool.run(allocate_batch, store, plan)

        async def read(index: int) -> DrawpointError | None:
            return await read_item(store, plan.reads[index], filled.tensors, pool)

        outcomes = await pool.run_each(read, plan.reads, is_remote=store.reader.is_remote)
        failures = {index: error for index, error in outcomes.items() if error is not None}
        for error in failures.values():
            LOG.warning("%s: %s", request_id, error)
        return await pool.run(finish_batch, store, plan, filled, failures)

    return router
