"""The way into a store's routes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawpoint_service.catalog import find_store
from drawpoint_service.exchange import exchange_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

    from drawpoint_service.catalog import ServedStore


def enter_store(request: Request, catalog: Mapping[str, ServedStore], store_id: str) -> ServedStore:
    """Return the store of that id, whose revision the answer will name; raises StoreNotFound."""
    store = find_store(catalog, store_id)
    exchange = exchange_of(request)
    exchange.store = store
    exchange.headers["X-Drawpoint-Revision"] = store.revision
    return store
