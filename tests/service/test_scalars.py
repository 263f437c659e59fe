"""Values per sample over HTTP: in pages of samples, in what every draw says of itself, and of a remote reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from safetensors import safe_open

import drawpoint
from drawpoint.errors import SampleNotFound
from drawpoint.format.payload import parse
from drawpoint_store import ZarrChunkReader
from live import LiveService
from small import small_arrays, small_writer

SCALARS = {"run/1": {"yaw": 2.5, "U_inf": 20.0}, "run/2": {"Cd": 0.1}, "run/3": {}}
COMPACT = '{"U_inf":20.0,"yaw":2.5}'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scalars")
    writer = small_writer(root)
    for sample_id, scalars in SCALARS.items():
        writer.write_sample(sample_id, small_arrays(), scalars)
    writer.save_manifest()
    return root


@pytest.fixture(scope="module")
def service(root: Path) -> Iterator[LiveService]:
    with LiveService({"made": root}) as running:
        yield running


def metadata_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return parse(bytearray(answer.content))[1]


def test_each_row_of_a_page_of_samples_has_its_scalars(http: httpx.Client) -> None:
    rows = http.get("/stores/made/samples").json()["samples"]
    assert {row["id"]: row["scalars"] for row in rows} == SCALARS


@pytest.mark.parametrize("kind", ["samples", "coords"])
def test_a_draw_names_the_scalars_of_its_sample_and_keeps_its_bytes_where_there_are_none(
    http: httpx.Client, kind: str, tmp_path: Path
) -> None:
    answer = http.get(f"/stores/made/{kind}/run/1?surface=5&seed=1")
    assert metadata_of(answer)["scalars"] == COMPACT
    head = http.head(f"/stores/made/{kind}/run/1?surface=5&seed=1")
    assert int(head.headers["Content-Length"]) == len(answer.content)
    (tmp_path / "drawn").write_bytes(answer.content)
    with safe_open(tmp_path / "drawn", "numpy") as drawn:
        assert drawn.metadata()["scalars"] == COMPACT
    # One layout is laid out once for all draws of as many rows, whatever their samples.
    assert metadata_of(http.get(f"/stores/made/{kind}/run/2?surface=5&seed=1"))["scalars"] == '{"Cd":0.1}'
    assert "scalars" not in metadata_of(http.get(f"/stores/made/{kind}/run/3?surface=5&seed=1"))


def test_a_batch_lists_scalars_in_the_order_of_its_samples_if_any_of_them_has_some(http: httpx.Client) -> None:
    def draw(*ids: str) -> dict[str, Any]:
        samples = [{"id": sample_id, "seed": 1} for sample_id in ids]
        return metadata_of(http.post("/stores/made/batch", json={"samples": samples, "coords": {"surface": 3}}))

    assert draw("run/1", "run/3", "run/9", "run/1")["scalars"] == f"[{COMPACT},{{}},{{}},{COMPACT}]"
    found = draw("run/3", "run/9")
    assert "scalars" not in found
    assert list(json.loads(found["errors"])) == ["1"]


def test_a_remote_reader_has_the_scalars_of_the_local_one_and_asks_the_service_for_nothing(root: Path) -> None:
    with LiveService({"made": root}) as service:
        reader = drawpoint.connect(service.url).store("made")
        assert set(reader.read_sample("run/1", {"surface": 5}, seed=1)) == set(small_arrays())
        assert len(reader.read_batch(["run/1", "run/2"], {"surface": 5})) == 2
    local = ZarrChunkReader(root)
    for sample_id, scalars in SCALARS.items():
        assert reader.scalars(sample_id) == local.scalars(sample_id) == scalars
    with pytest.raises(SampleNotFound, match="store 'made' has no sample 'run/9'; near names: run/"):
        reader.scalars("run/9")
