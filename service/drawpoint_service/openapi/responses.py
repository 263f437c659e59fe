"""What OpenAPI says of the answers of a route."""

from __future__ import annotations

from typing import Any

from drawpoint.format.payload import CONTENT_TYPE
from drawpoint_service import problems

_HEADERS = {
    "X-Request-ID": "The request's id: the one it came with, or a new one.",
    "Content-Digest": "The crc32c of the body (RFC 9530).",
    "X-Drawpoint-Revision": "The store's revision.",
    "X-Drawpoint-Seed": "The seed of the draw.",
    "ETag": "Names the answer, for If-None-Match; a draw has one if `seed` was given.",
    "Cache-Control": "Whether and for how long the answer may be used again.",
    "Retry-After": "Seconds after which to ask a busy service again.",
}
_DRAW = ("X-Request-ID", "X-Drawpoint-Revision", "X-Drawpoint-Seed", "ETag", "Cache-Control")
_MANIFEST = ("X-Request-ID", "X-Drawpoint-Revision", "ETag", "Cache-Control")

Responses = dict[int | str, dict[str, Any]]


def document_problems(*statuses: int) -> Responses:
    """Return the OpenAPI of a route's problems."""
    content = {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    busy = {503: _headers("X-Request-ID", "Content-Digest", "Retry-After")}
    headers = _headers("X-Request-ID", "Content-Digest")
    return {status: {"headers": busy.get(status, headers), "content": content} for status in statuses}


def document_json(model: Any, *statuses: int) -> Responses:
    """Return the OpenAPI of a `model` as JSON, and of the problems with `statuses`."""
    return {
        200: {"headers": _headers("X-Request-ID", "Content-Digest"), "model": model},
        **document_problems(*statuses),
    }


def document_draw() -> Responses:
    """Return the OpenAPI of the answers to a draw: a safetensors file, or that it has not changed."""
    text = "A safetensors file: one tensor a canonical field, (T,) for scalars, (T, dim) for vectors."
    return {200: _payload(text, *_DRAW), 304: {"headers": _headers(*_DRAW)}}


def document_batch() -> Responses:
    """Return the OpenAPI of the answer that holds a batch."""
    text = (
        "A safetensors file: `<index>/<field>`, and `<index>/coords/<domain>_position` for coordinates. Its metadata "
        "hold, as JSON, `seeds` (a list) and `errors` (a problem by index, for what is missing)."
    )
    return {200: _payload(text, "X-Request-ID", "X-Drawpoint-Revision", "Cache-Control")}


def document_manifest() -> Responses:
    """Return the OpenAPI of a manifest: any object, so that stores of other writers can be served."""
    return {
        200: {
            "description": "The store's manifest.json, byte for byte; `drawpoint.StoreManifest` parses it.",
            "headers": _headers(*_MANIFEST, "Content-Digest"),
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        304: {"headers": _headers(*_MANIFEST)},
    }


def _payload(description: str, *headers: str) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}}
    return {"description": description, "headers": _headers(*headers, "Content-Digest"), "content": content}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}
