"""A batch is many draws in one answer: in order, each as it would come alone, or with the error it would meet."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from drawpoint.errors import DrawpointError
from drawpoint.format.payload import content_digest, parse
from drawpoint_service.requests.batch_body import parse_batch
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.plan import ReadPlan
from live import LiveService
from small import small_arrays, small_writer

PATH = "/stores/made/batch"
COUNTS = {"surface": 300, "volume": 500}
ITEMS = [
    {"id": "param0/run", "seed": 1},
    {"id": "param1/run", "seed": 2, "part": 3},
    {"id": "param0/run", "seed": 3},
]


@pytest.fixture(scope="module")
def service(store_root: Path) -> Iterator[LiveService]:
    with LiveService({"made": store_root}, max_response_bytes=2_000_000, max_batch_samples=40) as running:
        yield running


@pytest.fixture(scope="module")
def reader(store_root: Path) -> ZarrChunkReader:
    return ZarrChunkReader(store_root)


def open_body(answer: httpx.Response) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Return the tensors and the metadata of a batch, those that are JSON decoded."""
    assert answer.status_code == 200, answer.text
    tensors, metadata = parse(bytearray(answer.content))
    listed = ("samples", "seeds", "parts", "num_points", "coords", "errors")
    return tensors, {**metadata, **{name: json.loads(metadata[name]) for name in listed}}


def expect_item(reader: ZarrChunkReader, item: Mapping[str, Any], **kwargs: Any) -> dict[str, torch.Tensor]:
    return reader.read_sample(item["id"], COUNTS, seed=item["seed"], part=item.get("part"), **kwargs)


def test_a_batch_holds_what_each_draw_would_hold_alone(http: httpx.Client, reader: ZarrChunkReader) -> None:
    answer = http.post(PATH, json={"samples": ITEMS, "num_points": COUNTS, "coords": {"surface": 77}})
    tensors = safetensors.torch.load(answer.content)
    expected = {}
    for index, item in enumerate(ITEMS):
        expected.update({f"{index}/{name}": each for name, each in expect_item(reader, item).items()})
        coords = reader.read_coords(str(item["id"]), "surface", 77, seed=int(str(item["seed"])))
        expected[f"{index}/coords/surface_position"] = coords
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert tensors[name].dtype == torch.float32
        assert tensors[name].equal(tensor), name


def test_a_batch_says_what_it_is(http: httpx.Client, reader: ZarrChunkReader) -> None:
    answer = http.post(
        PATH,
        json={"samples": ITEMS, "num_points": COUNTS, "coords": {"volume": "all"}},
        headers={"X-Request-ID": "of-this-test"},
    )
    _, metadata = open_body(answer)
    assert metadata == {
        "store": "made",
        "revision": reader.manifest.revision,
        "draw_version": "1",
        "dtype": "float32",
        "samples": ["param0/run", "param1/run", "param0/run"],
        "seeds": [1, 2, 3],
        "parts": [None, 3, None],
        "num_points": [COUNTS] * 3,
        "coords": [{"volume": 10_000}] * 3,
        "errors": {},
    }
    assert answer.headers["X-Drawpoint-Revision"] == reader.manifest.revision
    assert answer.headers["X-Request-ID"] == "of-this-test"
    assert answer.headers["Content-Digest"] == content_digest(answer.content)
    assert answer.headers["Content-Type"] == "application/vnd.safetensors"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


def test_a_batch_comes_as_it_is_stored_if_asked_so_and_with_the_fields_named(http: httpx.Client) -> None:
    body = {"samples": ITEMS, "num_points": COUNTS, "fields": ["surface_pressure", "volume_velocity"]}
    tensors, _ = open_body(http.post(PATH, json={**body, "dtype": "stored"}))
    assert {name: each.dtype for name, each in tensors.items()} == {
        f"{index}/{name}": np.float16 for index in range(3) for name in ("surface_pressure", "volume_velocity")
    }


def test_a_batch_without_counts_reads_all_points(http: httpx.Client) -> None:
    body = {"samples": [{"id": "param0/run"}], "fields": ["surface_area", "volume_sdf"]}
    for counts in (None, {}, {"surface": None, "volume": "all"}):
        tensors, _ = open_body(http.post(PATH, json={**body, "num_points": counts}))
        assert {name: len(each) for name, each in tensors.items()} == {
            "0/surface_area": 1500,
            "0/volume_sdf": 10_000,
        }


