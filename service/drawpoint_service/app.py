"""The application: readers of stores and settings in, a FastAPI application out."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware import Middleware

import drawpoint
from drawpoint_service.admission.admission import Admission
from drawpoint_service.admission.semaphore import MEMORY_SECONDS, FairSemaphore, RefusalQueue
from drawpoint_service.middleware.access import AccessCheck
from drawpoint_service.middleware.connection_close import ConnectionClose
from drawpoint_service.middleware.failures import Failures, explain_errors
from drawpoint_service.middleware.head import HeadRequests
from drawpoint_service.middleware.request_log import RequestLog
from drawpoint_service.openapi import document_app, document_problems
from drawpoint_service.read_pool import ReadPool
from drawpoint_service.routes.batch import batch_routes
from drawpoint_service.routes.docs import docs_routes
from drawpoint_service.routes.draws import draw_routes
from drawpoint_service.routes.health import Readiness, health_routes
from drawpoint_service.routes.stores import store_routes
from drawpoint_service.server.draining import Draining
from drawpoint_service.stores.catalog import Catalog, serve_store
from drawpoint_store.reading.reader import ZarrChunkReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from drawpoint_service.settings import Settings

DESCRIPTION = """\
Random subsamples of CFD samples, as safetensors.

The same seed gives the same rows on every replica. `HEAD` answers like `GET` without the body: a draw is planned and
not read, so its length, seed and ETag are known and its `Content-Digest` is not. A request may name itself with
`X-Request-ID`, and what it has already with `If-None-Match`. What goes wrong is a problem document (RFC 9457) whose
`type` is `urn:drawpoint:` and the name of the problem, such as `sample-not-found`.
"""


def create_app(stores: Mapping[str, ZarrChunkReader], settings: Settings) -> FastAPI:
    """Build the application that serves `stores`, a reader of each by its id.

    Raises InvalidManifest for a store that cannot be served, RevisionChanged for one that has been rewritten since
    it was opened.
    """
    served = (serve_store(store_id, reader) for store_id, reader in stores.items())
    catalog = Catalog(served, settings.revalidate_seconds)
    pool = ReadPool(settings.read_threads)
    refusals = RefusalQueue()
    memory = FairSemaphore(settings.memory_bytes, MEMORY_SECONDS, refusals)
    readiness = Readiness(catalog, settings.ready_timeout_seconds, settings.ready_cache_seconds)
    draining = Draining(settings.drain_seconds)
    is_remote = any(store.reader.is_remote for store in catalog.values())

    @asynccontextmanager
    async def live(_: FastAPI) -> AsyncIterator[None]:
        draining.watch()
        catalog.watch()
        try:
            yield
        finally:
            await catalog.close()
            readiness.close()
            pool.close()

    tokens = [token.get_secret_value() for token in settings.token]
    app = FastAPI(
        title="drawpoint",
        version=drawpoint.__version__,
        description=DESCRIPTION,
        lifespan=live,
        redirect_slashes=False,
        responses=document_problems(400, 431, 500),
        openapi_url=None,  # FastAPI's routes have no digest, and its pages load what they show from other hosts
        # From the outside in. The log sees requests and answers as they are on the wire. Connections end after refusals
        # too. HEAD becomes GET before anything is refused, so that refusals have no body either. A request without a
        # token takes no slot, and one without a slot reaches no route. Failures of routes are the innermost concern.
        middleware=[
            Middleware(RequestLog),
            Middleware(ConnectionClose, draining=draining),
            Middleware(HeadRequests),
            Middleware(AccessCheck, tokens=tokens),
            Middleware(Admission, settings=settings, refusals=refusals, is_remote=is_remote),
            Middleware(Failures),
        ],
    )

    @lru_cache(maxsize=1)
    def document(_revisions: tuple[str, ...]) -> bytes:
        return document_app(
            app, list(catalog.values()), most_samples=settings.max_batch_samples, needs_token=bool(tokens)
        )

    guarded = document_problems(401, 403) if tokens else None
    # Draws first: routes are tried in this order, and they are what is asked for most.
    app.include_router(draw_routes(catalog, settings, pool, memory), responses=guarded)
    app.include_router(store_routes(catalog, pool), responses=guarded)
    app.include_router(batch_routes(catalog, settings, pool, memory), responses=guarded)
    app.include_router(health_routes(readiness, draining))
    app.include_router(docs_routes(lambda: document(tuple(store.revision for store in catalog.values()))))
    explain_errors(app, settings.retry_after_seconds)
    return app


def open_app(settings: Settings) -> FastAPI:
    """Open the stores that the settings name and build their application: what a worker process begins with."""
    return create_app(open_stores(settings), settings)


def open_stores(settings: Settings) -> dict[str, ZarrChunkReader]:
    """Return a reader of each store that the settings name; raises what StoreManifest.load raises."""
    return {
        name: ZarrChunkReader(
            store.open_storage(), chunk_cache_bytes=store.chunk_cache_bytes, disk_cache=store.open_disk_cache()
        )
        for name, store in settings.stores.items()
    }
