"""What OpenAPI says of parameters and problems that FastAPI cannot see, because domains differ by store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from drawpoint.payload import CONTENT_TYPE
from drawpoint.seeds import MAX_SEED
from drawpoint_service import problems, query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import FastAPI

EXAMPLE_COUNT = 4096
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_DESCRIPTIONS = {
    401: "A token is wanted.",
    403: "The token is not known.",
    404: "There is no such store, sample, split or document.",
    409: "The store is at another revision than `revision` says.",
    413: "The answer would exceed what is sent at once.",
    422: "An unknown or repeated parameter, domain or field, or a value out of place.",
    502: "The stored data is damaged or cannot be read.",
    503: "The service is busy: try again after the time that Retry-After names.",
}
_SEED = {"type": "integer", "minimum": 0, "maximum": MAX_SEED}
_NAMES = {"type": "array", "minItems": 1, "items": {"type": "string"}}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "fields": {
        "description": "Canonical fields to send, with commas between them; all unless given. "
        "What the sample lacks is absent.",
        "schema": {"type": "string"},
        "example": "surface_position,surface_pressure",
    },
    "domains": {
        "description": "Domains to send, with commas between them; all unless given.",
        "schema": {"type": "string"},
        "example": "surface",
    },
    "seed": {
        "description": "Names the draw: the same seed gives the same rows, and the answer may be cached.",
        "schema": _SEED,
        "example": 0,
    },
    "part": {
        "description": "With `seed`: one of the ceil(n / count) disjoint parts instead of a random draw.",
        "schema": _SEED,
    },
    "dtype": {
        "description": "`float32` for every field, or each as it is `stored`.",
        "schema": {"type": "string", "enum": list(query.DTYPES), "default": query.DTYPES[0]},
    },
    "revision": {
        "description": "The revision that the store has to be at.",
        "schema": {"type": "string"},
    },
    "limit": {
        "description": "How many samples a page holds at most.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": query.MAX_PAGE_SAMPLES,
            "default": query.PAGE_SAMPLES,
        },
    },
    "after": {
        "description": "The id behind which the page begins: `next` of the page before.",
        "schema": {"type": "string"},
    },
}


def document_parameters(names: Iterable[str], domains: Iterable[str] = ()) -> dict[str, Any]:
    """Return the OpenAPI of a route's query parameters: those of `names`, and a count for each of `domains`."""
    counts = [
        {
            "name": domain,
            "in": "query",
            "description": f"How many random points of {domain!r} to send, or `{query.ALL}` (also if left out of a "
            "sample read). Stores differ in their domains: `GET /stores/{store_id}` lists them.",
            "schema": {"anyOf": [{"type": "integer", "minimum": 1}, {"const": query.ALL}]},
            "example": EXAMPLE_COUNT,
        }
        for domain in domains
    ]
    return {"parameters": [*counts, *({"name": name, "in": "query", **_PARAMETERS[name]} for name in names)]}


def document_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of a route's problems; any may want a token."""
    return {
        status: {
            "description": _DESCRIPTIONS[status],
            "content": {problems.CONTENT_TYPE: {"schema": _PROBLEM}},
        }
        for status in (401, 403, *statuses)
    }


def document_payload() -> dict[str, Any]:
    """Return the OpenAPI of an answer that is a safetensors file."""
    text = {"schema": {"type": "string"}}
    return {
        "description": "A safetensors file: one tensor a canonical field, (T,) for scalars, (T, dim) for vectors.",
        "content": {CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "X-Drawpoint-Seed": {"description": "The seed of the draw.", **text},
            "X-Drawpoint-Revision": {"description": "The store's revision.", **text},
            "X-Request-ID": {"description": "The request's id: the one it came with, if that is sane.", **text},
            "Content-Digest": {"description": "The crc32c of the body (RFC 9530).", **text},
            "ETag": {"description": "With an explicit seed: names the answer.", **text},
        },
    }


def document_batch(domains: Iterable[str], most_samples: int) -> dict[str, Any]:
    """Return the OpenAPI of the body of a batch."""
    count = {"anyOf": [{"type": "integer", "minimum": 1}, {"const": query.ALL}, {"type": "null"}]}
    names = ", ".join(domains)
    item = {
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "string"}, "seed": _SEED, "part": _SEED},
        "additionalProperties": False,
    }
    members = {
        "samples": {
            "description": "The draws, in order; one without a seed gets a fresh one, which the metadata name.",
            "type": "array",
            "minItems": 1,
            "maxItems": most_samples,
            "items": item,
        },
        "num_points": {
            "description": f"Counts by domain ({names}); a domain that is left out comes in full.",
            "type": "object",
            "additionalProperties": count,
        },
        "coords": {
            "description": "Counts by domain of positions that are drawn independently, under the same seed.",
            "type": "object",
            "additionalProperties": count,
        },
        "fields": {
            "description": "Canonical fields to send; all unless given. What a sample lacks is absent.",
            **_NAMES,
        },
        "dtype": _PARAMETERS["dtype"]["schema"],
        "revision": {"description": _PARAMETERS["revision"]["description"], "type": "string"},
    }
    schema = {"type": "object", "required": ["samples"], "properties": members, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def document_batch_payload() -> dict[str, Any]:
    """Return the OpenAPI of an answer that holds a batch."""
    document = document_payload()
    headers = {name: each for name, each in document["headers"].items() if name not in ("X-Drawpoint-Seed", "ETag")}
    return {
        **document,
        "headers": headers,
        "description": "A safetensors file: `<index>/<field>`, and `<index>/coords/<domain>_position` for coordinates. "
        "Its metadata hold, as JSON, `seeds` (a list) and `errors` (a problem by index, for what is missing).",
    }


def document_manifest() -> dict[str, Any]:
    """Return the OpenAPI of a manifest: extra keys are allowed, so that stores of other writers can be served."""
    members = {"dataset_name": "string", "shuffle_seed": "integer", "domains": "object", "samples": "object"}
    schema = {
        "type": "object",
        "required": list(members),
        "properties": {name: {"type": kind} for name, kind in members.items()},
    }
    return {
        "description": "The store's manifest.json, byte for byte; `drawpoint.StoreManifest` parses it.",
        "content": {"application/json": {"schema": schema}},
    }


def document_app(app: FastAPI, *, needs_token: bool) -> dict[str, Any]:
    """Return the application's OpenAPI document, with the problem schema and, if one is needed, the token."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    parts = document.setdefault("components", {})
    parts.setdefault("schemas", {})["Problem"] = problems.Problem.model_json_schema()
    if needs_token:
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document