def test_a_batch_with_explicit_seeds_is_the_same_bytes_from_any_replica(http: httpx.Client, store_root: Path) -> None:
    body = {"samples": [*ITEMS, {"id": "nothing", "seed": 1}], "num_points": COUNTS}
    with LiveService({"made": store_root}, read_threads=1) as other:
        bodies = {
            http.post(PATH, json=body).content,
            httpx.post(other.url + PATH, content=json.dumps(body, indent=3)).content,
        }
    assert len(bodies) == 1


def test_an_item_without_a_seed_names_the_seed_that_it_took(http: httpx.Client, reader: ZarrChunkReader) -> None:
    body = {"samples": [{"id": "param0/run"}, {"id": "param0/run", "seed": None}], "num_points": COUNTS}
    tensors, metadata = open_body(http.post(PATH, json=body))
    first, second = metadata["seeds"]
    assert first != second
    for index, seed in enumerate((first, second)):
        expected = expect_item(reader, {"id": "param0/run", "seed": seed})
        assert torch.from_numpy(tensors[f"{index}/volume_position"]).equal(expected["volume_position"])


def test_an_item_that_fails_has_an_error_and_the_others_are_sent(http: httpx.Client, reader: ZarrChunkReader) -> None:
    samples = [ITEMS[0], {"id": "param0/rum", "seed": 5}, ITEMS[2]]
    tensors, metadata = open_body(http.post(PATH, json={"samples": samples, "num_points": COUNTS}))
    assert {name.split("/")[0] for name in tensors} == {"0", "2"}
    assert torch.from_numpy(tensors["2/volume_sdf"]).equal(expect_item(reader, ITEMS[2])["volume_sdf"])
    assert metadata["errors"]["1"] == {
        "type": "urn:drawpoint:sample-not-found",
        "title": "Sample not found",
        "status": 404,
        "detail": "store 'made' has no sample 'param0/rum'; near names: param0/run, param1/run.",
        "near": ["param0/run", "param1/run"],
        "store": "made",
        "sample": "param0/rum",
    }
    assert metadata["num_points"] == [COUNTS, {}, COUNTS]


def test_an_item_that_fails_while_it_is_read_has_no_tensors(
    store_root: Path, tmp_path: Path, reader: ZarrChunkReader
) -> None:
    root = Path(shutil.copytree(store_root, tmp_path / "store"))
    shard = root / "param1/run.zarr/volume/vorticity/c/0/0"
    shard.write_bytes(bytes(shard.stat().st_size))
    with LiveService({"made": root}) as service:
        answer = httpx.post(service.url + PATH, json={"samples": ITEMS, "num_points": COUNTS})
        alone = httpx.post(
            service.url + PATH,
            json={"samples": [{"id": "param1/run", "seed": 2}], "num_points": COUNTS, "fields": ["volume_sdf"]},
        )
    tensors, metadata = open_body(answer)
    assert answer.headers["Content-Digest"] == content_digest(answer.content)
    expected = {
        f"{index}/{name}": tensor for index in (0, 2) for name, tensor in expect_item(reader, ITEMS[index]).items()
    }
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.from_numpy(tensors[name]).equal(tensor), name
    (problem,) = metadata["errors"].values()
    assert list(metadata["errors"]) == ["1"]
    assert problem["type"] == "urn:drawpoint:metadata-damaged"
    assert (problem["sample"], problem["field"], problem["status"]) == ("param1/run", "volume_vorticity", 502)
    assert str(root) not in json.dumps(metadata)
    # The field that is not damaged still comes.
    assert open_body(alone)[1]["errors"] == {}


def test_near_names_are_searched_for_a_few_items_only(http: httpx.Client) -> None:
    _, metadata = open_body(http.post(PATH, json={"samples": [{"id": f"run{index}"} for index in range(20)]}))
    searched = [index for index, problem in metadata["errors"].items() if "near" in problem]
    assert sorted(map(int, searched)) == list(range(8))
    assert metadata["errors"]["19"]["detail"] == "store 'made' has no sample 'run19'."


def _body(**members: Any) -> dict[str, Any]:
    return {"samples": [{"id": "a"}], **members}


