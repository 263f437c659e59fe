"""OpenAPI: what routes say of their answers, and the document of a running service.

What its stores hold decides what a draw of them can ask for.
"""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from drawpoint.draw.batch import MAX_BODY_BYTES
from drawpoint.format.payload import CONTENT_TYPE
from drawpoint_service import problems
from drawpoint_service.requests.batch_body import BatchBody
from drawpoint_service.requests.query import ALL, DrawQuery, SampleQuery

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fastapi import FastAPI

    import drawpoint.format.manifest
    from drawpoint_service.requests.query import RequestModel
    from drawpoint_service.stores.catalog import ServedStore

_HEADERS = {
    "X-Request-ID": "The request's id: the one it came with, or a new one.",
    "Content-Digest": "The crc32c of the body (RFC 9530).",
    "X-Drawpoint-Revision": "The store's revision.",
    "X-Drawpoint-Seed": "The seed of the draw.",
    "ETag": "Names the answer, for If-None-Match; a draw has one if `seed` was given.",
    "Cache-Control": "Whether and for how long the answer may be used again.",
    "Retry-After": "Seconds after which to ask a busy service again.",
}
_DRAW = ("X-Drawpoint-Revision", "X-Drawpoint-Seed", "ETag", "Cache-Control")
_MANIFEST = ("X-Drawpoint-Revision", "ETag", "Cache-Control")

Responses = dict[int | str, dict[str, Any]]

_EXAMPLE_COUNT = 4096


def document_problems(*statuses: int) -> Responses:
    """Return the OpenAPI of a route's problems."""
    content = {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    busy = {503: _headers("Content-Digest", "Retry-After")}
    return {
        status: {"headers": busy.get(status, _headers("Content-Digest")), "content": content} for status in statuses
    }


def document_json(model: Any, *statuses: int) -> Responses:
    """Return the OpenAPI of a `model` as JSON, and of the problems with `statuses`."""
    return {200: {"headers": _headers("Content-Digest"), "model": model}, **document_problems(*statuses)}


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
    return {200: _payload(text, "X-Drawpoint-Revision", "Cache-Control")}


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
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in ("X-Request-ID", *names)}


def document_app(app: FastAPI, stores: Sequence[ServedStore], *, most_samples: int, needs_token: bool) -> bytes:
    """Return the application's OpenAPI document.

    What a draw can ask for has a path for all stores where they have the same domains and fields, and else one for
    each: a path of many stores could only say what some of them refuse.
    """
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    are_alike = len({str(_fields_of(store.manifest)) for store in stores}) == 1
    paths: dict[str, dict[str, Any]] = {}
    for path, methods in document["paths"].items():
        (method, operation), *_ = methods.items()
        if "draws" not in operation["tags"]:
            paths[path] = methods
        elif are_alike:
            paths[path] = {method: _complete(path, operation, stores[0], most_samples)}
        else:
            for store in stores:
                own = _complete(path, operation, store, most_samples)
                own["operationId"] += f"_{store.id}"
                own["tags"] = [store.id]
                own["parameters"] = [each for each in own["parameters"] if each["name"] != "store_id"]
                paths[path.replace("{store_id}", store.id)] = {method: own}
    for methods in paths.values():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "store_id" and stores:
                    parameter["schema"] = {"type": "string", "enum": [store.id for store in stores]}
    document["paths"] = paths
    parts = document.setdefault("components", {})
    parts.setdefault("schemas", {})["Problem"] = problems.Problem.model_json_schema()
    if needs_token:
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    # Where the document lies, also behind a proxy that serves it below a prefix.
    document["servers"] = [{"url": "."}]
    return json.dumps(document).encode()


def query_parameters(model: type[RequestModel], *names: str, **examples: Any) -> list[dict[str, Any]]:
    """Return the parameters that a query's model has, or those of `names`."""
    properties = _properties_of(model)
    return [
        _in_query(name, properties[name], properties[name]["description"], examples.get(name))
        for name in names or properties
    ]


def _complete(path: str, operation: dict[str, Any], store: ServedStore, most_samples: int) -> dict[str, Any]:
    """Return the operation of a draw with all that can be asked of `store`: parameters of the query, or a body."""
    own = copy.deepcopy(operation)
    for parameter in own["parameters"]:
        if parameter["name"] == "sample_id" and store.sample_ids:
            parameter["example"] = store.sample_ids[0]
    if path.endswith("/batch"):
        own["requestBody"] = _batch_body(store.manifest, most_samples)
    elif "/coords/" in path:
        own["parameters"] += _coords_parameters(store.manifest)
    else:
        own["parameters"] += _sample_parameters(store.manifest)
    return own


