"""What goes wrong is told by the errors of the local reader, or by one that names store, sample, cause and request."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import drawpoint
import faulty
from conftest import FILEMAP, sample_arrays
from drawpoint import errors
from drawpoint_store import ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.reading.statistics_file import STATISTICS_NAME
from faulty import FaultyProxy
from live import LiveService

from .conftest import OpenStore

SAMPLE = "param0/run"
COUNTS = {"surface": 300, "volume": 1000}


def with_problem(status: int, name: str, **members: Any) -> faulty.Fault:
    """Answer with a problem document of the service's kind."""
    document = {"type": f"urn:drawpoint:{name}", "title": "x", "status": status, "detail": "It is so.", **members}
    return faulty.with_answer(status, {"content-type": "application/problem+json"}, json.dumps(document).encode())


class TestWhatTheManifestForbids:
    @pytest.mark.parametrize(
        "arguments",
        [
            {"sample_id": "param0/rum"},
            {"num_points": {"surfaces": 1}},
            {"num_points": {"surface": 0}},
            {"num_points": {"surface": 1.5}},
            {"num_points": {"surface": True}},
            {"num_points": 4096},
            {"fields": ["surface_presure"]},
            {"fields": []},
            {"fields": "surface_pressure"},
            pytest.param({"fields": iter(["surface_pressure"])}, id="an iterator"),
            {"seed": -1},
            {"seed": 2**63},
            {"part": 1},
            {"part": -1, "seed": 1},
            {"generator": 5},
        ],
        ids=str,
    )
    def test_is_the_local_readers_error_and_costs_no_request(
        self, proxy: FaultyProxy, local: ZarrChunkReader, arguments: dict[str, Any]
    ) -> None:
        reader = drawpoint.connect(proxy.url).store("made")
        arguments = {"sample_id": SAMPLE, **arguments}
        with pytest.raises(errors.DrawpointError) as theirs:
            local.read_sample(**arguments)
        with pytest.raises(errors.DrawpointError) as ours:
            reader.read_sample(**arguments)
        assert ours.type is theirs.type
        assert str(ours.value) == str(theirs.value).replace(local.store_root, "made")
        named = None if theirs.value.store is None else "made"
        assert vars(ours.value) == {**vars(theirs.value), "store": named}
        assert not proxy.draws

    @pytest.mark.parametrize("arguments", [("param0/rum", "surface", 1), (SAMPLE, "surf", 1), (SAMPLE, "surface", 0)])
    def test_holds_for_coordinates_too(
        self, proxy: FaultyProxy, local: ZarrChunkReader, arguments: tuple[str, str, int]
    ) -> None:
        reader = drawpoint.connect(proxy.url).store("made")
        with pytest.raises(errors.DrawpointError) as theirs:
            local.read_coords(*arguments)
        with pytest.raises(errors.DrawpointError) as ours:
            reader.read_coords(*arguments)
        assert ours.type is theirs.type
        assert str(ours.value) == str(theirs.value).replace(local.store_root, "made")
        assert not proxy.draws


class TestAStore:
    def test_that_is_not_served_is_named_with_near_ones(self, service: LiveService) -> None:
        with pytest.raises(errors.StoreNotFound, match="near names: made") as caught:
            drawpoint.connect(service.url).store("mode")
        assert caught.value.near == ("made",)

    @pytest.mark.parametrize("store_id", ["", "..", "../x", "a/b", "a?b#c", "ü"])
    def test_of_an_impossible_id_is_not_found(self, service: LiveService, store_id: str) -> None:
        with pytest.raises((errors.StoreNotFound, errors.RequestFailed)):
            drawpoint.connect(service.url).store(store_id)

    def test_is_not_missing_where_no_drawpoint_answers(self, service: LiveService) -> None:
        with pytest.raises(errors.RequestFailed, match="check the address given to connect") as caught:
            drawpoint.connect(f"{service.url}/somewhere/else").store("made")
        assert not isinstance(caught.value, LookupError)
        assert caught.value.status == 404

    def test_that_was_written_anew_is_not_mixed_with_the_old_one(
        self, proxy: FaultyProxy, store_root: Path, tmp_path: Path, open_store: OpenStore
    ) -> None:
        reader = open_store(proxy.url)
        shutil.copytree(store_root, tmp_path / "new")
        writer = ZarrStoreWriter(tmp_path / "new", FILEMAP, "made", shuffle_seed=8)
        writer.write_sample(SAMPLE, sample_arrays(9))
        writer.save_manifest()
        with LiveService({"made": tmp_path / "new"}) as service:
            proxy.upstream = service.url
            with pytest.raises(errors.RevisionChanged, match=r"connection\.store\('made'\)") as caught:
                reader.read_sample(SAMPLE, COUNTS)
            assert caught.value.store == "made"
            newer = open_store(proxy.url)
            assert newer.manifest.revision != reader.manifest.revision
            expected = ZarrChunkReader(tmp_path / "new").read_coords(SAMPLE, "surface", 5, seed=1)
            assert torch.equal(newer.read_coords(SAMPLE, "surface", 5, seed=1), expected)


