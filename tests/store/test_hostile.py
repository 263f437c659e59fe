"""Stores that are not what they say, by accident or on purpose: refused, or read right, and never without bound."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs import blosc, zstd

from conftest import FILEMAP, sample_arrays
from drawpoint.errors import DataDamaged, MetadataDamaged, StoreUnreadable
from drawpoint_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.maintenance.upgrade import upgrade_store
from drawpoint_store.reading.codecs import DECODES, Decoder, UndecodableError
from small import small_arrays, small_writer

SAMPLE = "param0/run"


@pytest.fixture
def root(store_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_root, tmp_path / "store"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


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


Change = Callable[[str, Any], None]


@pytest.fixture
def change_metadata(root: Path) -> Change:
    def change(key: str, value: Any) -> None:
        def apply(document: dict[str, Any]) -> None:
            document["consolidated_metadata"]["metadata"]["surface/pressure"][key] = value

        rewrite(root / f"{SAMPLE}.zarr" / "zarr.json", apply)

    return change


FILL_VALUES: list[Any] = [10**400, [], None]
SEPARATORS = ["/../../../x/", "{:>1000000000}", "{x}", ""]
ABSURD: list[tuple[str, Any, str]] = [
    *(("fill_value", value, "surface/pressure") for value in FILL_VALUES),
    *(("chunk_key_encoding", {"name": "v2", "configuration": {"separator": each}}, "separator") for each in SEPARATORS),
    ("storage_transformers", [{"name": "other"}], "our own writer does not write surface/pressure like this"),
]


@pytest.mark.parametrize(("key", "value", "reason"), ABSURD)
def test_absurd_metadata_of_an_array_is_damage(
    root: Path, change_metadata: Change, key: str, value: Any, reason: str
) -> None:
    change_metadata(key, value)
    with pytest.raises(MetadataDamaged, match=reason):
        ZarrChunkReader(root).read_sample(SAMPLE)


def test_metadata_that_nests_without_end_is_damage(root: Path) -> None:
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
    decode = DECODES["zstd"]
    for size in (1, 255, 256, 257, 65_791, 65_792, 100_000):
        packed = zstd.compress(bytes(size), 3)
        assert Decoder([decode], size).decode(packed) == bytes(size)
        with pytest.raises(UndecodableError, match=f"promises {size} bytes"):
            Decoder([decode], size - 1).decode(packed)
    for damaged in (b"", b"123456", zstd.compress(b"x" * 100, 3)[:5]):
        with pytest.raises(UndecodableError):
            Decoder([decode], 100).decode(damaged)


@pytest.mark.parametrize(
    ("name", "pack", "reason"),
    [
        ("gzip", gzip.compress, "its gzip stream does not end where it should"),
        ("zstd", zstd.compress, "its zstd frame promises 1048576 bytes, not up to"),
        ("blosc", lambda data: blosc.compress(data, b"zstd", 5), "its blosc header promises 1048576 bytes"),
    ],
)
@pytest.mark.parametrize("following", [[], ["crc32c"], ["zstd"], ["gzip", "gzip"]])
def test_what_stands_for_more_than_a_chunk_is_not_decoded_whatever_codec_follows(
    name: str, pack: Callable[[bytes], bytes], reason: str, following: list[str]
) -> None:
    with pytest.raises(UndecodableError, match=reason):
        Decoder([DECODES[each] for each in (name, *following)], 1000).decode(pack(bytes(2**20)))
