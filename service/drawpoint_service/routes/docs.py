"""The documentation in a browser: Swagger UI, all of it from here, so that the page works without internet."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PAGE = b"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>drawpoint</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
START = b"""\
SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
"""
HEADERS = {
    # No other host, and no script in the page. Swagger UI's pictures are in its style sheet, as data.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_SHIPPED = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
PATHS = ("/", "/docs", "/openapi.json", "/docs/start.js", *(f"/docs/{name}" for name in _SHIPPED))
"""What the page is made of; none of it takes a token, which a browser would not send for it."""


def docs_routes() -> APIRouter:
    """Make the routes of the page and of its files."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", redirect_to_docs)
    router.add_api_route("/docs", _send(PAGE, "text/html", "no-cache"))
    router.add_api_route("/docs/start.js", _send(START, "text/javascript", "no-cache"))
    shipped = files("fastapi_swagger") / "resources"
    for name, media_type in _SHIPPED.items():
        router.add_api_route(f"/docs/{name}", _send((shipped / name).read_bytes(), media_type, "max-age=3600"))
    return router


async def redirect_to_docs() -> Response:
    """Send a browser to the documentation."""
    return RedirectResponse("docs")


def _send(body: bytes, media_type: str, caching: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(body, media_type=media_type, headers={**HEADERS, "Cache-Control": caching})

    return send