def _sample_parameters(manifest: drawpoint.format.manifest.StoreManifest) -> list[dict[str, Any]]:
    """Document the counts and SampleQuery; members that depend on one another are one parameter."""
    own = _properties_of(SampleQuery)
    draw = {
        "type": "object",
        "properties": {name: own[name] for name in ("seed", "part")},
        "dependentRequired": {"part": ["seed"]},
        "additionalProperties": False,
    }
    return [
        *(
            _in_query(domain, count, f"How many random points of {domain!r} to send, or `{ALL}`.", _EXAMPLE_COUNT)
            for domain, count in _counts(manifest).items()
        ),
        _in_query("draw", draw, "`seed`, and with it `part`: one of the ceil(n / count) disjoint parts.", {"seed": 0}),
        _selection(manifest),
        *query_parameters(SampleQuery, "dtype", "revision", revision=manifest.revision),
    ]


def _coords_parameters(manifest: drawpoint.format.manifest.StoreManifest) -> list[dict[str, Any]]:
    counts = {
        "type": "object",
        "minProperties": 1,
        "properties": _counts(manifest),
        "additionalProperties": False,
    }
    text = f"How many points of each domain to send, or `{ALL}`; at least one domain, and none that the sample lacks."
    return [
        {**_in_query("num_points", counts, text, dict.fromkeys(manifest.domains, _EXAMPLE_COUNT)), "required": True},
        *query_parameters(DrawQuery, "seed", "dtype", "revision", seed=0, revision=manifest.revision),
    ]


def _counts(manifest: drawpoint.format.manifest.StoreManifest) -> dict[str, Any]:
    return dict.fromkeys(manifest.domains, _properties_of(DrawQuery)["counts"]["additionalProperties"])


def _selection(manifest: drawpoint.format.manifest.StoreManifest) -> dict[str, Any]:
    """Document `fields` and `domains`, lists of names that must leave something of one another."""
    by_domain = _fields_of(manifest)
    fields = [field for of_domain in by_domain.values() for field in of_domain]
    choices = [
        {
            "type": "object",
            "properties": {
                "fields": {"type": "string", "pattern": _list_with(fields, of_domain)},
                "domains": {"type": "string", "pattern": _list_with(by_domain, [domain])},
            },
            "additionalProperties": False,
        }
        for domain, of_domain in by_domain.items()
    ]
    text = (
        "`fields` and `domains` to send, each a list with commas between the names; all unless given. Where both are "
        "given, at least one field is of one of the domains. Fields that the sample lacks are absent, and naming a "
        "domain that it lacks is 422."
    )
    return _in_query("selection", {"anyOf": choices}, text, {"fields": ",".join(fields[:2])})


def _batch_body(manifest: drawpoint.format.manifest.StoreManifest, most_samples: int) -> dict[str, Any]:
    """Document BatchBody with the domains and fields that the store has."""
    schema = BatchBody.model_json_schema()
    sample = schema.pop("$defs")["BatchSample"]
    members = schema["properties"]
    members["samples"]["items"] = sample
    members["samples"]["description"] = (
        "The draws, in order; one without a seed gets a fresh one, which the metadata name. More than "
        f"{most_samples} are answered with 413, and so is a body of more than {MAX_BODY_BYTES:,} bytes."
    )
    for name in ("num_points", "coords"):
        counts = members[name]["anyOf"][0]
        counts["properties"] = dict.fromkeys(manifest.domains, counts.pop("additionalProperties"))
        counts["additionalProperties"] = False
    members["fields"]["anyOf"][0]["items"]["enum"] = list(manifest.fields)
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _fields_of(manifest: drawpoint.format.manifest.StoreManifest) -> dict[str, list[str]]:
    return {domain: list(layout.arrays) for domain, layout in manifest.domains.items()}


def _list_with(names: Collection[str], some: Collection[str]) -> str:
    """Return the pattern of a list of `names` that holds one of `some`."""
    any_name, one = ("|".join(map(re.escape, each)) for each in (names, some))
    return f"^(({any_name}),)*({one})(,({any_name}))*$"


def _properties_of(model: type[RequestModel]) -> dict[str, dict[str, Any]]:
    """Return the schema of each field of a query; a URL has no null, so what may be None may be left out."""
    return {name: _without_null(each) for name, each in model.model_json_schema()["properties"].items()}


def _in_query(name: str, schema: Mapping[str, Any], description: str, example: Any = None) -> dict[str, Any]:
    """Return a parameter; an object is a parameter for each of its properties, under their own names."""
    described = {"description": description} if example is None else {"description": description, "example": example}
    return {"name": name, "in": "query", **described, "style": "form", "explode": True, "schema": schema}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "additionalProperties" in schema and isinstance(schema["additionalProperties"], dict):
        return {**schema, "additionalProperties": _without_null(schema["additionalProperties"])}
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    others = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    if not choices:
        return schema
    return {**others, "anyOf": choices} if len(choices) > 1 else {**others, **choices[0]}
