"""A batch over HTTP gives the tensors that single reads give, an error in the place of what fails, and survives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import drawpoint
import faulty
from drawpoint import errors
from drawpoint.format.payload import TensorSpec, allocate, content_digest, parse
from drawpoint_store import ZarrChunkReader, build_domain_layouts
from faulty import Fault, FaultyProxy, Reply
from foreign import write_foreign
from live import LiveService
from small import SMALL, small_arrays

from .conftest import OpenStore, assert_equal

COUNTS = {"surface": 300, "volume": 500}
COORDS = {"surface": 70, "volume": 90}
ITEMS = [
    {"id": "param0/run", "seed": 1},
    {"id": "param1/run", "seed": 2, "part": 3},
    {"id": "param0/run", "seed": 3},
]

Reader = drawpoint.RemoteReader | ZarrChunkReader

pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.fixture(params=["remote", "httpx", "local"])
def reader(request: pytest.FixtureRequest, service: LiveService, local: ZarrChunkReader) -> Iterator[Reader]:
    if request.param == "local":
        yield local
        return
    told: dict[str, Any] = {"http2": False} if request.param == "httpx" else {}
    with drawpoint.connect(service.url, **told) as connection:
        yield connection.store("made")


def read_alone(local: ZarrChunkReader, item: dict[str, Any], fields: list[str] | None = None) -> dict[str, Any]:
    drawn = local.read_sample(item["id"], COUNTS, fields=fields, seed=item["seed"], part=item.get("part"))
    for domain, count in COORDS.items():
        drawn[f"coords/{domain}_position"] = local.read_coords(item["id"], domain, count, seed=item["seed"])
    return drawn


class TestABatch:
    def test_equals_its_draws_one_by_one(self, reader: Reader, local: ZarrChunkReader) -> None:
        found = reader.read_batch(ITEMS, COUNTS, coords=COORDS)
        assert len(found) == len(ITEMS)
        for item, outcome in zip(ITEMS, found, strict=True):
            assert_equal(outcome, read_alone(local, item))

    def test_without_counts_is_everything_in_stored_order(self, reader: Reader, local: ZarrChunkReader) -> None:
        (found,) = reader.read_batch(["param1/run"], {"volume": None}, coords={"surface": None})
        whole = local.read_sample("param1/run")
        assert_equal(found, {**whole, "coords/surface_position": local.read_coords("param1/run", "surface", None)})

    def test_of_ids_alone_draws_each_anew(self, reader: Reader) -> None:
        first, second = reader.read_batch(["param0/run", {"id": "param0/run"}], COUNTS)
        assert isinstance(first, dict)
        assert isinstance(second, dict)
        assert not torch.equal(first["volume_position"], second["volume_position"])

    @pytest.mark.parametrize(
        ("item", "kind", "sentence"),
        [
            ("param0/rum", errors.SampleNotFound, "near names: param0/run"),
            ({"id": "param0/run", "seed": -1}, errors.InvalidDraw, "seed must be an integer"),
            ({"id": "param0/run", "part": 1}, errors.InvalidDraw, "part needs seed"),
            ({"id": "param0/run", "seed": 1, "part": "x"}, errors.InvalidDraw, "part must be"),
            ({"id": "param0/run", "sed": 1}, errors.UnknownParameter, "near names: seed"),
            ({"seed": 1}, errors.InvalidDraw, "an item of a batch is a sample id"),
            (7, errors.InvalidDraw, "an item of a batch is a sample id"),
        ],
    )
    def test_has_an_error_in_the_place_of_an_item_that_names_no_draw(
        self, reader: Reader, local: ZarrChunkReader, item: Any, kind: type[Exception], sentence: str
    ) -> None:
        first, error, last = reader.read_batch([ITEMS[0], item, ITEMS[2]], COUNTS, coords=COORDS)
        assert_equal(first, read_alone(local, ITEMS[0]))
        assert isinstance(error, kind)
        assert sentence in str(error)
        assert_equal(last, read_alone(local, ITEMS[2]))

    @pytest.mark.parametrize(
        ("arguments", "kind"),
        [
            ({"num_points": {"surfac": 1}}, errors.UnknownDomain),
            ({"num_points": {"surface": 0}}, errors.InvalidDraw),
            ({"coords": {"surfac": 1}}, errors.UnknownDomain),
            ({"coords": ["surface"]}, errors.InvalidDraw),
            ({"fields": []}, errors.InvalidDraw),
            ({"fields": "surface_area"}, errors.InvalidDraw),
            ({"fields": ["surface_are"]}, errors.UnknownField),
            ({"samples": "param0/run"}, errors.InvalidDraw),
            ({"samples": {"id": "param0/run"}}, errors.InvalidDraw),
        ],
        ids=str,
    )
    def test_that_is_invalid_raises(self, reader: Reader, arguments: dict[str, Any], kind: type[Exception]) -> None:
        with pytest.raises(kind):
            reader.read_batch(**{"samples": ["nothing"], **arguments})


class TestOneRequest:
    def test_is_what_a_batch_takes(self, proxy: FaultyProxy, open_store: OpenStore) -> None:
        reader = open_store(proxy.url)
        reader.read_batch(ITEMS, COUNTS, ["volume_sdf"], coords=COORDS)
        (seen,) = proxy.draws
        assert (seen.method, seen.target) == ("POST", f"/stores/made/batch?revision={reader.manifest.revision}")
        assert json.loads(seen.body)["samples"] == ITEMS


@pytest.mark.parametrize("settings", [{"max_batch_samples": 2}, {"max_response_bytes": 200_000}], ids=str)
def test_a_batch_beyond_the_limits_of_the_service_comes_in_halves(
    settings: dict[str, int], store_root: Path, local: ZarrChunkReader, open_store: OpenStore
) -> None:
    items: list[dict[str, Any]] = [{"id": f"param{seed % 2}/run", "seed": seed} for seed in range(7)]
    with LiveService({"made": store_root}, **settings) as service, FaultyProxy(service.url) as proxy:
        found = open_store(proxy.url).read_batch(items, {"surface": 1000, "volume": 1000})
        assert 2 <= len(proxy.draws) < 14
    for item, outcome in zip(items, found, strict=True):
        expected = local.read_sample(item["id"], {"surface": 1000, "volume": 1000}, seed=item["seed"])
        assert_equal(outcome, expected)


def test_an_item_that_is_too_large_alone_is_an_error_of_its_own(store_root: Path, open_store: OpenStore) -> None:
    with LiveService({"made": store_root}, max_response_bytes=100_000) as service:
        first, last = open_store(service.url).read_batch(["param0/run", "param1/run"])
    for sample_id, error in (("param0/run", first), ("param1/run", last)):
        assert isinstance(error, errors.ResponseTooLarge)
        assert error.sample == sample_id
        assert f"read_sample('{sample_id}', num_points, seed=0, part=j)" in str(error)


def test_a_batch_too_long_for_one_request_is_sent_in_several(
    proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drawpoint.remote.reader.MAX_BODY_BYTES", 300)
    found = open_store(proxy.url).read_batch(ITEMS * 2, COUNTS, coords=COORDS)
    assert all(len(seen.body) <= 300 for seen in proxy.draws)
    for item, outcome in zip(ITEMS * 2, found, strict=True):
        assert_equal(outcome, read_alone(local, item))


def rewrite(change: Callable[[dict[str, Any], dict[str, str]], object]) -> Fault:
    """Send another answer, well formed and with a digest of its own; `change` gets its tensors and metadata."""

    def fault(reply: Reply) -> bool:
        tensors, metadata = parse(bytearray(reply.body))
        change(tensors, metadata)
        specs = [TensorSpec(name, str(tensor.dtype), tensor.shape) for name, tensor in tensors.items()]
        filled = allocate(specs, metadata)
        for name, tensor in tensors.items():
            filled.tensors[name][...] = tensor
        body = bytes(filled.body)
        headers = {**reply.headers, "content-length": str(len(body)), "content-digest": content_digest(body)}
        return faulty.send(replace(reply, body=body, headers=headers))

    return fault


OTHER_ANSWERS: list[Callable[[dict[str, Any], dict[str, str]], object]] = [
    lambda tensors, _: [tensors.pop(name) for name in list(tensors) if name.startswith("1/")],
    lambda tensors, _: tensors.update({"3/volume_sdf": tensors["0/volume_sdf"]}),
    lambda tensors, _: tensors.update({"2/volume_sdf": tensors["2/volume_sdf"][1:]}),
    lambda _, metadata: metadata.update(samples='["param1/run", "param0/run", "param0/run"]'),
    lambda _, metadata: metadata.update(seeds="[1,2,4]"),
    lambda _, metadata: metadata.update(parts="[null,null,null]"),
    lambda _, metadata: metadata.update(errors='{"1": {"status": 404}}'),  # and has its tensors
    lambda _, metadata: metadata.pop("errors"),
]


def test_a_batch_of_a_store_whose_field_has_a_slash_in_its_name_holds_it(tmp_path: Path, open_store: OpenStore) -> None:
    arrays = small_arrays()
    layouts = build_domain_layouts(SMALL)
    held = layouts["surface"].arrays
    held["wall/heat"] = held.pop("surface_pressure").model_copy(update={"field": "wall/heat"})
    root = write_foreign(tmp_path, {"a": {**arrays, "wall/heat": arrays["surface_pressure"]}}, layouts, chunk=4)
    with LiveService({"made": root}) as service:
        (found,) = open_store(service.url).read_batch([{"id": "a", "seed": 1}], coords={"surface": 3})
    local = ZarrChunkReader(root)
    geometry = {"coords/surface_position": local.read_coords("a", "surface", 3, seed=1)}
    assert_equal(found, local.read_sample("a") | geometry)


class TestABatchSurvives:
    @pytest.mark.parametrize(
        "fault",
        [
            *(faulty.reset, faulty.truncate, faulty.hang_up, faulty.babble, faulty.flip),
            *(faulty.with_answer(503, {"retry-after": "0"}), faulty.with_header("content-digest", None)),
            *map(rewrite, OTHER_ANSWERS),
        ],
    )
    def test_what_passes(self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore, fault: Fault) -> None:
        reader = open_store(proxy.url)
        proxy.script.append(fault)
        found = reader.read_batch(ITEMS, COUNTS, coords=COORDS)
        assert len(proxy.draws) == 2
        assert proxy.draws[0].body == proxy.draws[1].body
        for item, outcome in zip(ITEMS, found, strict=True):
            assert_equal(outcome, read_alone(local, item))

    def test_chunks_and_connections_that_end_with_the_body(
        self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore
    ) -> None:
        proxy.script += [faulty.chunk, faulty.end_with_the_connection]
        reader = open_store(proxy.url)
        for _ in range(2):
            assert_equal(reader.read_batch(ITEMS, COUNTS, coords=COORDS)[1], read_alone(local, ITEMS[1]))
        assert len(proxy.draws) == 2

    @pytest.mark.parametrize(
        ("fault", "kind"), [(faulty.hang_up, errors.ServiceUnavailable), (faulty.stall, errors.DeadlineExceeded)]
    )
    def test_no_outage_beyond_its_deadline_and_tells_it_as_one(
        self, proxy: FaultyProxy, open_store: OpenStore, fault: Fault, kind: type[errors.RequestFailed]
    ) -> None:
        reader = open_store(proxy.url, deadline=0.5, timeout=None)
        proxy.always = fault
        with pytest.raises(kind, match="3 samples of store 'made' at http") as caught:
            reader.read_batch(ITEMS, COUNTS)
        assert not isinstance(caught.value, KeyError)


class TestADamagedSample:
    @pytest.fixture
    def root(self, store_root: Path, tmp_path: Path) -> Path:
        root = Path(shutil.copytree(store_root, tmp_path / "store"))
        shard = root / "param1/run.zarr/volume/sdf/c/0/0"
        data = bytearray(shard.read_bytes())
        data[: len(data) // 2] = bytes(len(data) // 2)
        shard.write_bytes(data)
        return root

    def test_is_an_error_in_its_place_after_it_was_asked_for_alone_once_more(
        self, root: Path, local: ZarrChunkReader, open_store: OpenStore
    ) -> None:
        with LiveService({"made": root}) as service, FaultyProxy(service.url) as proxy:
            first, error, last = open_store(proxy.url).read_batch(ITEMS, COUNTS, coords=COORDS)
            again = [json.loads(seen.body)["samples"] for seen in proxy.draws]
        assert again == [ITEMS, [ITEMS[1]]]
        assert isinstance(error, errors.ChunkDamaged)
        assert (error.store, error.sample, error.field) == ("made", "param1/run", "volume_sdf")
        assert isinstance(error.chunk, int)
        local_error = ZarrChunkReader(root).read_batch(ITEMS, COUNTS)[1]
        assert isinstance(local_error, errors.ChunkDamaged)
        assert (local_error.field, local_error.chunk) == (error.field, error.chunk)
        assert_equal(first, read_alone(local, ITEMS[0]))
        assert_equal(last, read_alone(local, ITEMS[2]))

    def test_stays_the_error_that_it_was_where_asking_again_fails(self, root: Path, open_store: OpenStore) -> None:
        with LiveService({"made": root}) as service, FaultyProxy(service.url) as proxy:
            reader = open_store(proxy.url, deadline=3.0)
            proxy.script.append(faulty.send)
            proxy.always = faulty.hang_up
            first, error, last = reader.read_batch(ITEMS, COUNTS)
        assert isinstance(first, dict)
        assert isinstance(error, errors.ChunkDamaged)
        assert isinstance(last, dict)


class Unreadable(ZarrChunkReader):
    """A store of whose second sample the storage does not answer `times` times."""

    def __init__(self, root: Path, times: int) -> None:
        super().__init__(str(root))
        self.times = times

    def read_into(self, plan: Any, out: Any) -> None:
        if plan.sample_id == "param1/run" and self.times:
            self.times -= 1
            raise errors.StoreUnreadable("the storage does not answer.", sample=plan.sample_id)
        super().read_into(plan, out)


class TestAStorageThatDoesNotAnswer:
    def test_is_asked_again_for_the_samples_concerned(
        self, store_root: Path, local: ZarrChunkReader, open_store: OpenStore
    ) -> None:
        with LiveService({"made": Unreadable(store_root, 3)}) as service, FaultyProxy(service.url) as proxy:
            found = open_store(proxy.url).read_batch(ITEMS, COUNTS, coords=COORDS)
            assert [len(json.loads(seen.body)["samples"]) for seen in proxy.draws] == [3, 1, 1, 1]
        for item, outcome in zip(ITEMS, found, strict=True):
            assert_equal(outcome, read_alone(local, item))

    def test_is_the_error_of_those_samples_at_the_deadline(self, store_root: Path, open_store: OpenStore) -> None:
        with LiveService({"made": Unreadable(store_root, 10**9)}) as service:
            first, error, _ = open_store(service.url, deadline=3.0).read_batch(ITEMS, COUNTS)
        assert isinstance(first, dict)
        assert isinstance(error, errors.StoreUnreadable)
        assert not isinstance(error, KeyError)
