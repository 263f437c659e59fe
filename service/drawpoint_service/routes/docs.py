"""The documentation in a browser: Swagger UI, all of it from here, so that the page works without internet."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import RedirectResponse, Response

from drawpoint_service.requests.responses import DigestedResponse, json_response

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


def docs_routes(document: Callable[[], bytes]) -> APIRouter:
    """Make the routes of the page, of its files, and of the OpenAPI `document` that it shows."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def redirect_to_docs() -> Response:
        return RedirectResponse("docs")

    @router.get("/openapi.json")
    async def send_document() -> Response:
        return json_response(document())

    files_here = {"/docs": (PAGE, "text/html", "no-cache"), "/docs/start.js": (START, "text/javascript", "no-cache")}
    shipped = files("fastapi_swagger") / "resources"
    for name, media_type in _SHIPPED.items():
        files_here[f"/docs/{name}"] = (shipped / name).read_bytes(), media_type, "max-age=3600"
    for path, (body, media_type, caching) in files_here.items():
        headers = {**HEADERS, "Cache-Control": caching}
        router.add_api_route(path, _send(DigestedResponse(body, media_type=media_type, headers=headers)))
    return router


def _send(response: Response) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return response

    return send
