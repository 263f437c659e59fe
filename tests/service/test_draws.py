"""Draws over HTTP are the local reader's draws, named well enough to be made, checked and cached again."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import crc32c
import httpx
import pytest
import safetensors.torch
import torch
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from drawpoint.format.payload import parse
from drawpoint_store import FileMap, ZarrChunkReader, ZarrStoreWriter
from live import LiveService

SAMPLE = "/stores/made/samples/param0/run"
COORDS = "/stores/made/coords/param0/run"
VOLUME_FIELDS = ["volume_velocity", "volume_sdf"]
SURFACE_FIELDS = [f"surface_{name}" for name in ("position", "pressure", "friction", "normals", "area")]


@pytest.fixture(scope="module")
def reader(store_root: Path) -> ZarrChunkReader:
    return ZarrChunkReader(store_root)


def assert_equal(sent: dict[str, torch.Tensor], read: dict[str, torch.Tensor]) -> None:
    assert sent.keys() == read.keys()
    for field, tensor in read.items():
        assert sent[field].dtype == tensor.dtype
        assert torch.equal(sent[field], tensor), field


@pytest.mark.parametrize(
    ("query", "counts", "named"),
    [
        ("surface=300&volume=1000&seed=5", {"surface": 300, "volume": 1000}, {"seed": 5}),
        ("surface=10&seed=1", {"surface": 10}, {"seed": 1}),  # the other domain in full
        (
            "volume=50&seed=1&fields=volume_velocity,volume_sdf",
            {"volume": 50},
            {"seed": 1, "fields": VOLUME_FIELDS},
        ),
        ("surface=50&seed=1&domains=surface", {"surface": 50}, {"seed": 1, "fields": SURFACE_FIELDS}),
        ("seed=1&domains=surface&fields=volume_sdf,surface_area", {}, {"seed": 1, "fields": ["surface_area"]}),
        ("surface=all&volume=99999", {}, {}),
    ],
)
def test_a_draw_is_what_the_local_reader_reads(
    http: httpx.Client, reader: ZarrChunkReader, query: str, counts: dict[str, int], named: dict[str, Any]
) -> None:
    answer = http.get(f"{SAMPLE}?{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.safetensors"
    assert_equal(safetensors.torch.load(answer.content), reader.read_sample("param0/run", counts, **named))


def test_a_draw_without_a_seed_names_the_seed_that_it_took(http: httpx.Client, reader: ZarrChunkReader) -> None:
    answers = [http.get(f"{SAMPLE}?surface=300&volume=1000") for _ in range(2)]
    seeds = [int(answer.headers["X-Drawpoint-Seed"]) for answer in answers]
    assert seeds[0] != seeds[1]
    assert seeds == [int(parse(bytearray(answer.content))[1]["seed"]) for answer in answers]
    read = reader.read_sample("param0/run", {"surface": 300, "volume": 1000}, seed=seeds[0])
    assert_equal(safetensors.torch.load(answers[0].content), read)


def test_parts_hold_every_point_once(http: httpx.Client, reader: ZarrChunkReader) -> None:
    seen = []
    for part in range(4):  # ceil(1500 / 400)
        answer = http.get(f"{SAMPLE}?surface=400&seed=9&part={part}&domains=surface")
        tensors = safetensors.torch.load(answer.content)
        read = reader.read_sample("param0/run", {"surface": 400, "volume": 1}, seed=9, part=part)
        assert_equal(tensors, {field: read[field] for field in tensors})
        seen += tensors["surface_position"][:, 0].tolist()
    assert sorted(seen) == list(range(1500))


def test_coordinates_are_drawn_independently_of_fields(http: httpx.Client, reader: ZarrChunkReader) -> None:
    answer = http.get(f"{COORDS}?volume=300&surface=200&seed=5")
    read = {
        "surface_position": reader.read_coords("param0/run", "surface", 200, seed=5),
        "volume_position": reader.read_coords("param0/run", "volume", 300, seed=5),
    }
    assert_equal(safetensors.torch.load(answer.content), read)
    fields = reader.read_sample("param0/run", {"surface": 200, "volume": 300}, seed=5)
    assert not torch.equal(fields["surface_position"], read["surface_position"])


@pytest.mark.parametrize("path", [f"{SAMPLE}?surface=300&volume=1000&seed=5", f"{COORDS}?surface=40&seed=5"])
def test_a_draw_as_stored_is_the_draw_as_float32_after_upcasting(http: httpx.Client, path: str) -> None:
    stored = safetensors.torch.load(http.get(f"{path}&dtype=stored").content)
    widened = safetensors.torch.load(http.get(f"{path}&dtype=float32").content)
    if "surface_pressure" in stored:
        assert stored["surface_pressure"].dtype == torch.float16
    assert stored["surface_position"].dtype == torch.float32
    assert_equal({field: tensor.float() for field, tensor in stored.items()}, widened)


def test_domains_that_a_sample_lacks_are_absent(tmp_path: Path) -> None:
    writer = ZarrStoreWriter(tmp_path, FileMap(surface_position="a", volume_position="b"), "half")
    writer.write_sample("s", {"surface_position": torch.rand(10, 3).numpy()})
    writer.save_manifest()
    with LiveService({"half": tmp_path}) as service:
        answer = httpx.get(f"{service.url}/stores/half/samples/s?surface=4&volume=4&seed=0")
        assert list(safetensors.torch.load(answer.content)) == ["surface_position"]
        assert json.loads(parse(bytearray(answer.content))[1]["num_points"]) == {"surface": 4}
        answer = httpx.get(f"{service.url}/stores/half/samples/s?fields=volume_position,surface_position&seed=0")
        assert list(safetensors.torch.load(answer.content)) == ["surface_position"]
        answer = httpx.get(f"{service.url}/stores/half/samples/s?fields=volume_position&seed=0")
        assert (answer.status_code, safetensors.torch.load(answer.content)) == (200, {})
        for path in ("samples/s?domains=volume", "coords/s?volume=4"):
            refused = httpx.get(f"{service.url}/stores/half/{path}")
            assert refused.status_code == 422
            assert "sample 's'" in refused.json()["detail"]


def test_the_metadata_of_a_draw_say_what_it_is(http: httpx.Client, reader: ZarrChunkReader) -> None:
    _, metadata = parse(bytearray(http.get(f"{SAMPLE}?surface=400&seed=7&part=3&dtype=stored").content))
    assert metadata == {
        "store": "made",
        "revision": reader.manifest.revision,
        "sample": "param0/run",
        "seed": "7",
        "part": "3",
        "draw_version": "1",
        "dtype": "stored",
        "num_points": '{"surface":300,"volume":10000}',
    }


@pytest.mark.parametrize(
    "path", [f"{SAMPLE}?seed=1", "/stores", "/stores/made/manifest", "/stores/made/samples", "/docs", "/nowhere"]
)
def test_an_answer_has_the_digest_of_what_is_sent(http: httpx.Client, path: str) -> None:
    with http.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        sent = b"".join(answer.iter_raw())
    digest = base64.b64encode(crc32c.crc32c(sent).to_bytes(4, "big")).decode()
    assert answer.headers["Content-Digest"] == f"crc32c=:{digest}:"


def test_replicas_answer_alike(http: httpx.Client, store_root: Path) -> None:
    path = f"{SAMPLE}?surface=100&volume=100&seed=3"
    here = http.get(path)
    with LiveService({"made": store_root}, read_threads=1) as replica:
        there = httpx.get(replica.url + path)
    assert there.content == here.content
    assert there.headers["ETag"] == here.headers["ETag"]


class CountingStore(LocalStore):
    gets = 0

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        type(self).gets += 1
        return await super().get(key, prototype, byte_range)


def test_a_304_or_a_head_costs_no_read(store_root: Path) -> None:
    opened = ZarrChunkReader(store_root, store_factory=lambda path: CountingStore(path, read_only=True))
    with LiveService({"made": opened}) as service, httpx.Client(base_url=service.url) as http:
        first = http.get(f"{SAMPLE}?surface=10&volume=10&seed=3")
        before = CountingStore.gets
        assert "Content-Digest" not in http.head(f"{SAMPLE}?surface=11&seed=3").headers  # it is not read either
        again = http.get(
            f"{SAMPLE}?volume=10&surface=10&seed=3", headers={"If-None-Match": f'"x", W/{first.headers["ETag"]}'}
        )
        assert before > 0
        assert CountingStore.gets == before
    assert again.status_code == 304
    assert again.content == b""
    assert "Content-Digest" not in again.headers
    for name in ("ETag", "Cache-Control", "X-Drawpoint-Seed", "X-Drawpoint-Revision"):
        assert again.headers[name] == first.headers[name]


@pytest.mark.parametrize(
    "other",
    [
        "surface=11&seed=3",
        "surface=10&seed=4",
        "surface=10&seed=3&part=0",
        "surface=10&seed=3&dtype=stored",
        "surface=10&seed=3&domains=surface",
        "surface=all&seed=3",
    ],
)
def test_another_answer_has_another_etag(http: httpx.Client, other: str) -> None:
    etag = http.head(f"{SAMPLE}?surface=10&seed=3").headers["ETag"]
    assert http.head(f"{SAMPLE}?{other}").headers["ETag"] != etag
    assert http.head("/stores/made/samples/param1/run?surface=10&seed=3").headers["ETag"] != etag
    assert http.head(f"{COORDS}?surface=10&seed=3").headers["ETag"] != etag


def test_another_spelling_of_a_draw_has_the_same_etag(http: httpx.Client) -> None:
    etag = http.head(f"{SAMPLE}?surface=10&seed=3&fields=surface_area,surface_position").headers["ETag"]
    for other in (
        "surface=10&seed=03&fields=surface_position,surface_area",
        "surface=10&volume=all&seed=3&dtype=float32&fields=surface_area,surface_position,surface_area",
    ):
        assert http.head(f"{SAMPLE}?{other}").headers["ETag"] == etag


def test_a_draw_may_be_cached_where_a_seed_names_it(http: httpx.Client) -> None:
    assert http.get(f"{SAMPLE}?surface=10&seed=3").headers["Cache-Control"] == "public, max-age=3600"
    answer = http.get(f"{SAMPLE}?surface=10", headers={"If-None-Match": "*"})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


def test_another_revision_has_another_etag(http: httpx.Client, tmp_path: Path, store_root: Path) -> None:
    (tmp_path / "param0").symlink_to(store_root / "param0")
    (tmp_path / "param1").symlink_to(store_root / "param1")
    (tmp_path / "manifest.json").write_bytes((store_root / "manifest.json").read_bytes() + b" ")
    path = f"{SAMPLE}?surface=10&seed=3"
    with LiveService({"made": tmp_path}) as service:
        assert httpx.head(service.url + path).headers["ETag"] != http.head(path).headers["ETag"]


@pytest.mark.parametrize(
    "path",
    [
        f"{SAMPLE}?surface=10&seed=3&dtype=stored",
        f"{COORDS}?volume=10&seed=3",
        "/stores",
        "/stores/made/manifest",
        "/docs",
        f"{SAMPLE}?surface=0",
        "/nowhere",
    ],
)
def test_head_answers_with_the_headers_of_get(http: httpx.Client, path: str) -> None:
    pair = [http.request(method, path, headers={"X-Request-ID": "same"}) for method in ("HEAD", "GET")]
    assert pair[0].content == b""
    assert pair[0].status_code == pair[1].status_code
    varying = {"date", "content-digest"}
    head, get = ({name: text for name, text in answer.headers.items() if name not in varying} for answer in pair)
    assert head == get


def test_answers_at_once_do_not_mix(http: httpx.Client, reader: ZarrChunkReader) -> None:
    def check(seed: int) -> None:
        sample = f"param{seed % 2}/run"
        answer = http.get(f"/stores/made/samples/{sample}?surface=200&volume=300&seed={seed}")
        assert_equal(
            safetensors.torch.load(answer.content),
            reader.read_sample(sample, {"surface": 200, "volume": 300}, seed=seed),
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check, range(48)))


def test_a_body_of_many_slices_arrives_whole(big_root: Path) -> None:
    with LiveService({"big": big_root}) as service:
        answer = httpx.get(f"{service.url}/stores/big/samples/s")
    assert_equal(safetensors.torch.load(answer.content), ZarrChunkReader(big_root).read_sample("s", seed=0))
