"""Stores that are not what they say, by accident or on purpose: refused, or read right, and never without bound."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs import zstd

from conftest import FILEMAP, sample_arrays
from drawpoint.draw.philox import PhiloxStream
from drawpoint.errors import DataDamaged, InvalidManifest, MetadataDamaged, StoreUnreadable
from drawpoint_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.inspecting.upgrade import upgrade_store
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.reading.codecs import Decoder, UndecodableError, parse_codec
from small import small_arrays, small_writer

SAMPLE = "param0/run"


@pytest.fixture
def root(store_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_root, tmp_path / "store"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


class TestAManifest:
    def test_with_two_samples_in_one_group_is_refused(self, root: Path) -> None:
        def share(document: dict[str, Any]) -> None:
            document["samples"]["param1/run"]["relpath"] = "param0/run.zarr"

        rewrite(root / "manifest.json", share)
        with pytest.raises(InvalidManifest, match="two samples lie in one group"):
            StoreManifest.load(root)

    def test_with_two_fields_in_one_array_is_refused(self, root: Path) -> None:
        def share(document: dict[str, Any]) -> None:
            document["domains"]["surface"]["arrays"]["surface_normals"]["array_name"] = "surface/friction"

        rewrite(root / "manifest.json", share)
        with pytest.raises(InvalidManifest, match="two fields lie in one array"):
            StoreManifest.load(root)

    @pytest.mark.parametrize("key", ["samples", "relpath", "n_points"])
    def test_with_a_key_that_stands_twice_is_refused(self, root: Path, key: str) -> None:
        path = root / "manifest.json"
        text = path.read_text()
        value = {"samples": "{}", "relpath": '"x.zarr"', "n_points": "7"}[key]
        path.write_text(text.replace(f'"{key}":', f'"{key}": {value}, "{key}":', 1))
        with pytest.raises(InvalidManifest, match=f"'{key}' stands twice"):
            StoreManifest.load(root)

    def test_without_samples_is_no_empty_store(self, root: Path) -> None:
        path = root / "manifest.json"
        path.write_text(path.read_text().replace('"samples"', '"sampler"'))
        with pytest.raises(InvalidManifest, match="it has no samples"):
            StoreManifest.load(root)

    def test_with_an_id_that_does_not_print_is_refused(self, root: Path) -> None:
        path = root / "manifest.json"
        path.write_text(path.read_text().replace('"param1/run"', '"param1/\\u202e"'))
        with pytest.raises(InvalidManifest, match="characters that do not print"):
            StoreManifest.load(root)


def test_a_group_of_an_earlier_revision_is_never_written_again(tmp_path: Path) -> None:
    def publish(seed: int, *ids: str) -> ZarrStoreWriter:
        writer = ZarrStoreWriter(tmp_path, FILEMAP, "again")
        for sample_id in ids:
            writer.write_sample(sample_id, sample_arrays(seed))
        writer.save_manifest()
        return writer

    publish(0, "a", "b")
    old = ZarrChunkReader(tmp_path)
    pressure = old.read_sample("a", fields=["surface_pressure"])["surface_pressure"]
    publish(1, "b")  # without a
    publish(2, "a", "b")  # a comes back, with other values
    new = StoreManifest.load(tmp_path)
    assert new.samples["a"].relpath != old.manifest.samples["a"].relpath
    assert len({*new.retired, *(entry.relpath for entry in new.samples.values())}) == 5
    again = ZarrChunkReader(tmp_path, manifest=old.manifest).read_sample("a")
    assert again["surface_pressure"].equal(pressure)
    assert (np.sort(again["surface_position"][:, 0].numpy()) == np.arange(1500)).all()


def test_rows_of_a_group_that_was_put_in_the_place_of_an_open_one_are_not_mixed_with_its_own(
    root: Path, tmp_path: Path
) -> None:
    reader = ZarrChunkReader(root)
    reader.read_sample(SAMPLE, fields=["surface_pressure"])
    writer = ZarrStoreWriter(tmp_path / "other", FILEMAP, "made", shuffle_seed=8, chunk_points=256)
    writer.write_sample(SAMPLE, sample_arrays(0))
    shutil.rmtree(root / f"{SAMPLE}.zarr")
    shutil.move(tmp_path / "other" / f"{SAMPLE}.zarr", root / f"{SAMPLE}.zarr")
    with pytest.raises(StoreUnreadable, match="was replaced by another group"):
        reader.read_sample(SAMPLE, fields=["surface_pressure", "surface_position"])
    with pytest.raises(MetadataDamaged, match="it is of another sample or revision"):
        reader.read_sample(SAMPLE, fields=["surface_pressure", "surface_position"])


@pytest.mark.parametrize("name", ["volume/velocity/c/0/0", "zarr.json"])
def test_what_was_damaged_is_read_again_once_it_is_restored(root: Path, store_root: Path, name: str) -> None:
    path = root / f"{SAMPLE}.zarr" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:10] + bytes([whole[10] ^ 1]) + whole[11:] if name != "zarr.json" else b"{")
    reader = ZarrChunkReader(root)
    with pytest.raises(DataDamaged):
        reader.read_sample(SAMPLE)
    restored = path.with_name("restored")
    restored.write_bytes(whole)
    restored.replace(path)
    expected = ZarrChunkReader(store_root).read_sample(SAMPLE)
    assert all(tensor.equal(expected[field]) for field, tensor in reader.read_sample(SAMPLE).items())


class TestMetadata:
    @pytest.fixture
    def change(self, root: Path) -> Callable[[str, Any], None]:
        def change(key: str, value: Any) -> None:
            def apply(document: dict[str, Any]) -> None:
                document["consolidated_metadata"]["metadata"]["surface/pressure"][key] = value

            rewrite(root / f"{SAMPLE}.zarr" / "zarr.json", apply)

        return change

    @pytest.mark.parametrize("separator", ["/../../../x/", "{:>1000000000}", "{x}", ""])
    def test_whose_keys_leave_the_group_or_format_themselves_is_damaged(
        self, root: Path, change: Callable[[str, Any], None], separator: str
    ) -> None:
        change("chunk_key_encoding", {"name": "v2", "configuration": {"separator": separator}})
        with pytest.raises(MetadataDamaged, match="separator"):
            ZarrChunkReader(root).read_sample(SAMPLE)

    @pytest.mark.parametrize("value", [10**400, [], None])
    def test_with_an_absurd_fill_value_is_damaged(
        self, root: Path, change: Callable[[str, Any], None], value: object
    ) -> None:
        change("fill_value", value)
        with pytest.raises(MetadataDamaged, match="surface/pressure"):
            ZarrChunkReader(root).read_sample(SAMPLE)

    def test_in_a_form_that_our_writer_does_not_write_is_damaged_in_a_store_of_ours(
        self, root: Path, change: Callable[[str, Any], None]
    ) -> None:
        change("storage_transformers", [{"name": "other"}])
        with pytest.raises(MetadataDamaged, match="our own writer does not write surface/pressure like this"):
            ZarrChunkReader(root).read_sample(SAMPLE)

    def test_that_nests_without_end_is_damaged(self, root: Path) -> None:
        (root / f"{SAMPLE}.zarr" / "zarr.json").write_text("[" * 200_000)
        with pytest.raises(MetadataDamaged, match=r"zarr\.json is damaged"):
            ZarrChunkReader(root).read_sample(SAMPLE)


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "deep": lambda path: path.write_text("[" * 200_000),
    "deep attributes": lambda path: path.write_text(path.read_text().replace("{}", "[" * 2000 + "]" * 2000, 1)),
    "a list": lambda path: path.write_text("[1]"),
    "odd attributes": lambda path: rewrite(path, lambda node: node.update(attributes={"drawpoint": 5})),
    "a number of attributes": lambda path: rewrite(path, lambda node: node.update(attributes=5)),
    "a shape that is not the manifest's": lambda path: rewrite(path, lambda node: node.update(shape=[2**62, 1])),
    "larger than any memory": lambda path: os.truncate(path, 2**42),
}


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_array_of_another_writer_whose_own_metadata_is_no_good_ends_neither_verify_nor_upgrade(
    tmp_path: Path, kind: str, consolidated: bool
) -> None:
    writer = small_writer(tmp_path)
    for sample_id in ("a", "b"):
        writer.write_sample(sample_id, small_arrays())
    writer.save_manifest()

    def forget_digests(manifest: dict[str, Any]) -> None:
        for entry in manifest["samples"].values():
            del entry["digest"]

    rewrite(tmp_path / "manifest.json", forget_digests)

    def strip(node: dict[str, Any]) -> None:
        node["attributes"] = {}
        for copy in ((node.get("consolidated_metadata") or {}).get("metadata") or {}).values():
            copy["attributes"] = {}
        if not consolidated:
            node.pop("consolidated_metadata", None)

    for path in tmp_path.rglob("zarr.json"):
        rewrite(path, strip)
    UNREADABLE[kind](tmp_path / "b.zarr/surface/pressure/zarr.json")
    whole, _ = verify_store(tmp_path)
    assert whole.problems == ()
    report = upgrade_store(tmp_path)
    assert sorted([*report.upgraded, *report.damaged]) == ["a", "b"]
    reader = ZarrChunkReader(tmp_path)
    reader.read_sample("a")
    if "b" in report.damaged:
        with pytest.raises(DataDamaged):
            reader.read_sample("b")
    else:
        reader.read_sample("b")


def test_a_zstd_chunk_that_stands_for_more_than_a_chunk_is_not_decoded() -> None:
    decode = parse_codec({"name": "zstd"})
    assert decode is not None
    for size in (1, 255, 256, 257, 65_791, 65_792, 100_000):
        packed = zstd.compress(bytes(size), 3)
        assert Decoder([decode], size).decode(packed) == bytes(size)
        with pytest.raises(UndecodableError, match=f"promises {size} bytes"):
            Decoder([decode], size - 1).decode(packed)
    for damaged in (b"", b"123456", zstd.compress(b"x" * 100, 3)[:5]):
        with pytest.raises(UndecodableError):
            Decoder([decode], 100).decode(damaged)


def test_integers_below_bounds_of_more_than_a_word_are_uniform_and_come_to_an_end() -> None:
    bound = 3 * 2**80
    drawn = [PhiloxStream("wide", seed).below(bound) for seed in range(3000)]
    assert min(drawn) >= 0
    assert max(drawn) < bound
    counts = np.bincount([value // 2**80 for value in drawn], minlength=3)
    assert ((counts - 1000) ** 2 / 1000).sum() < 20
    assert len(set(drawn)) == len(drawn)
