"""The OpenAPI document says what the service really takes and answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from drawpoint_service.problems import Problem
from live import LiveService


@pytest.fixture(scope="module")
def http(store_root: Path) -> Iterator[httpx.Client]:
    with LiveService({"made": store_root}) as service, httpx.Client(base_url=service.url) as client:
        yield client


@pytest.fixture(scope="module")
def document(http: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = http.get("/openapi.json").json()
    return answer


def test_every_route_is_there(document: dict[str, Any]) -> None:
    assert set(document["paths"]) == {
        "/stores",
        "/stores/{store_id}",
        "/stores/{store_id}/manifest",
        "/stores/{store_id}/samples",
        "/stores/{store_id}/samples/{sample_id}",
        "/stores/{store_id}/coords/{sample_id}",
        "/stores/{store_id}/batch",
        "/stores/{store_id}/statistics",
        "/stores/{store_id}/splits",
        "/stores/{store_id}/splits/{name}",
        "/healthz",
        "/readyz",
    }


@pytest.mark.parametrize("kind", ["samples", "coords"])
def test_every_parameter_of_a_draw_works_as_its_example_says(
    http: httpx.Client, document: dict[str, Any], kind: str
) -> None:
    operation = document["paths"][f"/stores/{{store_id}}/{kind}/{{sample_id}}"]["get"]
    parameters = {each["name"]: each for each in operation["parameters"] if each["in"] == "query"}
    expected = {"surface", "volume", "seed", "dtype", "revision"}
    assert set(parameters) == expected | ({"fields", "domains", "part"} if kind == "samples" else set())
    examples = {name: each["example"] for name, each in parameters.items() if "example" in each}
    assert examples["surface"] == 4096
    assert http.get(f"/stores/made/{kind}/param0/run", params=examples).status_code == 200
    for each in parameters.values():
        assert each["description"].endswith(".")


def test_every_problem_is_described_by_a_schema_that_is_there(document: dict[str, Any]) -> None:
    assert set(document["components"]["schemas"]["Problem"]["properties"]) == set(Problem.model_fields)
    for path, methods in document["paths"].items():
        responses = next(iter(methods.values()))["responses"]
        if path == "/healthz":
            continue
        problems = {status: each for status, each in responses.items() if status >= "400"}
        assert problems
        for each in problems.values():
            schema = each["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}
    draw = document["paths"]["/stores/{store_id}/samples/{sample_id}"]["get"]["responses"]
    assert set(draw) == {"200", "401", "403", "404", "409", "413", "422", "502", "503"}
    assert set(draw["200"]["content"]) == {"application/vnd.safetensors"}


def test_a_token_is_asked_for_where_one_is_wanted(store_root: Path, document: dict[str, Any]) -> None:
    assert "security" not in document
    with LiveService({"made": store_root}, token="t") as service:
        answer = httpx.get(f"{service.url}/openapi.json", headers={"Authorization": "Bearer t"}).json()
    assert answer["security"] == [{"token": []}]
    assert answer["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}


def test_a_browser_is_led_to_the_documentation(http: httpx.Client) -> None:
    answer = http.get("/", follow_redirects=True)
    assert answer.url.path == "/docs"
    assert "swagger" in answer.text
