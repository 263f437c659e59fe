"""Health: whether the service is alive, and whether a chunk of every store can really be read."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from fastapi import APIRouter, Request, Response

from drawpoint.errors import DrawpointError
from drawpoint_service import problems
from drawpoint_service.middleware.context import context_of
from drawpoint_service.openapi import document_json
from drawpoint_service.requests import responses
from drawpoint_store.reading.plan import plan_sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint_service.server.draining import Draining
    from drawpoint_service.stores.catalog import ServedStore

LOG = logging.getLogger("drawpoint.service")


def health_routes(readiness: Readiness, draining: Draining) -> APIRouter:
    """Make the routes for supervisors, which need no token."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", responses=document_json(dict[str, str]), openapi_extra={"security": []})
    async def healthz() -> Response:
        """Answer that the service is alive."""
        return responses.json_response(b'{"status":"ok"}', {"Cache-Control": "no-store"})

    @router.get("/readyz", responses=document_json(dict[str, str], 503), openapi_extra={"security": []})
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


class Readiness:
    """Reads one chunk of each store when asked, at most once in `cache_seconds`, waiting `timeout` for each.

    The reads have threads of their own, one a store, so that neither a busy service nor one store that hangs makes
    another look unreadable.
    """

    def __init__(self, catalog: Mapping[str, ServedStore], timeout: float, cache_seconds: float) -> None:
        self._catalog = catalog
        self._timeout = timeout
        self._cache_seconds = cache_seconds
        self._threads = ThreadPoolExecutor(max(1, len(catalog)), thread_name_prefix="ready")
        self._reads: dict[str, asyncio.Future[str | None]] = {}
        self._checked_at = -float("inf")
        self._failures: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def check(self) -> dict[str, str]:
        """Return why each store that cannot be read cannot; empty when all can."""
        async with self._lock:
            if time.monotonic() - self._checked_at >= self._cache_seconds:
                stores = list(self._catalog.values())
                answers = await asyncio.gather(*(self._read(store) for store in stores))
                self._failures = {store.id: why for store, why in zip(stores, answers, strict=True) if why is not None}
                self._checked_at = time.monotonic()
            return self._failures

    def close(self) -> None:
        """Wait for no read any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _read(self, store: ServedStore) -> str | None:
        read = self._reads.get(store.id)
        if read is None or read.done():
            read = asyncio.get_running_loop().run_in_executor(self._threads, read_canary, store)
            self._reads[store.id] = read
        try:
            return await asyncio.wait_for(asyncio.shield(read), self._timeout)
        except TimeoutError:
            return f"no chunk was read within {self._timeout:g} s"


def read_canary(store: ServedStore) -> str | None:
    """Read one point of the store's first sample, and with it a chunk; return why that failed, or None."""
    if not store.sample_ids:
        return None
    entry = store.manifest.samples[store.sample_ids[0]]
    domain = next(iter(entry.domains), None)
    if domain is None:
        return None
    field = store.manifest.domains[domain].position
    plan = plan_sample(store.manifest, store.sample_ids[0], {domain: 1}, seed=0, fields=[field])
    try:
        store.reader.read_into(plan, {field: np.empty(plan.arrays[field].shape, np.float32)})
    except (DrawpointError, OSError) as error:
        LOG.warning("store %s is not ready: %s", store.id, error)
        return problems.public_message(error)
    return None
