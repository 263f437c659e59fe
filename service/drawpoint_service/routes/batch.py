"""Batches: many draws in one request, each item with its tensors or its error."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from drawpoint.errors import DrawpointError
from drawpoint.format.payload import CONTENT_TYPE
from drawpoint_service.admission.semaphore import NO_MEMORY
from drawpoint_service.middleware.context import context_of
from drawpoint_service.openapi import document_batch, document_problems, query_parameters
from drawpoint_service.requests import draw_payload, query, responses
from drawpoint_service.requests.batch_body import parse_batch, receive_body
from drawpoint_service.requests.batch_plan import allocate_batch, finish_batch, plan_batch

if TYPE_CHECKING:
    from drawpoint_service.admission.semaphore import FairSemaphore
    from drawpoint_service.read_pool import ReadPool
    from drawpoint_service.settings import Settings
    from drawpoint_service.stores.catalog import Catalog

LOG = logging.getLogger("drawpoint.service")


def batch_routes(catalog: Catalog, settings: Settings, pool: ReadPool, memory: FairSemaphore) -> APIRouter:
    """Make the route that sends batches."""
    router = APIRouter(tags=["draws"])

    @router.post(
        "/stores/{store_id}/batch",
        response_class=Response,
        responses={**document_batch(), **document_problems(404, 408, 409, 413, 422, 503)},
        openapi_extra={"parameters": query_parameters(query.RevisionQuery)},
    )
    async def read_batch(store_id: str, request: Request) -> Response:
        """Send many draws in one file; items that fail have an error in its metadata."""
        store = await catalog.enter(request, store_id)
        revision = query.parse_query(query.RevisionQuery, request.query_params.multi_items()).revision
        body = await receive_body(request.stream(), settings.body_seconds)
        asked = await pool.run(parse_batch, body, settings.max_batch_samples)
        if asked.revision is not None:
            store = await catalog.enter(request, store_id, asked.revision)
        for wanted in (revision, asked.revision):
            draw_payload.check_revision(store.id, store.revision, wanted)
        context = context_of(request.scope)
        plan = await pool.run(plan_batch, store, asked, settings.max_response_bytes)
        context.exit_stack.callback(await memory.acquire(sum(tensor.nbytes for tensor in plan.tensors()), NO_MEMORY))
        filled = await pool.run(allocate_batch, store, plan)

        async def read_item(index: int) -> DrawpointError | None:
            try:
                for prefix, read in plan.reads[index].items():
                    tensors = {name: filled.tensors[f"{prefix}{name}"] for name in read.arrays}
                    await store.reader.read_into_async(read, tensors, pool.run)
            except DrawpointError as error:
                LOG.warning("%s: %s", context.request_id, error)
                return error
            return None

        outcomes = await pool.run_each(read_item, plan.reads, is_remote=store.reader.is_remote)
        failures = {index: error for index, error in outcomes.items() if error is not None}
        finished, digest = await pool.run(finish_batch, store, plan, filled, failures)
        headers = {"Cache-Control": "no-store", "Content-Digest": digest}
        return responses.BufferResponse(finished, CONTENT_TYPE, headers)

    return router