@pytest.fixture(scope="module")
def guarded(store_root: Path) -> Iterator[LiveService]:
    with LiveService({"made": store_root}, token=["open-sesame"]) as service:
        yield service


class TestAccess:
    @pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 403)])
    def test_needs_the_token(self, guarded: LiveService, open_store: OpenStore, token: str | None, status: int) -> None:
        with pytest.raises(errors.AccessDenied, match="token=") as caught:
            open_store(guarded.url, token=token)
        assert caught.value.status == status
        assert isinstance(caught.value, PermissionError)

    def test_leaves_no_token_behind(self, guarded: LiveService) -> None:
        connection = drawpoint.connect(guarded.url, token="open-sesame", headers={"x-key": "hidden"})
        shown = f"{connection!r} {connection.store('made')!r} {vars(connection.store('made'))}"
        assert "sesame" not in shown
        assert "hidden" not in shown


@pytest.fixture(scope="module")
def small(store_root: Path) -> Iterator[LiveService]:
    with LiveService({"made": store_root}, max_response_bytes=50_000) as service:
        yield service


class TestADrawThatIsTooLarge:
    def test_is_told_to_come_in_parts_and_does(
        self, small: LiveService, local: ZarrChunkReader, open_store: OpenStore
    ) -> None:
        reader = open_store(small.url)
        with pytest.raises(errors.ResponseTooLarge, match=r"part=j.*every point once") as caught:
            reader.read_sample(SAMPLE, fields=["surface_position", "volume_position"])
        assert (caught.value.store, caught.value.sample) == ("made", SAMPLE)
        parts = [
            reader.read_sample(SAMPLE, {"volume": 4000}, fields=["volume_position"], seed=0, part=part)
            for part in range(3)
        ]
        rows = torch.cat([part["volume_position"] for part in parts])
        everything = local.read_coords(SAMPLE, "volume", None)
        assert torch.equal(rows[rows[:, 0].argsort()], everything[everything[:, 0].argsort()])

    def test_has_no_parts_if_it_is_of_coordinates(self, small: LiveService, open_store: OpenStore) -> None:
        with pytest.raises(errors.ResponseTooLarge, match="fewer points") as caught:
            open_store(small.url).read_coords(SAMPLE, "volume", None)
        assert "part" not in str(caught.value).replace("'param0/run'", "")


class TestDamagedData:
    @pytest.fixture
    def damaged(self, store_root: Path, tmp_path: Path) -> Iterator[FaultyProxy]:
        shutil.copytree(store_root, tmp_path / "damaged")
        shard = tmp_path / "damaged" / f"{SAMPLE}.zarr" / "surface" / "pressure" / "c" / "0" / "0"
        shard.write_bytes(bytes([shard.read_bytes()[0] ^ 255]) + shard.read_bytes()[1:])
        with LiveService({"made": tmp_path / "damaged"}) as service, FaultyProxy(service.url) as proxy:
            yield proxy

    def test_is_named_after_a_second_look(self, damaged: FaultyProxy, open_store: OpenStore) -> None:
        reader = open_store(damaged.url)
        with pytest.raises(errors.ChunkDamaged, match="param0/run") as caught:
            reader.read_sample(SAMPLE)
        error = caught.value
        assert (error.store, error.sample, error.field, error.chunk) == ("made", SAMPLE, "surface_pressure", 0)
        assert len(damaged.draws) == 2
        assert len(reader.read_coords(SAMPLE, "surface", 5)) == 5

    def test_may_have_been_damaged_on_the_way_only(
        self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore
    ) -> None:
        reader = open_store(proxy.url)
        proxy.script.append(with_problem(502, "chunk-damaged", sample=SAMPLE, field="surface_area", chunk=3))
        assert torch.equal(
            reader.read_coords(SAMPLE, "surface", 5, seed=1), local.read_coords(SAMPLE, "surface", 5, seed=1)
        )


