"""The source's rows: they agree with what the writer did, and are known only where that is certain."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import drawpoint
from drawpoint.errors import SampleNotFound, StoreExists, UnknownDomain, UnknownOrder
from drawpoint.format.sample_table import SampleTable
from drawpoint_store import (
    DomainSample,
    FileMap,
    SampleEntry,
    StoreManifest,
    ZarrChunkReader,
    build_domain_layouts,
)
from drawpoint_store.convert import convert
from drawpoint_store.maintenance.upgrade import upgrade_store
from foreign import write_foreign
from small import SMALL, small_arrays, small_writer
from trees import write_run, write_runs, writer_at
from unbinding import unbind


def made(n_points: int = 5, *, seed: int = 7, sample_id: str = "a", shuffle: str | None = "shuffle/1") -> StoreManifest:
    grid = DomainSample(n_points=n_points, chunk_points=n_points, shard_points=n_points, n_chunks=1)
    return StoreManifest(
        dataset_name="made",
        shuffle_seed=seed,
        shuffle=shuffle,
        domains=build_domain_layouts(FileMap(surface_position="p.pt", volume_position="v.pt")),
        samples=SampleTable({sample_id: SampleEntry(relpath="a.zarr", domains={"surface": grid})}),
    )


def rows_of(root: Path, sample_id: str) -> np.ndarray:
    return drawpoint.source_rows(StoreManifest.load(root), sample_id, "surface")


def assert_rows_lead_to_the_source(root: Path, source: Path, sample_id: str) -> None:
    stored = ZarrChunkReader(root).read_sample(sample_id)
    for domain in ("surface", "volume"):
        given = torch.load(source / sample_id / f"{domain}_position.pt")
        rows = drawpoint.source_rows(StoreManifest.load(root), sample_id, domain)
        assert torch.equal(stored[f"{domain}_position"], given[rows])


@given(st.integers(1, 300), st.integers(0, 2**63), st.text(st.characters(categories=["L", "N"]), min_size=1))
def test_source_rows_are_a_permutation_that_the_manifest_alone_decides(n_points: int, seed: int, name: str) -> None:
    manifest = made(n_points, seed=seed, sample_id=name)
    rows = drawpoint.source_rows(manifest, name, "surface")
    assert rows.dtype == np.int64
    assert rows.shape == (n_points,)
    assert sorted(rows) == list(range(n_points))
    assert (rows == drawpoint.source_rows(StoreManifest.from_json(manifest.to_json()), name, "surface")).all()


def test_the_rows_of_the_first_rule_are_golden() -> None:
    assert drawpoint.source_rows(made(8), "a", "surface").tolist() == [5, 4, 7, 2, 0, 1, 6, 3]


def test_they_are_where_the_writer_has_put_the_rows(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root)
    for sample_id, entry in reader.manifest.samples.items():
        stored = reader.read_sample(sample_id)
        for domain in entry.domains:
            rows = drawpoint.source_rows(reader.manifest, sample_id, domain)
            assert (stored[f"{domain}_position"][:, 0].numpy() == rows).all()  # row i of the source carries i


class TestAConversion:
    def test_names_its_rule(self, tmp_path: Path) -> None:
        source = tmp_path / "runs"
        write_runs(source, 2)
        convert(source, writer_at(tmp_path / "store"))
        assert json.loads((tmp_path / "store/manifest.json").read_text())["shuffle"] == "shuffle/1"
        for sample_id in ("run_0", "run_1"):
            assert_rows_lead_to_the_source(tmp_path / "store", source, sample_id)

    def test_keeps_the_order_known_when_it_appends_or_overwrites(self, tmp_path: Path) -> None:
        source, root = tmp_path / "runs", tmp_path / "store"
        write_run(source / "run_0")
        convert(source, writer_at(root))
        write_run(source / "run_1", 1)
        convert(source, writer_at(root), existing="append")
        assert_rows_lead_to_the_source(root, source, "run_0")
        assert_rows_lead_to_the_source(root, source, "run_1")
        write_run(source / "run_0", 9)
        convert(source, writer_at(root), existing="overwrite")
        assert_rows_lead_to_the_source(root, source, "run_0")

    def test_that_appends_to_another_writers_store_claims_no_order(self, tmp_path: Path) -> None:
        source, root = tmp_path / "runs", tmp_path / "store"
        write_run(source / "run_0")
        convert(source, writer_at(root))
        document = json.loads((root / "manifest.json").read_text())
        del document["shuffle"], document["samples"]["run_0"]["digest"]
        (root / "manifest.json").write_text(json.dumps(document))
        write_run(source / "run_1", 1)
        writer = writer_at(root)
        convert(source, writer, existing="append")
        for sample_id in ("run_0", "run_1"):
            with pytest.raises(UnknownOrder, match="convert the source again"):
                rows_of(root, sample_id)
        convert(source, writer, existing="overwrite")
        assert_rows_lead_to_the_source(root, source, "run_1")

    def test_does_not_append_to_a_store_of_another_rule(self, tmp_path: Path) -> None:
        source, root = tmp_path / "runs", tmp_path / "store"
        write_run(source / "run_0")
        convert(source, writer_at(root))
        manifest = StoreManifest.load(root)
        manifest.shuffle = "shuffle/9"
        manifest.save(root)
        with pytest.raises(StoreExists, match="its shuffle is 'shuffle/9', not 'shuffle/1'"):
            convert(source, writer_at(root), existing="append")


class TestAStoreOfVersion01:
    """It names no rule, but no other program made digests like its own."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        source = tmp_path / "runs"
        write_run(source / "run_0")
        convert(source, writer_at(tmp_path / "store"))
        unbind(tmp_path / "store")
        return source

    def test_has_a_known_order(self, tmp_path: Path, source: Path) -> None:
        assert StoreManifest.load(tmp_path / "store").shuffle is None
        assert_rows_lead_to_the_source(tmp_path / "store", source, "run_0")

    def test_has_it_after_an_upgrade(self, tmp_path: Path, source: Path) -> None:
        upgrade_store(tmp_path / "store")
        assert StoreManifest.load(tmp_path / "store").shuffle == "shuffle/1"
        assert_rows_lead_to_the_source(tmp_path / "store", source, "run_0")

    def test_has_it_after_samples_were_appended(self, tmp_path: Path, source: Path) -> None:
        write_run(source / "run_1", 1)
        convert(source, writer_at(tmp_path / "store"), existing="append")
        for sample_id in ("run_0", "run_1"):
            assert_rows_lead_to_the_source(tmp_path / "store", source, sample_id)


