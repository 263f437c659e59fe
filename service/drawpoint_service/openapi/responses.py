"""What OpenAPI says of the answers of a route."""

from __future__ import annotations

from typing import Any

from drawpoint.draw.seeds import MAX_SEED
from drawpoint.format.payload import CONTENT_TYPE
from drawpoint_service import problems

_DESCRIPTIONS = {
    400: "The request is not HTTP/1.1.",
    401: "A token is wanted.",
    403: "The token is not known.",
    404: "There is no such store, sample, split or document.",
    408: "The request's body did not come in time.",
    409: "The store is at another revision than `revision` says.",
    413: "The request, or the answer, would exceed what is sent at once.",
    415: "The body says that it is not JSON.",
    422: "An unknown or repeated parameter, domain or field, a value out of place, or a domain that the sample lacks.",
    431: "The request line and the headers are too long.",
    500: "The service failed; its log says why, under the request's id.",
    502: "The stored data is damaged or cannot be read.",
    503: "The service is busy, not ready, or shutting down.",
}
_TEXT = {"type": "string"}
_PAYLOAD = {CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}}
_ALWAYS = {
    "X-Request-ID": {
        "description": "The request's id: the one it came with, if that is sane.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[ -~]{1,128}$"},
    }
}
_REVISION = {
    "description": "The store's revision.",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
}
_DIGEST = {
    "description": "The crc32c of the body (RFC 9530).",
    "required": True,
    "schema": {"type": "string", "pattern": "^crc32c=:[A-Za-z0-9+/]{6}==:$"},
}
_CACHE = {"description": "Whether and for how long the answer may be used again.", "required": True, "schema": _TEXT}
_SEED = {
    "description": "The seed of the draw.",
    "required": True,
    "schema": {"type": "integer", "minimum": 0, "maximum": MAX_SEED},
}
_PROBLEM_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "How to send the token.", "required": True, "schema": _TEXT}},
    409: {"X-Drawpoint-Revision": _REVISION},
    415: {"Accept": {"description": "What a body may be.", "required": True, "schema": _TEXT}},
    503: {
        "Retry-After": {
            "description": "Seconds after which to ask a busy service again.",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}


def document_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of a route's problems."""
    return {
        status: {
            "description": _DESCRIPTIONS[status],
            "headers": {**_ALWAYS, "Content-Digest": _DIGEST, **_PROBLEM_HEADERS.get(status, {})},
            "content": {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def document_json(model: Any = None, *, of_store: bool = True) -> dict[str, Any]:
    """Return the OpenAPI of an answer that is JSON, and a `model`; those about a store name its revision."""
    headers = {**_ALWAYS, "Content-Digest": _DIGEST, **({"X-Drawpoint-Revision": _REVISION} if of_store else {})}
    return {"headers": headers, **({} if model is None else {"model": model})}


def document_draw() -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of the answers to a draw: a safetensors file, or that it has not changed."""
    headers = {**_ALWAYS, "X-Drawpoint-Revision": _REVISION, "X-Drawpoint-Seed": _SEED, "Cache-Control": _CACHE}
    tag = {"description": "Names the answer, if `seed` was given.", "schema": _TEXT}
    return {
        200: {
            "description": "A safetensors file: one tensor a canonical field, (T,) for scalars, (T, dim) for vectors.",
            "headers": {**headers, "Content-Digest": _DIGEST, "ETag": tag},
            "content": _PAYLOAD,
        },
        304: {"description": "What If-None-Match names is still right.", "headers": {**headers, "ETag": tag}},
    }


def document_batch() -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of the answer that holds a batch."""
    headers = {
        **_ALWAYS,
        "X-Drawpoint-Revision": _REVISION,
        "Cache-Control": _CACHE,
        "Content-Digest": _DIGEST,
    }
    description = (
        "A safetensors file: `<index>/<field>`, and `<index>/coords/<domain>_position` for coordinates. Its metadata "
        "hold, as JSON, `seeds` (a list) and `errors` (a problem by index, for what is missing)."
    )
    return {200: {"description": description, "headers": headers, "content": _PAYLOAD}}


def document_manifest() -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of a manifest: extra keys are allowed, so that stores of other writers can be served."""
    members = {"dataset_name": "string", "shuffle_seed": "integer", "domains": "object", "samples": "object"}
    schema = {
        "type": "object",
        "required": list(members),
        "properties": {name: {"type": kind} for name, kind in members.items()},
    }
    headers = {
        **_ALWAYS,
        "X-Drawpoint-Revision": _REVISION,
        "Cache-Control": _CACHE,
        "ETag": {"description": "The revision; `-gzip` behind it if compressed.", "required": True, "schema": _TEXT},
        "Vary": {"description": "Accept-Encoding: gzip compresses.", "required": True, "schema": _TEXT},
    }
    return {
        200: {
            "description": "The store's manifest.json, byte for byte; `drawpoint.StoreManifest` parses it.",
            "headers": {**headers, "Content-Digest": _DIGEST},
            "content": {"application/json": {"schema": schema}},
        },
        304: {"description": "What If-None-Match names is still right.", "headers": headers},
    }
