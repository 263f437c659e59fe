"""The OpenAPI document says what the service really takes and answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from drawpoint_cli.__main__ import main
from drawpoint_store import FileMap, ZarrStoreWriter
from live import LiveService
from small import small_arrays, small_writer

SAMPLE = "param0/run"
SAMPLE_PATH = "/stores/{store_id}/samples/{sample_id}"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two small stores that have only a domain in common; one has all that a store can ship."""
    root = tmp_path_factory.mktemp("stores")
    writer = small_writer(root / "cars")
    for number, sample_id in enumerate((SAMPLE, "b c")):
        writer.write_sample(sample_id, small_arrays(seed=number))
    writer.save_manifest()
    assert main(["stats", str(root / "cars")]) == 0
    (root / "cars" / "splits").mkdir()
    (root / "cars" / "splits" / "train.txt").write_text(f"{SAMPLE}\n", encoding="utf-8")
    other = ZarrStoreWriter(root / "wings", FileMap(volume_position="p"), "wings", chunk_points=4)
    other.write_sample(SAMPLE, {"volume_position": np.zeros((21, 3), np.float32)})
    other.save_manifest()
    return {"cars": root / "cars", "wings": root / "wings"}


def test_schemathesis_finds_all_accepted_that_the_document_admits_and_nothing_else(
    stores: dict[str, Path], tmp_path: Path
) -> None:
    # Ids of samples are not in the document; with one that is there the rest of the request is what decides.
    (tmp_path / "schemathesis.toml").write_text(f'[parameters]\n"path.sample_id" = "{SAMPLE}"\n', encoding="utf-8")
    with LiveService(stores, token="secret") as service:
        program = [str(Path(sys.executable).with_name("st")), "run", f"{service.url}/openapi.json", "--checks", "all"]
        fixed = ["--seed", "1", "--generation-deterministic", "--max-examples", "5", "--request-timeout", "30"]
        result = subprocess.run(
            [*program, *fixed, "--header", "Authorization: Bearer secret"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr


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


def test_stores_that_differ_have_paths_of_their_own(stores: dict[str, Path]) -> None:
    with LiveService(stores) as service:
        paths = httpx.get(f"{service.url}/openapi.json").json()["paths"]
    assert SAMPLE_PATH not in paths
    for store, fields in (("cars", 4), ("wings", 1)):
        batch = paths[f"/stores/{store}/batch"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert len(batch["properties"]["fields"]["anyOf"][0]["items"]["enum"]) == fields
        assert "store_id" not in parameters_of(paths[f"/stores/{store}/samples/{{sample_id}}"]["get"], "path")
    assert parameters_of(paths["/stores/{store_id}"]["get"], "path")["store_id"]["schema"]["enum"] == list(stores)
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_a_new_revision_is_described(tmp_path: Path) -> None:
    small = small_writer(tmp_path)
    small.write_sample("s", small_arrays())
    small.save_manifest()
    with LiveService({"made": tmp_path}) as service, httpx.Client(base_url=service.url) as client:
        before = parameters_of(client.get("/openapi.json").json()["paths"][SAMPLE_PATH]["get"])
        small.write_sample("t", small_arrays(seed=1))
        small.save_manifest()
        client.get("/stores/made/samples/t?revision=new")
        after = parameters_of(client.get("/openapi.json").json()["paths"][SAMPLE_PATH]["get"])
    assert before["revision"]["example"] != after["revision"]["example"] == small.manifest.revision


def test_problems_and_tokens_are_documented_where_they_can_come(store_root: Path, document: dict[str, Any]) -> None:
    draw = document["paths"][SAMPLE_PATH]["get"]["responses"]
    assert set(draw) == {"200", "304", "400", "404", "409", "413", "422", "431", "500", "502", "503"}
    assert "security" not in document
    with LiveService({"made": store_root}, token="t") as service:
        answer = httpx.get(f"{service.url}/openapi.json").json()
    assert answer["security"] == [{"token": []}]
    assert {"401", "403"} <= set(answer["paths"]["/stores"]["get"]["responses"])
    assert answer["paths"]["/healthz"]["get"]["security"] == []
