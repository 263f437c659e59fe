"""The way into a store's routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawpoint_service.exchange import exchange_of
from drawpoint_service.stores.catalog import find_store

if TYPE_CHECKING:
    from fastapi import Request

    from drawpoint_service.stores.catalog import ServedStore
    from drawpoint_service.stores.revisions import Catalog


async def enter_store(request: Request, catalog: Catalog, store_id: str, pinned: str | None = None) -> ServedStore:
    """Return the store of that id, whose revision the answer will name; raises StoreNotFound.

    A request that pins another revision than the one known here, in its query or as `pinned` in its body, may come from
    who has seen a newer one.
    """
    store = find_store(catalog, store_id)
    if (pinned or request.query_params.get("revision", store.revision)) != store.revision:
        store = await catalog.renew(store_id)
    exchange = exchange_of(request.scope)
    exchange.store = store
    exchange.headers["X-Drawpoint-Revision"] = store.revision
    return store
