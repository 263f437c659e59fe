"""The application: opened stores and settings in, a FastAPI application out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint_service.settings import Settings
    from drawpoint_store.store import OpenStore


def create_app(stores: Mapping[str, OpenStore], settings: Settings) -> FastAPI:
    """Build the application that serves `stores`, opened stores by id."""
    app = FastAPI(title="drawpoint", redirect_slashes=False)

    @app.get("/healthz")
    async def tell_health() -> dict[str, str]:
        return {"status": "ok"}

    return app
