"""The application: readers of stores and settings in, a FastAPI application out."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

import drawpoint
from drawpoint.errors import DrawpointError, Overloaded
from drawpoint_service import problems
from drawpoint_service.admission.admission import Admission
from drawpoint_service.admission.budget import MEMORY_SECONDS, Budget, Pace
from drawpoint_service.exchange import OPEN_PATHS, Exchanges, exchange_of
from drawpoint_service.openapi.openapi import document_app
from drawpoint_service.pool import ReadPool
from drawpoint_service.requests.responses import problem_response
from drawpoint_service.routes.batch import batch_routes
from drawpoint_service.routes.docs import docs_routes
from drawpoint_service.routes.draws import draw_routes
from drawpoint_service.routes.health import health_routes
from drawpoint_service.routes.stores import store_routes
from drawpoint_service.server.draining import Draining
from drawpoint_service.stores.catalog import serve_store
from drawpoint_service.stores.readiness import Readiness
from drawpoint_service.stores.revisions import Catalog
from drawpoint_store.reading.reader import ZarrChunkReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from drawpoint_service.settings import Settings

LOG = logging.getLogger("drawpoint.service")

DESCRIPTION = """\
Random subsamples of CFD samples, as safetensors.

The same seed gives the same rows on every replica. `HEAD` answers like `GET` without the body: a draw is planned and
not read, so its length, seed and ETag are known and its `Content-Digest` is not. What goes wrong is a problem document
(RFC 9457) whose `type` is `urn:drawpoint:` and the name of the problem, such as `sample-not-found`.
"""


def create_app(stores: Mapping[str, ZarrChunkReader], settings: Settings) -> FastAPI:
    """Build the application that serves `stores`, a reader of each by its id.

    Raises InvalidManifest for a store that cannot be served, RevisionChanged for one that has been rewritten since
    it was opened.
    """
    served = (serve_store(store_id, reader) for store_id, reader in stores.items())
    catalog = Catalog(served, settings.revalidate_seconds)
    pool = ReadPool(settings.read_threads)
    pace = Pace()
    memory = Budget(settings.memory_bytes, MEMORY_SECONDS, pace)
    readiness = Readiness(catalog, settings.ready_timeout_seconds, settings.ready_cache_seconds)
    draining = Draining(settings.drain_seconds)

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

    app = FastAPI(
        title="drawpoint",
        version=drawpoint.__version__,
        description=DESCRIPTION,
        lifespan=live,
        redirect_slashes=False,
        docs_url=None,  # FastAPI's pages load what they show from other hosts
        redoc_url=None,
    )
    app.include_router(store_routes(catalog, pool))
    app.include_router(draw_routes(catalog, settings, pool, memory))
    app.include_router(batch_routes(catalog, settings, pool, memory))
    app.include_router(health_routes(readiness, draining))
    app.include_router(docs_routes())
    explain_errors(app, settings)
    app.add_middleware(
        Admission, settings=settings, pace=pace, is_far=any(store.reader.is_remote for store in catalog.values())
    )
    # Added last, it is the outermost.
    app.add_middleware(Exchanges, tokens=[token.get_secret_value() for token in settings.token], draining=draining)

    documents: dict[tuple[str, ...], dict[str, Any]] = {}

    def document() -> dict[str, Any]:
        revisions = tuple(store.revision for store in catalog.values())
        if revisions not in documents:
            documents.clear()
            documents[revisions] = document_app(
                app,
                list(catalog.values()),
                most_samples=settings.max_batch_samples,
                needs_token=bool(settings.token),
                open_paths=OPEN_PATHS,
            )
        return documents[revisions]

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way of extending the document
    return app


def open_app(settings: Settings) -> FastAPI:
    """Open the stores that the settings name and build their application: what a worker process begins with."""
    return create_app(open_stores(settings), settings)


def open_stores(settings: Settings) -> dict[str, ZarrChunkReader]:
    """Return a reader of each store that the settings name; raises what StoreManifest.load raises."""
    return {
        name: ZarrChunkReader(
            store.location(), chunk_cache_bytes=store.chunk_cache_bytes, disk_cache=store.open_disk_cache()
        )
        for name, store in settings.stores.items()
    }


def explain_errors(app: FastAPI, settings: Settings) -> None:
    """Answer errors of ours, and those of HTTP itself, with problem documents."""

    async def explain(request: Request, error: Exception) -> Response:
        assert isinstance(error, DrawpointError)
        exchange = exchange_of(request.scope)
        if problems.is_ours(error):
            LOG.warning("%s: %s", exchange.request_id, error)
        problem = problems.describe(error, exchange.request_id, exchange.store)
        overloaded = isinstance(error, Overloaded)
        return problem_response(problem, {"Retry-After": str(settings.retry_after_seconds)} if overloaded else None)

    async def explain_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.NOT_FOUND:
            detail = f"there is nothing at {request.url.path[:200]!r}; /docs lists what there is."
        elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            methods = set(headers["Allow"].split(", "))
            allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
            headers["Allow"] = allowed
            detail = f"{request.method} is not allowed here; allowed: {allowed}."
        else:
            detail = str(error.detail)
        problem = problems.plain(error.status_code, detail, exchange_of(request.scope).request_id)
        return problem_response(problem, headers)

    app.add_exception_handler(DrawpointError, explain)
    app.add_exception_handler(HTTPException, explain_http)
