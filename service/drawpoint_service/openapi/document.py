"""The OpenAPI document of a running service: what its stores hold decides what a draw of them can ask for."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from drawpoint.draw.batch import MAX_BODY_BYTES
from drawpoint.draw.seeds import MAX_SEED
from drawpoint_service import problems
from drawpoint_service.middleware.access import OPEN_PATHS
from drawpoint_service.openapi.responses import document_problems
from drawpoint_service.requests import query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastapi import FastAPI

    import drawpoint.format.manifest
    from drawpoint_service.stores.catalog import ServedStore

    Parameters = list[dict[str, Any]]

EXAMPLE_COUNT = 4096
_STORE = "/stores/{store_id}"
_SEED = {"type": "integer", "minimum": 0, "maximum": MAX_SEED}
_COUNT = {"type": "integer", "minimum": 1, "maximum": MAX_SEED}
_URL_COUNT = {"anyOf": [_COUNT, {"const": query.ALL}]}
_BODY_COUNT = {"anyOf": [_COUNT, {"const": query.ALL}, {"type": "null"}]}
_DTYPE = {"type": "string", "enum": list(query.DTYPES), "default": query.DTYPES[0]}
_SEED_TEXT = "Names the draw: the same seed gives the same rows, and the answer may be cached."
_REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Names the request in its answer and in the log, if it is printable ASCII of 1 to 128 characters.",
    "schema": {"type": "string"},
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "ETags of answers at hand; one that is still right is not sent again.",
    "schema": {"type": "string"},
}


def page_parameters() -> dict[str, Any]:
    """Return the OpenAPI of the query of a page of samples."""
    limit = {**_COUNT, "maximum": query.MAX_PAGE_SAMPLES, "default": query.PAGE_SAMPLES}
    after = "The id behind which the page begins: `next` of the page before."
    return {
        "parameters": [
            _in_query("limit", "How many samples a page holds at most.", limit),
            _in_query("after", after, {"type": "string"}),
        ]
    }


def document_app(app: FastAPI, stores: Sequence[ServedStore], *, most_samples: int, needs_token: bool) -> bytes:
    """Return the application's OpenAPI document.

    What a draw can ask for has a path for all stores where they have the same domains and fields, and else one for
    each: a path of many stores could only say what some of them refuse.
    """
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    draws: dict[str, Callable[[drawpoint.format.manifest.StoreManifest], dict[str, Any]]] = {
        f"{_STORE}/samples/{{sample_id}}": _document_sample,
        f"{_STORE}/coords/{{sample_id}}": _document_coords,
        f"{_STORE}/batch": lambda manifest: _document_batch(manifest, most_samples),
    }
    alike = {str(_fields_of(store.manifest)) for store in stores}
    ids = [store.id for store in stores]
    paths: dict[str, Any] = {}
    for path, methods in document["paths"].items():
        if path not in draws:
            paths[path] = _with_store(methods, ids)
        elif len(alike) == 1:
            paths[path] = _with_query(_with_store(methods, ids), draws[path](stores[0].manifest))
        else:
            for store in stores:
                asked = _with_query(_for_one(methods, store.id), draws[path](store.manifest))
                paths[path.replace("{store_id}", store.id)] = asked
    for path, methods in paths.items():
        _complete(methods, asks_token=needs_token and path not in OPEN_PATHS)
    document["paths"] = paths
    parts = document.setdefault("components", {})
    parts.setdefault("schemas", {})["Problem"] = problems.Problem.model_json_schema()
    if needs_token:
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    # Where the document lies, also behind a proxy that serves it below a prefix.
    document["servers"] = [{"url": "."}]
    return json.dumps(document).encode()


def _complete(methods: dict[str, Any], *, asks_token: bool) -> None:
    """Add what holds for every request: its id, problems that any may meet, and HEAD."""
    for operation in methods.values():
        parameters = operation.setdefault("parameters", [])
        if "304" in operation["responses"]:
            parameters.append(_IF_NONE_MATCH)
        parameters.append(_REQUEST_ID)
        statuses = (400, *((401, 403) if asks_token else ()), 431, 500)
        responses = {
            **operation["responses"],
            **{str(status): each for status, each in document_problems(*statuses).items()},
        }
        operation["responses"] = dict(sorted(responses.items()))
        if not asks_token:
            operation["security"] = []
    if "get" in methods:
        methods["head"] = head = copy.deepcopy(methods["get"])
        head["operationId"] += "_head"
        head["tags"] = ["head"]
        head["description"] = "Answers like GET, without the body."
        for response in head["responses"].values():
            response.pop("content", None)
            response.get("headers", {}).pop("Content-Digest", None)


def _with_store(methods: dict[str, Any], ids: list[str]) -> dict[str, Any]:
    """Say which stores there are."""
    for operation in methods.values():
        for parameter in operation.get("parameters", []):
            if parameter["name"] == "store_id" and ids:
                parameter["schema"] = {"type": "string", "enum": ids}
    return methods


def _for_one(methods: dict[str, Any], store_id: str) -> dict[str, Any]:
    """Return the operations for one store, whose id stands in their path."""
    own = copy.deepcopy(methods)
    for operation in own.values():
        operation["parameters"] = [each for each in operation["parameters"] if each["name"] != "store_id"]
        operation["operationId"] += f"_{store_id}"
        operation["tags"] = [store_id]
    return own


def _with_query(methods: dict[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Add what a draw can ask for: `parameters` of the query, `sample` as an example, and the body."""
    for operation in methods.values():
        for parameter in operation["parameters"]:
            if parameter["name"] == "sample_id" and asked["sample"] is not None:
                parameter["example"] = asked["sample"]
        operation["parameters"] += asked["parameters"]
        if "body" in asked:
            content = {"application/json": {"schema": asked["body"]}}
            operation["requestBody"] = {"required": True, "content": content}
    return methods


