"""What the stores hold: manifests, pages of samples, statistics and splits."""
# ruff: noqa: FAST003  the id of the store is a parameter of the dependency

import json
import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from drawpoint.errors import DataDamaged, MetadataDamaged, SplitNotFound, StatisticsNotFound
from drawpoint_service.openapi import document_json, document_manifest, document_problems, query_parameters
from drawpoint_service.read_pool import ReadPool
from drawpoint_service.requests import query, responses
from drawpoint_service.stores.catalog import Catalog, SamplePage, ServedStore, StoreSummary
from drawpoint_store.reading.splits import list_splits, read_split
from drawpoint_store.reading.statistics_file import read_statistics

LOG = logging.getLogger("drawpoint.service")


class SplitSummary(BaseModel):
    """A split, and how many samples it names; null where its file is damaged."""

    name: str
    n_samples: int | None


class SplitList(BaseModel):
    """The splits that a store ships."""

    splits: list[SplitSummary]


class Split(BaseModel):
    """A split: the ids of its samples, in its order."""

    name: str
    samples: list[str]


def store_routes(catalog: Catalog, pool: ReadPool) -> APIRouter:  # noqa: C901  its branches are the routes
    """Make the routes that show what the stores hold."""
    router = APIRouter(tags=["stores"])

    async def enter(store_id: str, request: Request) -> ServedStore:
        store = await catalog.enter(request, store_id)
        query.parse_query(query.NoQuery, request.query_params.multi_items())
        return store

    Store = Annotated[ServedStore, Depends(enter)]  # noqa: N806  a type

    @router.get("/stores", responses=document_json(list[StoreSummary], 422, 503))
    async def list_stores(request: Request) -> Response:
        """List the stores."""
        query.parse_query(query.NoQuery, request.query_params.multi_items())
        listing = b",".join(store.summary_json for store in catalog.values())
        return responses.json_response(b"[" + listing + b"]")

    @router.get("/stores/{store_id}", responses=document_json(StoreSummary, 404, 422, 503))
    async def show_store(store: Store) -> Response:
        """Show a store's domains, fields, point counts and revision."""
        return responses.json_response(store.summary_json)

    @router.get("/stores/{store_id}/manifest", responses={**document_manifest(), **document_problems(404, 422, 503)})
    async def send_manifest(store: Store, request: Request) -> Response:
        """Send the manifest as it is stored: the sha256 of its bytes is the store's revision."""
        compressed = responses.accepts_gzip(request.headers.get("accept-encoding"))
        etags = {False: f'"{store.revision}"', True: f'"{store.revision}-gzip"'}
        headers = {"ETag": etags[compressed], "Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
        if responses.matches(request.headers.get("if-none-match"), list(etags.values())):
            return responses.not_modified(headers)
        if not compressed:
            return responses.json_response(store.manifest_json, headers)
        packed = await pool.run(lambda: store.manifest_gzip)
        return responses.json_response(packed, {**headers, "Content-Encoding": "gzip"})

    @router.get(
        "/stores/{store_id}/samples",
        responses=document_json(SamplePage, 404, 422, 503),
        openapi_extra={"parameters": query_parameters(query.PageQuery)},
    )
    async def list_samples(store_id: str, request: Request) -> Response:
        """List a page of samples with their grids, in the order of their ids."""
        store = await catalog.enter(request, store_id)
        page = query.parse_query(query.PageQuery, request.query_params.multi_items())
        return responses.json_response(store.list_samples(page.limit, page.after))

    @router.get("/stores/{store_id}/statistics", responses=document_json(dict[str, Any], 404, 422, 502, 503))
    async def send_statistics(store: Store) -> Response:
        """Send the statistics of the store's fields, if there are any of its present revision."""
        return responses.json_response(await pool.run(read_current_statistics, store))

    @router.get("/stores/{store_id}/splits", responses=document_json(SplitList, 404, 422, 502, 503))
    async def send_splits(store: Store) -> Response:
        """List the splits that the store ships."""
        return responses.json_response(await pool.run(read_splits, store))

    @router.get("/stores/{store_id}/splits/{name}", responses=document_json(Split, 404, 422, 502, 503))
    async def send_split(store: Store, name: str) -> Response:
        """Send the sample ids of a split."""
        return responses.json_response(await pool.run(read_one_split, store, name))

    return router


def read_current_statistics(store: ServedStore) -> bytes:
    """Return the store's statistics as JSON.

    Raises StatisticsNotFound if it ships none of its present revision, MetadataDamaged for numbers that are not finite
    and so no JSON to others.
    """
    statistics = read_statistics(store.reader.storage)
    if statistics is None:
        raise StatisticsNotFound(f"store {store.id!r} ships no statistics; `drawpoint stats` makes them.")
    if statistics["revision"] != store.revision:
        raise StatisticsNotFound(
            f"the statistics of store {store.id!r} are stale: they are of revision {statistics['revision'][:64]}, the "
            f"store is at {store.revision}; `drawpoint stats` renews them."
        )
    try:
        return json.dumps(statistics, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise MetadataDamaged(f"the statistics of store {store.id!r} cannot be sent: {error}.") from None


def read_splits(store: ServedStore) -> SplitList:
    """Return the splits that the store ships; raises SplitNotFound if it ships none."""
    return SplitList(splits=[SplitSummary(name=name, n_samples=_count_ids(store, name)) for name in _names(store)])


def read_one_split(store: ServedStore, name: str) -> Split:
    """Return a split; raises SplitNotFound with near names."""
    if name not in (names := _names(store)):
        raise SplitNotFound.among("split", name, names, where=f"store {store.id!r}")
    return Split(name=name, samples=read_split(store.reader.storage, name))


def _names(store: ServedStore) -> list[str]:
    if names := list_splits(store.reader.storage):
        return names
    raise SplitNotFound(
        f"store {store.id!r} ships no splits; put lists of sample ids at splits/NAME.txt beside its manifest."
    )


def _count_ids(store: ServedStore, name: str) -> int | None:
    try:
        return len(read_split(store.reader.storage, name))
    except DataDamaged as error:  # the others can be read all the same
        LOG.warning("store %s: %s", store.id, error)
        return None
