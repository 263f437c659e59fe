"""The OpenAPI of query parameters, from the models that parse them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint_service.requests.validation import RequestModel


def query_parameters(model: type[RequestModel], *names: str, **examples: Any) -> list[dict[str, Any]]:
    """Return the parameters that a query's model has, or those of `names`."""
    properties = properties_of(model)
    return [
        {**in_query(name, properties[name]), **({"example": examples[name]} if name in examples else {})}
        for name in names or properties
    ]


def properties_of(model: type[RequestModel]) -> dict[str, dict[str, Any]]:
    """Return the schema of each field of a query; a URL has no null, so what may be None may be left out."""
    return {name: _without_null(each) for name, each in model.model_json_schema()["properties"].items()}


def in_query(name: str, schema: Mapping[str, Any], description: str = "") -> dict[str, Any]:
    """Return a parameter; an object is a parameter for each of its properties, under their own names."""
    described = {"description": description or schema["description"]}
    return {"name": name, "in": "query", **described, "style": "form", "explode": True, "schema": schema}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key not in ("anyOf", "default")}, **choices[0]}
