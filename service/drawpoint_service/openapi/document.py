"""The OpenAPI document of a running service: what its stores hold decides what a draw of them can ask for."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from drawpoint.draw.batch import MAX_BODY_BYTES
from drawpoint_service import problems
from drawpoint_service.middleware.access import OPEN_PATHS
from drawpoint_service.openapi.parameters import in_query, properties_of, query_parameters
from drawpoint_service.requests.batch_body import BatchBody
from drawpoint_service.requests.query import DrawQuery, SampleQuery
from drawpoint_service.requests.validation import ALL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import FastAPI

    import drawpoint.format.manifest
    from drawpoint_service.stores.catalog import ServedStore

EXAMPLE_COUNT = 4096
_STORE = "/stores/{store_id}"
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


def document_app(app: FastAPI, stores: Sequence[ServedStore], *, most_samples: int, needs_token: bool) -> bytes:
    """Return the application's OpenAPI document.

    What a draw can ask for has a path for all stores where they have the same domains and fields, and else one for
    each: a path of many stores could only say what some of them refuse.
    """
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    draws: dict[str, Callable[[drawpoint.format.manifest.StoreManifest], dict[str, Any]]] = {
        f"{_STORE}/samples/{{sample_id}}": lambda manifest: {"parameters": _sample_parameters(manifest)},
        f"{_STORE}/coords/{{sample_id}}": lambda manifest: {"parameters": _coords_parameters(manifest)},
        f"{_STORE}/batch": lambda manifest: {"requestBody": _batch_body(manifest, most_samples)},
    }
    alike = {str(_fields_of(store.manifest)) for store in stores}
    ids = [store.id for store in stores]
    paths: dict[str, dict[str, Any]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "draws" not in operation["tags"]:
                paths.setdefault(path, {})[method] = _for_stores(operation, ids)
            elif len(alike) == 1:
                added = draws[path](stores[0].manifest)
                paths.setdefault(path, {})[method] = _with_draw(_for_stores(operation, ids), stores[0], added)
            else:
                for store in stores:
                    own = _with_draw(_for_one(operation, store.id), store, draws[path](store.manifest))
                    paths.setdefault(path.replace("{store_id}", store.id), {})[method] = own
    for path, methods in paths.items():
        _complete(methods, is_open=path in OPEN_PATHS or not needs_token)
    document["paths"] = paths
    parts = document.setdefault("components", {})
    parts.setdefault("schemas", {})["Problem"] = problems.Problem.model_json_schema()
    if needs_token:
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    # Where the document lies, also behind a proxy that serves it below a prefix.
    document["servers"] = [{"url": "."}]
    return json.dumps(document).encode()


def _complete(methods: dict[str, Any], *, is_open: bool) -> None:
    """Add what holds for every request: header fields, whether it needs a token, and HEAD."""
    for operation in methods.values():
        operation["parameters"] += [*([_IF_NONE_MATCH] if "304" in operation["responses"] else []), _REQUEST_ID]
        if is_open:
            operation["security"] = []
    if "get" in methods:
        methods["head"] = head = copy.deepcopy(methods["get"])
        head["operationId"] += "_head"
        head["tags"] = ["head"]
        head["description"] = "Answers like GET, without the body."
        for response in head["responses"].values():
            response.pop("content", None)
            response.get("headers", {}).pop("Content-Digest", None)


def _for_stores(operation: dict[str, Any], ids: list[str]) -> dict[str, Any]:
    """Return an operation that says which stores there are."""
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        if parameter["name"] == "store_id" and ids:
            parameter["schema"] = {"type": "string", "enum": ids}
    return operation


def _for_one(operation: dict[str, Any], store_id: str) -> dict[str, Any]:
    """Return the operation for one store, whose id stands in its path."""
    own = copy.deepcopy(operation)
    own["parameters"] = [each for each in own["parameters"] if each["name"] != "store_id"]
    return {**own, "operationId": f"{own['operationId']}_{store_id}", "tags": [store_id]}


def _with_draw(operation: dict[str, Any], store: ServedStore, added: dict[str, Any]) -> dict[str, Any]:
    """Return an operation with what a draw can ask for: parameters of the query, or a body."""
    for parameter in operation["parameters"]:
        if parameter["name"] == "sample_id" and store.sample_ids:
            parameter["example"] = next(iter(store.manifest.samples))
    return {**operation, **added, "parameters": [*operation["parameters"], *added.get("parameters", [])]}


def _sample_parameters(manifest: drawpoint.format.manifest.StoreManifest) -> list[dict[str, Any]]:
    """Document the counts and SampleQuery; members that depend on one another are one parameter."""
    own = properties_of(SampleQuery)
    draw = {
        "type": "object",
        "properties": {name: own[name] for name in ("seed", "part")},
        "dependentRequired": {"part": ["seed"]},
        "additionalProperties": False,
    }
    text = "`seed`, and with it `part`: one of the ceil(n / count) disjoint parts."
    return [
        *({**in_query(name, counted), "example": EXAMPLE_COUNT} for name, counted in _counts(manifest).items()),
        {**in_query("draw", draw, text), "example": {"seed": 0}},
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
    text = (
        f"How many points of each domain to send, or `{ALL}`; at least one domain. Naming one that the sample lacks is "
        "422."
    )
    examples = dict.fromkeys(manifest.domains, EXAMPLE_COUNT)
    return [
        {**in_query("num_points", counts, text), "required": True, "example": examples},
        *query_parameters(DrawQuery, "seed", "dtype", "revision", seed=0, revision=manifest.revision),
    ]


def _counts(manifest: drawpoint.format.manifest.StoreManifest) -> dict[str, Any]:
    count = properties_of(DrawQuery)["counts"]["additionalProperties"]
    return {
        domain: {**count, "description": f"How many random points of {domain!r} to send, or `{ALL}`."}
        for domain in manifest.domains
    }


def _selection(manifest: drawpoint.format.manifest.StoreManifest) -> dict[str, Any]:
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
    return {**in_query("selection", {"anyOf": choices}, text), "example": {"fields": ",".join(fields[:2])}}


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


def _list_with(names: Sequence[str], some: Sequence[str]) -> str:
    """Return the pattern of a list of `names` that holds one of `some`."""
    any_name, one = ("|".join(map(_escape, each)) for each in (names, some))
    return f"^(({any_name}),)*({one})(,({any_name}))*$"


def _escape(name: str) -> str:
    return re.sub(r"([\\^$.|?*+()\[\]{}/])", r"\\\1", name)