class TestWhatTheServiceReports:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (with_problem(404, "sample-not-found", near=["param1/run"]), errors.SampleNotFound),
            (with_problem(404, "not-found"), errors.RequestFailed),
            (faulty.with_answer(404, {"content-type": "text/html"}, b"<h1>Not Found</h1>"), errors.RequestFailed),
            (with_problem(422, "unknown-field", near=[]), errors.UnknownField),
            (with_problem(422, "something-new"), errors.InvalidDraw),
            (with_problem(500, "internal-server-error"), errors.RequestFailed),
            (faulty.with_answer(307, {"location": "https://elsewhere/"}), errors.RequestFailed),
            (faulty.with_answer(418, {"content-type": "application/problem+json"}, b"{"), errors.RequestFailed),
            (faulty.with_answer(403, {}, b"[]"), errors.AccessDenied),
        ],
        ids=["404", "no such path", "a proxy's 404", "422", "a new 422", "500", "307", "418", "a proxy's 403"],
    )
    def test_is_told_at_once_with_all_that_is_known(
        self, proxy: FaultyProxy, open_store: OpenStore, fault: faulty.Fault, kind: type[errors.DrawpointError]
    ) -> None:
        reader = open_store(proxy.url)
        proxy.always = fault
        with pytest.raises(kind, match="sample 'param0/run' of store 'made'") as caught:
            reader.read_sample(SAMPLE, COUNTS)
        assert caught.type is kind
        assert (caught.value.store, caught.value.sample) == ("made", SAMPLE)
        assert proxy.draws[0].headers["x-request-id"] in str(caught.value)
        assert len(proxy.draws) == 1

    def test_is_waited_out_where_the_storage_does_not_answer(
        self, proxy: FaultyProxy, local: ZarrChunkReader, open_store: OpenStore
    ) -> None:
        reader = open_store(proxy.url)
        proxy.script += [with_problem(502, "store-unreadable")] * 3
        assert torch.equal(
            reader.read_coords(SAMPLE, "surface", 5, seed=1), local.read_coords(SAMPLE, "surface", 5, seed=1)
        )

    def test_is_the_storages_silence_if_that_lasts(self, proxy: FaultyProxy, open_store: OpenStore) -> None:
        reader = open_store(proxy.url, deadline=0.3)
        proxy.always = with_problem(502, "store-unreadable")
        with pytest.raises(errors.StoreUnreadable, match="It is so;"):
            reader.read_sample(SAMPLE, COUNTS)

    def test_survives_pickling(self, proxy: FaultyProxy) -> None:
        reader = drawpoint.connect(proxy.url).store("made")
        proxy.always = with_problem(422, "unknown-field", near=["a"], field="b")
        with pytest.raises(errors.UnknownField) as caught:
            reader.read_sample(SAMPLE, COUNTS)
        twin = pickle.loads(pickle.dumps(caught.value))
        assert (type(twin), str(twin), vars(twin)) == (errors.UnknownField, str(caught.value), vars(caught.value))


class TestNeighboursOfTheManifest:
    @pytest.fixture
    def copied(self, store_root: Path, tmp_path: Path) -> Iterator[tuple[LiveService, Path]]:
        root = tmp_path / "copied"
        shutil.copytree(store_root, root)
        with LiveService({"made": root}) as service:
            yield service, root

    def test_are_listed_and_read(self, copied: tuple[LiveService, Path]) -> None:
        service, root = copied
        (root / "splits").mkdir()
        (root / "splits" / "a b%.txt").write_text("param1/run\nparam0/run\n")
        (root / "train_design_ids.txt").write_text("param0/run\n")
        reader = drawpoint.connect(service.url).store("made")
        assert reader.splits() == ["a b%", "train"]
        assert reader.split("a b%") == ["param1/run", "param0/run"]
        with pytest.raises(
            errors.SplitNotFound, match=r"^store 'made' has no split 'trian'; near names: train \(request \w+\)\.$"
        ) as caught:
            reader.split("trian")
        assert caught.value.near == ("train",)

    def test_are_missed_by_name(self, service: LiveService) -> None:
        reader = drawpoint.connect(service.url).store("made")
        with pytest.raises(errors.StatisticsNotFound, match="drawpoint stats"):
            reader.statistics()
        with pytest.raises(errors.SplitNotFound, match="ships no splits"):
            reader.splits()

    def test_statistics_are_those_of_the_readers_revision(self, copied: tuple[LiveService, Path]) -> None:
        service, root = copied
        reader = drawpoint.connect(service.url).store("made")
        statistics = {"version": 1, "revision": reader.manifest.revision, "fields": {"surface_pressure": {"mean": [1]}}}
        (root / STATISTICS_NAME).write_text(json.dumps(statistics))
        assert reader.statistics()["fields"] == statistics["fields"]
        other = drawpoint.RemoteReader(
            reader._transport,  # noqa: SLF001  a reader of another revision over the same connection
            "made",
            reader.manifest.model_copy(update={"dataset_name": "other"}),
        )
        other._revision = "0" * 64  # noqa: SLF001  as if the store had been written anew since
        with pytest.raises(errors.RevisionChanged, match=r"connection\.store\('made'\)"):
            other.statistics()