@pytest.mark.parametrize(
    ("body", "kind", "sentences"),
    [
        ("", "invalid-parameter", ["the body is no JSON"]),
        ("[" * 100_000, "invalid-parameter", ["the body is no JSON"]),
        (gzip.compress(b"{}", mtime=0), "invalid-parameter", ["the body is no JSON", "not compressed"]),
        ('{"samples": [{"id": "a", "seed": 1, "seed": 2}]}', "invalid-parameter", ["a key stands there twice"]),
        ('{"samples": [{"id": "\\ud800"}]}', "invalid-parameter", ["the body is no JSON", "surrogates"]),
        ([], "invalid-parameter", ["body='[]'", "an object such as"]),
        ({}, "invalid-parameter", ["samples='null'", "at least one"]),
        ({"samples": []}, "invalid-parameter", ["samples='[]'", "at least one"]),
        ({"sampels": [{"id": "a"}]}, "unknown-parameter", ["the body has no key 'sampels'", "near names: samples"]),
        ({"samples": ["a"]}, "invalid-parameter", ["samples[0]", '{"id", "seed", "part"}']),
        ({"samples": [{"id": "a"}, {}]}, "invalid-parameter", ["samples[1].id='null'", "the id of a sample"]),
        ({"samples": [{"id": "a", "sed": 1}]}, "unknown-parameter", ["samples[0] has no key 'sed'", "names: seed"]),
        ({"samples": [{"id": "a", "seed": -1}]}, "invalid-parameter", ["samples[0].seed='-1'", "integer in 0.."]),
        ({"samples": [{"id": "a", "seed": 2**63}]}, "invalid-parameter", ["samples[0].seed="]),
        ({"samples": [{"id": "a", "seed": True}]}, "invalid-parameter", ["samples[0].seed='true'"]),
        ({"samples": [{"id": "a", "seed": 1.5}]}, "invalid-parameter", ["samples[0].seed='1.5'"]),
        ('{"samples": [{"id": "a", "seed": NaN}]}', "invalid-parameter", ["samples[0].seed='NaN'"]),
        ('{"samples": [{"id": "a", "seed": 1e999999999}]}', "invalid-parameter", ["samples[0].seed='Infinity'"]),
        # As a float it is another integer.
        ('{"samples": [{"id": "a", "seed": 9007199254740993.0}]}', "invalid-parameter", ["samples[0].seed="]),
        ({"samples": [{"id": "a", "seed": "1"}]}, "invalid-parameter", ["samples[0].seed='\"1\"'"]),
        ({"samples": [{"id": "a", "part": 1}]}, "invalid-draw", ["part of 'a' needs seed"]),
        (_body(num_points={"surfac": 1}), "unknown-domain", ["'surfac'", "near names: surface"]),
        (_body(num_points={"surface": 0}), "invalid-parameter", ["num_points.surface='0'", "integer in 1.."]),
        (_body(num_points=[1]), "invalid-parameter", ["num_points='[1]'", "by domain"]),
        (_body(coords={"volum": 1}), "unknown-domain", ["'volum'", "near names: volume"]),
        (_body(coords={"volume": "x"}), "invalid-parameter", ["coords.volume", "or all"]),
        (_body(fields=[]), "invalid-parameter", ["fields='[]'", "one or more names"]),
        (
            _body(fields="surface_area"),
            "invalid-parameter",
            ["fields='\"surface_area\"'", "is a list of one or more names"],
        ),
        (_body(fields=[1]), "invalid-parameter", ["fields[0]='1'"]),
        (_body(fields=["surface_presure"]), "unknown-field", ["near names: surface_pressure"]),
        (_body(dtype="float16"), "invalid-parameter", ["dtype", "float32 or stored"]),
        (_body(revision=1), "invalid-parameter", ["revision='1'", "a text"]),
    ],
)
def test_an_invalid_body_is_422_and_named(http: httpx.Client, body: Any, kind: str, sentences: list[str]) -> None:
    answer = http.post(PATH, content=body if isinstance(body, str | bytes) else json.dumps(body))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:drawpoint:{kind}"
    for sentence in sentences:
        assert sentence in problem["detail"]
    assert len(answer.content) < 2000


@pytest.mark.parametrize(
    "members",
    [
        {"samples": [0] * 100_000},
        {"samples": [0] * 256},
        {"samples": [{"id": "a", **dict.fromkeys(map(str, range(100_000)))}]},
        {"samples": [{"id": "a"}], "fields": [0] * 100_000},
        {"samples": [{"id": "a"}], "coords": dict.fromkeys(map(str, range(100_000)), 0)},
        dict.fromkeys(map(str, range(100_000))),
    ],
)
def test_a_body_is_refused_for_the_first_of_its_many_errors(members: Any) -> None:
    # To list them all would hold the interpreter's lock, and with it every other request, for seconds.
    with pytest.raises(DrawpointError) as refused:
        parse_batch(json.dumps(members).encode(), 256)
    found = refused.value.__context__
    assert not isinstance(found, ValidationError) or found.error_count() == 1