class TestAnOrderThatIsNotKnown:
    def test_is_that_of_another_writer_also_after_an_upgrade(self, tmp_path: Path) -> None:
        root = write_foreign(tmp_path, {"a": small_arrays()}, build_domain_layouts(SMALL), chunk=4)
        for _ in range(2):
            with pytest.raises(UnknownOrder, match="store 'foreign' does not tell which row of the source") as error:
                rows_of(root, "a")
            assert (error.value.sample, isinstance(error.value, LookupError)) == ("a", True)
            upgrade_store(root)

    def test_is_that_of_a_manifest_which_another_program_saved(self, tmp_path: Path) -> None:
        writer = small_writer(tmp_path)
        writer.write_sample("a", small_arrays())
        document = json.loads(writer.manifest.to_json())
        del document["shuffle"]
        with pytest.raises(UnknownOrder):
            drawpoint.source_rows(StoreManifest.from_object(document), "a", "surface")

    @pytest.mark.parametrize("rule", [True, 1, ["shuffle/1"], {"rule": "shuffle/1"}, None])
    def test_is_that_of_a_key_which_means_something_else(self, rule: object) -> None:
        document = {**json.loads(made().to_json()), "shuffle": rule}
        manifest = StoreManifest.from_json(json.dumps(document).encode())
        assert manifest.shuffle is None
        with pytest.raises(UnknownOrder):
            drawpoint.source_rows(manifest, "a", "surface")

    def test_is_that_of_a_later_rule_which_is_named(self) -> None:
        with pytest.raises(UnknownOrder, match=r"names the rule 'shuffle/2'.*a newer one may know it") as error:
            drawpoint.source_rows(made(shuffle="shuffle/2"), "a", "surface")
        again = pickle.loads(pickle.dumps(error.value))
        assert str(again) == str(error.value)


def test_a_manifest_without_a_rule_keeps_its_bytes() -> None:
    assert b"shuffle/1" not in made(shuffle=None).to_json()
    assert b'"shuffle"' not in made(shuffle=None).to_json()
    assert b'"shuffle": "shuffle/1",' in made().to_json()


def test_a_sample_or_domain_that_is_not_there_is_named() -> None:
    with pytest.raises(SampleNotFound, match="has no sample 'b'"):
        drawpoint.source_rows(made(), "b", "surface")
    with pytest.raises(UnknownDomain, match="has no domain 'volume'; there is: surface"):
        drawpoint.source_rows(made(), "a", "volume")
