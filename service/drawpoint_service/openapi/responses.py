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
_NOT_MODIFIED = "What If-None-Match names is still right."


def _header(description: str, *, required: bool = True, **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": schema or {"type": "string"}}


_REQUEST_ID = {
    "X-Request-ID": _header(
        "The request's id: the one it came with, if that is printable ASCII of 1 to 128 characters.",
        type="string",
        pattern="^[ -~]{1,128}$",
    )
}
_REVISION = {"X-Drawpoint-Revision": _header("The store's revision.", type="string", pattern="^[0-9a-f]{64}$")}
_DIGEST = {
    "Content-Digest": _header(
        "The crc32c of the body (RFC 9530).", type="string", pattern="^crc32c=:[A-Za-z0-9+/]{6}==:$"
    )
}
_CACHE = {"Cache-Control": _header("Whether and for how long the answer may be used again.")}
_PROBLEM_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": _header("How to send the token.")},
    409: _REVISION,
    415: {"Accept": _header("What a body may be.")},
    503: {
        "Retry-After": _header(
            "Seconds after which to ask a busy service again.", required=False, type="integer", minimum=1
        )
    },
}


def document_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of a route's problems."""
    content = {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {
            "description": _DESCRIPTIONS[status],
            "headers": {**_REQUEST_ID, **_DIGEST, **_PROBLEM_HEADERS.get(status, {})},
            "content": content,
        }
        for status in statuses
    }


def document_json(model: Any, *statuses: int, of_store: bool = True) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of a `model` as JSON, and of the problems with `statuses`; `of_store` has its revision."""
    headers = {**_REQUEST_ID, **_DIGEST, **(_REVISION if of_store else {})}
    return {200: {"headers": headers, "model": model}, **document_problems(*statuses)}


def document_draw() -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of the answers to a draw: a safetensors file, or that it has not changed."""
    seed = _header("The seed of the draw.", type="integer", minimum=0, maximum=MAX_SEED)
    etag = _header("Names the answer, if `seed` was given.", required=False)
    headers = {**_REQUEST_ID, **_REVISION, **_CACHE, "X-Drawpoint-Seed": seed, "ETag": etag}
    text = "A safetensors file: one tensor a canonical field, (T,) for scalars, (T, dim) for vectors."
    return {200: _payload(text, headers), 304: {"description": _NOT_MODIFIED, "headers": headers}}


def document_batch() -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of the answer that holds a batch."""
    text = (
        "A safetensors file: `<index>/<field>`, and `<index>/coords/<domain>_position` for coordinates. Its metadata "
        "hold, as JSON, `seeds` (a list) and `errors` (a problem by index, for what is missing)."
    )
    return {200: _payload(text, {**_REQUEST_ID, **_REVISION, **_CACHE})}


def document_manifest() -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of a manifest: extra keys are allowed, so that stores of other writers can be served."""
    members = {"dataset_name": "string", "shuffle_seed": "integer", "domains": "object", "samples": "object"}
    schema = {
        "type": "object",
        "required": list(members),
        "properties": {name: {"type": kind} for name, kind in members.items()},
    }
    etag = _header("The revision; `-gzip` behind it if compressed.")
    vary = _header("Accept-Encoding: gzip compresses.")
    headers = {**_REQUEST_ID, **_REVISION, **_CACHE, "ETag": etag, "Vary": vary}
    return {
        200: {
            "description": "The store's manifest.json, byte for byte; `drawpoint.StoreManifest` parses it.",
            "headers": {**headers, **_DIGEST},
            "content": {"application/json": {"schema": schema}},
        },
        304: {"description": _NOT_MODIFIED, "headers": headers},
    }


def _payload(description: str, headers: dict[str, Any]) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}}
    return {"description": description, "headers": {**headers, **_DIGEST}, "content": content}
