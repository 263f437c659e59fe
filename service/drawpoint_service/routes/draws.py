"""Draws: validated, planned, read, and sent as safetensors."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from drawpoint.draw.seeds import fresh_seed
from drawpoint.draw.selection import select_coords, select_sample
from drawpoint.format import payload
from drawpoint_service.admission.semaphore import NO_MEMORY
from drawpoint_service.middleware.context import context_of
from drawpoint_service.openapi import document_draw, document_problems
from drawpoint_service.requests import draw_payload, query, responses
from drawpoint_service.requests.query import numpy_dtype
from drawpoint_service.routes.direct_route import DirectRoute
from drawpoint_store.reading.plan import plan_draw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint.draw.selection import Selection
    from drawpoint_service.admission.semaphore import FairSemaphore
    from drawpoint_service.read_pool import ReadPool
    from drawpoint_service.requests.query import DrawQuery
    from drawpoint_service.settings import Settings
    from drawpoint_service.stores.catalog import Catalog, ServedStore
    from drawpoint_store.reading.plan import ReadPlan

PLANNED_AT_ONCE = 256
"""Chunks whose plan the event loop makes itself, in less time than a thread takes to begin."""

READ_HERE_BYTES = 1 << 20
"""Bytes of chunks, decoded, that the event loop reads itself if they are in the page cache; half as many where they are
compressed. It goes on after some 0.3 ms then, or 1 ms."""

READ_HERE_CHUNKS = 64
"""Chunks of arrays that it reads so: each takes 15 us, or 45 us where it is compressed, be it ever so small."""

LAYOUTS = 256
"""Kept for the next draws of as many rows and the same fields, which are most of a training's."""


def draw_routes(catalog: Catalog, settings: Settings, pool: ReadPool, memory: FairSemaphore) -> APIRouter:
    """Make the routes that send draws."""
    router = APIRouter(tags=["draws"], route_class=DirectRoute)
    lay_out = lru_cache(LAYOUTS)(payload.Layout)
    sent = {**document_draw(), **document_problems(404, 409, 413, 422, 502, 503)}

    @router.get("/stores/{store_id}/samples/{sample_id:path}", response_class=Response, responses=sent)
    async def read_sample(store_id: str, sample_id: str, request: Request) -> Response:
        """Send the fields of a sample; a domain without a count comes in full."""
        store = await catalog.enter(request, store_id)
        asked = query.parse_query(query.SampleQuery, request.query_params.multi_items(), store.manifest.domains)
        draw_payload.check_revision(store.id, store.revision, asked.revision)
        fields = query.select_fields(asked, store.manifest, sample_id, store.id)
        seed = resolve_seed(request, asked)
        selection = select_sample(
            store.manifest, sample_id, asked.counts, part=asked.part, fields=fields, store=store.id
        )
        return await send_draw(request, store, asked, selection, seed)

    @router.get("/stores/{store_id}/coords/{sample_id:path}", response_class=Response, responses=sent)
    async def read_coords(store_id: str, sample_id: str, request: Request) -> Response:
        """Send positions of each domain with a count, drawn independently of the sample's fields."""
        store = await catalog.enter(request, store_id)
        asked = query.parse_query(query.DrawQuery, request.query_params.multi_items(), store.manifest.domains)
        draw_payload.check_revision(store.id, store.revision, asked.revision)
        seed = resolve_seed(request, asked)
        selection = select_coords(store.manifest, sample_id, asked.counts, store=store.id)
        return await send_draw(request, store, asked, selection, seed)

    async def send_draw(
        request: Request, store: ServedStore, asked: DrawQuery, selection: Selection, seed: int
    ) -> Response:
        draw_payload.check_size(selection, numpy_dtype(asked.dtype), settings.max_response_bytes)
        if selection.num_chunks <= PLANNED_AT_ONCE:
            plan = plan_draw(selection, seed)
        else:
            plan = await pool.run(plan_draw, selection, seed)
        headers = cache_headers(store, asked, plan)
        etag = headers.get("ETag")
        if etag is not None and responses.matches(request.headers.get("if-none-match"), [etag]):
            return responses.not_modified(headers)
        layout = lay_out(draw_payload.list_tensors(plan, numpy_dtype(asked.dtype)))
        metadata = draw_payload.describe_draw(store.id, store.revision, plan, asked, selection.scalars)
        context = context_of(request.scope)
        if context.is_head:
            return responses.head_response(layout.measure(metadata), payload.CONTENT_TYPE, headers)
        context.exit_stack.callback(await memory.acquire(layout.nbytes, NO_MEMORY))
        body, digest = await read_draw(store, plan, layout, metadata, pool)
        return responses.BufferResponse(body, payload.CONTENT_TYPE, {**headers, "Content-Digest": digest})

    def cache_headers(store: ServedStore, asked: DrawQuery, plan: ReadPlan) -> dict[str, str]:
        if asked.seed is None:
            return {"Cache-Control": "no-store"}
        scope = "private" if settings.token else "public"
        return {
            "Cache-Control": f"{scope}, max-age={settings.cache_seconds}",
            "ETag": draw_payload.etag_for(store.id, store.revision, plan, asked),
        }

    return router


def resolve_seed(request: Request, asked: DrawQuery) -> int:
    """Return the seed asked for, or a fresh one; whatever the answer is, it will name it."""
    seed = fresh_seed() if asked.seed is None else asked.seed
    context_of(request.scope).headers["X-Drawpoint-Seed"] = str(seed)
    return seed


async def read_draw(
    store: ServedStore, plan: ReadPlan, layout: payload.Layout, metadata: Mapping[str, str], pool: ReadPool
) -> tuple[bytearray, str]:
    """Return the body of a draw, read from the store, and its Content-Digest.

    What is small and in the page cache is read here, for which a thread would take longer to begin; the event loop
    waits for no disk.
    """
    most_bytes = READ_HERE_BYTES if store.manifest.compressor == "none" else READ_HERE_BYTES // 2
    if (
        not store.reader.is_remote
        and draw_payload.count_chunk_reads(plan) <= READ_HERE_CHUNKS
        and layout.nbytes * draw_payload.spread_of(plan) <= most_bytes
    ):
        # Requests at work are bounded in number, and so is what one turn of the event loop does if each takes two.
        await asyncio.sleep(0)
        filled = layout.allocate(metadata)
        if store.reader.read_into_nowait(plan, filled.tensors):
            return filled.body, payload.content_digest(filled.body)

    def read_there() -> tuple[bytearray, str]:
        filled = layout.allocate(metadata)
        store.reader.read_into(plan, filled.tensors)
        return filled.body, payload.content_digest(filled.body)

    if not store.reader.is_remote:
        return await pool.run(read_there)
    filled = layout.allocate(metadata)
    await store.reader.read_into_async(plan, filled.tensors, pool.run)
    return filled.body, await pool.run(payload.content_digest, filled.body)