def test_another_revision_is_409_wherever_it_is_asked_for(http: httpx.Client, reader: ZarrChunkReader) -> None:
    body = {"samples": ITEMS, "num_points": COUNTS}
    revision = reader.manifest.revision
    assert http.post(f"{PATH}?revision={revision}", json={**body, "revision": revision}).status_code == 200
    for path, asked in ((f"{PATH}?revision=abc", body), (PATH, {**body, "revision": "abc"})):
        answer = http.post(path, json=asked)
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:drawpoint:revision-changed"


def test_a_newer_revision_in_the_body_makes_the_service_look_for_it(tmp_path: Path) -> None:
    revisions = []
    for seed in (0, 1):
        writer = small_writer(tmp_path)
        writer.write_sample("run", small_arrays(seed=seed))
        writer.save_manifest()
        revisions.append(writer.manifest.revision)
        if seed == 0:
            service = LiveService({"made": tmp_path}, revalidate_seconds=0)
    with service:
        answer = httpx.post(service.url + PATH, json={"samples": [{"id": "run"}], "revision": revisions[1]})
    assert open_body(answer)[1]["revision"] == answer.headers["X-Drawpoint-Revision"] == revisions[1]


def test_a_batch_with_too_many_bytes_is_413(http: httpx.Client) -> None:
    one: dict[str, Any] = {"samples": [{"id": "param0/run"}]}  # 10,000 points of 11 values, 1,500 of 11: 506,000
    assert http.post(PATH, json={"samples": one["samples"] * 3}).status_code == 200
    answer = http.post(PATH, json={"samples": one["samples"] * 4})
    assert answer.status_code == 413
    assert "samples 0 to 3 of the batch would have 2,024,000 bytes" in answer.json()["detail"]
    assert "2,000,000" in answer.json()["detail"]
    assert http.post(PATH, json={"samples": one["samples"] * 4, "dtype": "stored"}).status_code == 200


def test_a_batch_of_too_many_samples_is_413(http: httpx.Client) -> None:
    body: dict[str, Any] = {"samples": [{"id": "param0/run"}] * 41, "num_points": {"surface": 1, "volume": 1}}
    answer = http.post(PATH, json=body)
    assert answer.status_code == 413
    assert "41 samples and at most 40" in answer.json()["detail"]
    assert http.post(PATH, json={**body, "samples": body["samples"][1:]}).status_code == 200


def test_a_body_that_is_too_long_is_413_before_its_end(service: LiveService) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 100_000

    try:
        answer = httpx.post(service.url + PATH, content=endless())
    except httpx.TransportError:
        return  # it was told and hung up on while it was still sending
    assert answer.status_code == 413
    assert answer.json()["detail"].startswith("the request has more than 1,048,576 bytes")


class Slow(ZarrChunkReader):
    """A store that counts how many reads go on at once, and holds them until as many as expected are there."""

    def __init__(self, root: Path, expected: int) -> None:
        super().__init__(str(root))
        self.meeting = threading.Barrier(expected)

    def read_into(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self.meeting.wait(30)
        super().read_into(plan, out)


def test_the_samples_of_a_batch_are_read_by_all_threads_at_once(store_root: Path) -> None:
    body = {"samples": [{"id": "param0/run", "seed": seed} for seed in range(6)], "num_points": COUNTS}
    with LiveService({"made": Slow(store_root, 3)}, read_threads=3) as service:
        answer = httpx.post(service.url + PATH, json=body, timeout=60)
    assert open_body(answer)[1]["errors"] == {}


def test_a_client_that_leaves_in_its_body_is_no_failure_of_the_service(
    store_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="drawpoint")
    with LiveService({"made": store_root}, max_requests=1) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as leaver:
            leaver.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        while not any(f"POST {PATH}" in record.message for record in caplog.records):
            assert httpx.post(service.url + PATH, json={"samples": [{"id": "x"}]}).status_code == 200
            caplog.records[:] = [record for record in caplog.records if " 200 " not in record.message]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_an_integer_may_be_written_with_a_point_or_an_exponent(http: httpx.Client) -> None:
    body = (
        '{"samples": [{"id": "param0/run", "seed": 9007199254740991.0}], "num_points": {"surface": 1e1, "volume": 1}}'
    )
    _, metadata = open_body(http.post(PATH, content=body))
    assert metadata["seeds"] == [9_007_199_254_740_991]
    assert metadata["num_points"][0]["surface"] == 10