def _document_sample(manifest: drawpoint.format.manifest.StoreManifest) -> dict[str, Any]:
    draw = {
        "type": "object",
        "properties": {"seed": {**_SEED, "description": _SEED_TEXT}, "part": _SEED},
        "dependentRequired": {"part": ["seed"]},
        "additionalProperties": False,
    }
    return {
        "sample": next(iter(manifest.samples), None),
        "parameters": [
            *(
                {**_in_query(domain, _describe_count(domain), _URL_COUNT), "example": EXAMPLE_COUNT}
                for domain in manifest.domains
            ),
            {
                **_in_query("draw", "`seed`, and with it `part`: one of the ceil(n / count) disjoint parts.", draw),
                "example": {"seed": 0},
            },
            _document_selection(manifest),
            *_shared(manifest),
        ],
    }


def _document_selection(manifest: drawpoint.format.manifest.StoreManifest) -> dict[str, Any]:
    """Document `fields` and `domains`, lists of names that must leave something of one another."""
    by_domain = _fields_of(manifest)
    fields = [field for fields in by_domain.values() for field in fields]
    choices = [
        {
            "type": "object",
            "properties": {
                "fields": {"type": "string", "pattern": _list_with(fields, of_domain)},
                "domains": {"type": "string", "pattern": _list_with(list(by_domain), [domain])},
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
    return {**_in_query("selection", text, {"anyOf": choices}), "example": {"fields": ",".join(fields[:2])}}


def _document_coords(manifest: drawpoint.format.manifest.StoreManifest) -> dict[str, Any]:
    counts = {
        "type": "object",
        "minProperties": 1,
        "properties": {domain: {**_URL_COUNT, "description": _describe_count(domain)} for domain in manifest.domains},
        "additionalProperties": False,
    }
    text = (
        f"How many points of each domain to send, or `{query.ALL}`; at least one domain. Naming one that the sample "
        "lacks is 422."
    )
    return {
        "sample": next(iter(manifest.samples), None),
        "parameters": [
            {
                **_in_query("num_points", text, counts),
                "required": True,
                "example": dict.fromkeys(manifest.domains, EXAMPLE_COUNT),
            },
            {**_in_query("seed", _SEED_TEXT, _SEED), "example": 0},
            *_shared(manifest),
        ],
    }


def _document_batch(manifest: drawpoint.format.manifest.StoreManifest, most_samples: int) -> dict[str, Any]:
    seed = {"anyOf": [_SEED, {"type": "null"}]}
    sample_id = {"type": "string"}
    random = {"id": sample_id, "seed": seed, "part": {"type": "null"}}
    part = {"id": sample_id, "seed": _SEED, "part": _SEED}
    items = [
        {"type": "object", "required": required, "properties": properties, "additionalProperties": False}
        for required, properties in ((["id"], random), (["id", "seed", "part"], part))
    ]
    counts = {
        "type": ["object", "null"],
        "properties": dict.fromkeys(manifest.domains, _BODY_COUNT),
        "additionalProperties": False,
    }
    names = {"type": "string", "enum": list(manifest.fields)}
    members = {
        "samples": {
            "description": "The draws, in order; one without a seed gets a fresh one, which the metadata name. More "
            f"than {most_samples} are answered with 413, and so is a body of more than {MAX_BODY_BYTES:,} bytes.",
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": items},
        },
        "num_points": {"description": "Counts by domain; a domain that is left out comes in full.", **counts},
        "coords": {
            "description": "Counts by domain of positions that are drawn independently, under the same seed.",
            **counts,
        },
        "fields": {
            "description": "Canonical fields to send; all unless given. What a sample lacks is absent.",
            "anyOf": [{"type": "array", "minItems": 1, "items": names}, {"type": "null"}],
        },
        "dtype": _DTYPE,
        "revision": {"description": "The revision that the store has to be at.", "type": ["string", "null"]},
    }
    return {
        "sample": None,
        "parameters": [_in_query("revision", "The revision that the store has to be at.", {"type": "string"})],
        "body": {"type": "object", "required": ["samples"], "properties": members, "additionalProperties": False},
    }


def _shared(manifest: drawpoint.format.manifest.StoreManifest) -> Parameters:
    revision = _in_query("revision", "The revision that the store has to be at.", {"type": "string"})
    return [
        _in_query("dtype", "`float32` for every field, or each as it is `stored`.", _DTYPE),
        {**revision, "example": manifest.revision},
    ]


def _in_query(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    # An object is a parameter for each of its properties, under their own names.
    return {"name": name, "in": "query", "description": description, "style": "form", "explode": True, "schema": schema}


def _describe_count(domain: str) -> str:
    return f"How many random points of {domain!r} to send, or `{query.ALL}`."


def _fields_of(manifest: drawpoint.format.manifest.StoreManifest) -> dict[str, list[str]]:
    return {domain: list(layout.arrays) for domain, layout in manifest.domains.items()}


def _list_with(names: Sequence[str], some: Sequence[str]) -> str:
    """Return the pattern of a list of `names` that holds one of `some`."""
    any_name, one = ("|".join(map(_escape, each)) for each in (names, some))
    return f"^(({any_name}),)*({one})(,({any_name}))*$"


def _escape(name: str) -> str:
    return re.sub(r"([\\^$.|?*+()\[\]{}/])", r"\\\1", name)
