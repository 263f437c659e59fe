"""The OpenAPI document says what the service really takes and answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from drawpoint_service.problems import Problem
from live import LiveService
from small import small_arrays, small_writer


@pytest.fixture(scope="module")
def http(store_root: Path) -> Iterator[httpx.Client]:
    with LiveService({"made": store_root}) as service, httpx.Client(base_url=service.url) as client:
        yield client


@pytest.fixture(scope="module")
def document(http: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = http.get("/openapi.json").json()
    return answer


def parameters_of(operation: dict[str, Any], place: str = "query") -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in operation["parameters"] if each["in"] == place}


def test_every_route_is_in_the_document(document: dict[str, Any]) -> None:
    below = ("", "/manifest", "/samples", "/samples/{sample_id}", "/coords/{sample_id}", "/batch", "/statistics")
    stores = {f"/stores/{{store_id}}{path}" for path in (*below, "/splits", "/splits/{name}")}
    assert set(document["paths"]) == {"/stores", "/healthz", "/readyz"} | stores


@pytest.mark.parametrize("kind", ["samples", "coords"])
def test_every_parameter_of_a_draw_works_as_its_example_says(
    http: httpx.Client, document: dict[str, Any], kind: str
) -> None:
    operation = document["paths"][f"/stores/{{store_id}}/{kind}/{{sample_id}}"]["get"]
    parameters = parameters_of(operation)
    own = {"surface", "volume", "draw", "selection"} if kind == "samples" else {"num_points", "seed"}
    assert set(parameters) == own | {"dtype", "revision"}
    query: dict[str, Any] = {}
    for name, each in parameters.items():
        assert each["description"].endswith(".")
        example = each.get("example", each["schema"].get("default"))
        query |= example if isinstance(example, dict) else {name: example}
    assert query["surface"] == 4096
    sample = parameters_of(operation, "path")["sample_id"]["example"]
    answer = http.get(f"/stores/made/{kind}/{sample}", params=query)
    assert (answer.status_code, answer.headers["x-drawpoint-seed"]) == (200, "0")


def test_what_a_draw_needs_is_in_the_document(http: httpx.Client, document: dict[str, Any]) -> None:
    coords = parameters_of(document["paths"]["/stores/{store_id}/coords/{sample_id}"]["get"])["num_points"]
    assert (coords["required"], coords["schema"]["minProperties"], coords["explode"]) == (True, 1, True)
    sample = parameters_of(document["paths"]["/stores/{store_id}/samples/{sample_id}"]["get"])
    assert sample["draw"]["schema"]["dependentRequired"] == {"part": ["seed"]}
    batch = document["paths"]["/stores/{store_id}/batch"]["post"]
    schema = batch["requestBody"]["content"]["application/json"]["schema"]
    holds = jsonschema_rs.Draft202012Validator(schema).is_valid
    item: dict[str, Any]
    for item, holding in (
        ({"id": "a"}, True),
        ({"id": "a", "seed": None, "part": None}, True),
        ({"id": "a", "seed": 1, "part": 0}, True),
        ({"id": "a", "part": 0}, False),
        ({"id": "a", "part": 0, "seed": None}, False),
        ({"seed": 1}, False),
    ):
        assert holds({"samples": [item]}) == holding, item
        answer = http.post("/stores/made/batch", json={"samples": [item], "num_points": {"surface": 1, "volume": 1}})
        assert (answer.status_code == 200) == holding, item


@pytest.mark.parametrize(
    ("selection", "holding"),
    [
        ({}, True),
        ({"fields": "surface_pressure"}, True),
        ({"fields": "surface_pressure,volume_sdf", "domains": "volume"}, True),
        ({"domains": "volume,surface"}, True),
        ({"fields": "surface_pressure", "domains": "volume"}, False),
        ({"fields": "pressure"}, False),
        ({"fields": "surface_pressure,"}, False),
        ({"domains": "surfaces"}, False),
        ({"domains": ""}, False),
    ],
)
def test_a_selection_is_documented_as_it_is_taken(
    http: httpx.Client, document: dict[str, Any], selection: dict[str, str], holding: bool
) -> None:
    sample = parameters_of(document["paths"]["/stores/{store_id}/samples/{sample_id}"]["get"])
    assert jsonschema_rs.Draft202012Validator(sample["selection"]["schema"]).is_valid(selection) == holding
    answer = http.get("/stores/made/samples/param0/run", params={"surface": 1, "volume": 1, **selection})
    assert answer.status_code == (200 if holding else 422)


def test_stores_that_differ_have_paths_of_their_own(store_root: Path, tmp_path: Path) -> None:
    writer = small_writer(tmp_path)
    writer.write_sample("s", small_arrays())
    writer.save_manifest()
    with LiveService({"made": store_root, "small": tmp_path}) as service:
        document = httpx.get(f"{service.url}/openapi.json").json()
        paths = document["paths"]
        assert "/stores/{store_id}/samples/{sample_id}" not in paths
        for store, fields in (("made", 10), ("small", 4)):
            batch = paths[f"/stores/{store}/batch"]["post"]["requestBody"]["content"]["application/json"]["schema"]
            assert len(batch["properties"]["fields"]["anyOf"][0]["items"]["enum"]) == fields
            assert "store_id" not in parameters_of(paths[f"/stores/{store}/samples/{{sample_id}}"]["get"], "path")
        assert parameters_of(paths["/stores/{store_id}"]["get"], "path")["store_id"]["schema"]["enum"] == [
            "made",
            "small",
        ]
        ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
        assert len(ids) == len(set(ids))


def test_a_new_revision_is_described(tmp_path: Path) -> None:
    small = small_writer(tmp_path)
    small.write_sample("s", small_arrays())
    small.save_manifest()
    path = "/stores/{store_id}/samples/{sample_id}"
    with LiveService({"made": tmp_path}) as service, httpx.Client(base_url=service.url) as client:
        before = parameters_of(client.get("/openapi.json").json()["paths"][path]["get"])
        small.write_sample("t", small_arrays(seed=1))
        small.save_manifest()
        client.get("/stores/made/samples/t?revision=new")
        after = parameters_of(client.get("/openapi.json").json()["paths"][path]["get"])
        assert before["revision"]["example"] != after["revision"]["example"] == small.manifest.revision


def test_head_answers_with_the_headers_that_are_documented(http: httpx.Client, document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        assert ("head" in methods) == ("get" in methods), path
    sample = "/stores/{store_id}/samples/{sample_id}"
    url = "/stores/made/samples/param0/run?surface=1&seed=1"
    for method in ("get", "head"):
        documented = document["paths"][sample][method]["responses"]
        answers = [http.request(method, url)]
        answers.append(http.request(method, url, headers={"If-None-Match": answers[0].headers["etag"]}))
        answers.append(http.request(method, "/stores/made/samples/nowhere"))
        assert [answer.status_code for answer in answers] == [200, 304, 404]
        for answer in answers:
            headers = documented[str(answer.status_code)]["headers"]
            required = {name.lower() for name, each in headers.items() if each.get("required")}
            assert required <= answer.headers.keys()
        assert "content" not in document["paths"][sample]["head"]["responses"]["200"]


def test_every_problem_is_described_by_a_schema_that_is_there(document: dict[str, Any]) -> None:
    assert set(document["components"]["schemas"]["Problem"]["properties"]) == set(Problem.model_fields)
    for path, methods in document["paths"].items():
        responses = next(iter(methods.values()))["responses"]
        problems = {status: each for status, each in responses.items() if status >= "400"}
        assert {"400", "431", "500"} <= set(problems), path
        for each in problems.values():
            schema = each["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}
    draw = document["paths"]["/stores/{store_id}/samples/{sample_id}"]["get"]["responses"]
    assert set(draw) == {"200", "304", "400", "404", "409", "413", "422", "431", "500", "502", "503"}
    assert set(draw["200"]["content"]) == {"application/vnd.safetensors"}


def test_a_token_is_asked_for_where_one_is_wanted(store_root: Path, document: dict[str, Any]) -> None:
    assert "security" not in document
    assert "401" not in document["paths"]["/stores"]["get"]["responses"]
    with LiveService({"made": store_root}, token="t") as service:
        answer = httpx.get(f"{service.url}/openapi.json", headers={"Authorization": "Bearer t"}).json()
    assert answer["security"] == [{"token": []}]
    assert {"401", "403"} <= set(answer["paths"]["/stores"]["get"]["responses"])
    assert answer["paths"]["/healthz"]["get"]["security"] == []
    assert answer["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
