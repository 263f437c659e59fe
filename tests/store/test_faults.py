"""Stores that are not what they say, by accident or on purpose: a named error or the right values, within bounds."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crc32c import crc32c
from numcodecs import blosc, zstd

from conftest import FILEMAP, sample_arrays
from drawpoint.errors import ChunkDamaged, ChunkMissing, DataDamaged, MetadataDamaged, StoreUnreadable
from drawpoint_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter, build_domain_layouts
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.maintenance.upgrade import upgrade_store
from drawpoint_store.reading.codecs import DECODES, Decoder, UndecodableError
from foreign import write_foreign
from small import SMALL, same, small_arrays, small_writer

SAMPLE = "param0/run"
Damage = Callable[[bytearray, random.Random], bytes]


def read_all(root: Path) -> dict[str, torch.Tensor]:
    return ZarrChunkReader(root).read_sample(SAMPLE)


def flip_bit(data: bytearray, chance: random.Random) -> bytes:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def truncate(data: bytearray, chance: random.Random) -> bytes:
    return bytes(data[: chance.randrange(len(data))])


def zero_a_stretch(data: bytearray, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    data[start : start + 64] = bytes(len(data[start : start + 64]))
    return bytes(data)


def swap_halves(data: bytearray, _: random.Random) -> bytes:
    return bytes(data[len(data) // 2 :] + data[: len(data) // 2])


@pytest.mark.parametrize("damage", [flip_bit, truncate, zero_a_stretch, swap_halves])
def test_damaged_bytes_are_an_error_or_make_no_difference(copied_root: Path, damage: Damage, store_root: Path) -> None:
    expected = read_all(store_root)
    chance = random.Random(5)
    group = copied_root / f"{SAMPLE}.zarr"
    for files, least in ((sorted(group.rglob("c/*/0")), 60), ([group / "zarr.json"], 20)):
        named: list[str | None] = []
        for _ in range(60):
            path = chance.choice(files)
            whole = path.read_bytes()
            path.write_bytes(damage(bytearray(whole), chance))
            try:
                assert same(read_all(copied_root), expected)
            except DataDamaged as error:
                named.append(error.sample)
            finally:
                path.write_bytes(whole)
        assert len(named) >= least
        assert set(named) == {SAMPLE}
    assert same(read_all(copied_root), expected)


def test_a_flipped_bit_names_sample_field_and_chunk(copied_root: Path) -> None:
    shard = copied_root / f"{SAMPLE}.zarr/surface/pressure/c/0/0"
    data = bytearray(shard.read_bytes())
    data[10] ^= 1
    shard.write_bytes(data)
    reason = r"chunk 0 of surface_pressure in sample 'param0/run' is damaged.*crc32c"
    with pytest.raises(ChunkDamaged, match=reason) as caught:
        read_all(copied_root)
    assert (caught.value.sample, caught.value.field, caught.value.chunk) == (SAMPLE, "surface_pressure", 0)


@pytest.mark.parametrize("read_concurrency", [1, 4])
def test_a_deleted_shard_is_missing_and_not_zero(copied_root: Path, read_concurrency: int) -> None:
    (copied_root / f"{SAMPLE}.zarr/volume/velocity/c/0/0").unlink()
    reader = ZarrChunkReader(copied_root, read_concurrency=read_concurrency)
    with pytest.raises(ChunkMissing, match=r"volume_velocity in sample 'param0/run' is missing"):
        reader.read_sample(SAMPLE, {"volume": 10}, seed=0)
    assert reader.read_sample(SAMPLE, {"volume": 10}, seed=0, fields=["volume_pressure"])


def test_a_shard_that_vanishes_while_the_store_is_open_is_named_with_a_chunk_that_was_drawn(tmp_path: Path) -> None:
    writer = small_writer(tmp_path, shard_points=4, compression_level=0)
    writer.write_sample("a", small_arrays(count=40))
    writer.save_manifest()
    reader = ZarrChunkReader(tmp_path)
    plans = (reader.plan_sample("a", {"surface": 20}, fields=["surface_pressure"], seed=seed) for seed in range(99))
    drawn = [[rows.chunk for rows in plan.draws["surface"].rows] for plan in plans]
    seed = next(seed for seed, chunks in enumerate(drawn) if chunks[0] > chunks[1])
    reader.read_sample("a")
    reader.storage.source("a.zarr").close()  # as many other open files do
    (tmp_path / f"a.zarr/surface/pressure/c/{drawn[seed][1]}/0").unlink()
    with pytest.raises(ChunkMissing) as caught:
        reader.read_sample("a", {"surface": 20}, fields=["surface_pressure"], seed=seed)
    assert caught.value.chunk == drawn[seed][1]


INDEX_BYTES = 16 * 6
INDEXES: dict[str, tuple[int, tuple[int, int], type[DataDamaged], str]] = {
    "left out": (2, (2**64 - 1, 2**64 - 1), ChunkMissing, "chunk 2 of surface_pressure"),
    "outside of the shard": (0, (2**40, 100), ChunkDamaged, "surface_pressure"),
    "outside of any file": (0, (2**63, 100), MetadataDamaged, "surface/pressure"),
    "ending outside of any file": (0, (2**63 - 10, 100), MetadataDamaged, "surface/pressure"),
    "larger than any chunk": (0, (0, 2**50), MetadataDamaged, "surface/pressure"),
}


@pytest.mark.parametrize("what", INDEXES)
def test_a_chunk_that_the_index_of_our_own_shard_puts_nowhere_is_damage(copied_root: Path, what: str) -> None:
    slot, entry, kind, reason = INDEXES[what]
    shard = copied_root / f"{SAMPLE}.zarr/surface/pressure/c/0/0"
    data = shard.read_bytes()
    index = np.frombuffer(data[-INDEX_BYTES - 4 : -4], "<u8").reshape(-1, 2).copy()
    index[slot] = entry
    shard.write_bytes(data[: -INDEX_BYTES - 4] + index.tobytes() + crc32c(index.tobytes()).to_bytes(4, "little"))
    with pytest.raises(kind, match=reason):
        read_all(copied_root)


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_a_group_of_an_earlier_revision_is_never_written_again(tmp_path: Path) -> None:
    def publish(seed: int, *ids: str) -> None:
        writer = small_writer(tmp_path)
        for sample_id in ids:
            writer.write_sample(sample_id, small_arrays(seed=seed))
        writer.save_manifest()

    publish(0, "a", "b")
    old = ZarrChunkReader(tmp_path)
    before = old.read_sample("a")
    publish(1, "b")  # without a
    publish(2, "a", "b")  # a comes back, with other values
    new = StoreManifest.load(tmp_path)
    assert new.samples["a"].relpath != old.manifest.samples["a"].relpath
    assert len({*new.retired, *(entry.relpath for entry in new.samples.values())}) == 5
    assert same(ZarrChunkReader(tmp_path, manifest=old.manifest).read_sample("a"), before)


def test_files_of_a_replaced_group_are_not_read_with_what_is_known_of_the_new_one(tmp_path: Path) -> None:
    for name, seed in (("store", 0), ("other", 1)):
        layouts = build_domain_layouts(SMALL)
        write_foreign(tmp_path / name, {"a": small_arrays(seed=seed)}, layouts, chunk=4, shard=8, compressors=None)
    reader = ZarrChunkReader(tmp_path / "store")
    reader.read_sample("a", fields=["surface_position"])
    reader._samples.drop("a.zarr")  # noqa: SLF001  as many other samples do
    shutil.rmtree(tmp_path / "store/a.zarr")
    shutil.copytree(tmp_path / "other/a.zarr", tmp_path / "store/a.zarr")
    assert same(reader.read_sample("a"), ZarrChunkReader(tmp_path / "other").read_sample("a"))


def test_rows_of_a_group_that_was_put_in_the_place_of_an_open_one_are_not_mixed_with_its_own(
    copied_root: Path, tmp_path: Path
) -> None:
    reader = ZarrChunkReader(copied_root)
    reader.read_sample(SAMPLE, fields=["surface_pressure"])
    writer = ZarrStoreWriter(tmp_path / "other", FILEMAP, "made", shuffle_seed=8, chunk_points=256)
    writer.write_sample(SAMPLE, sample_arrays(0))
    shutil.rmtree(copied_root / f"{SAMPLE}.zarr")
    shutil.move(tmp_path / "other" / f"{SAMPLE}.zarr", copied_root / f"{SAMPLE}.zarr")
    with pytest.raises(StoreUnreadable, match="was replaced by another group"):
        reader.read_sample(SAMPLE, fields=["surface_pressure", "surface_position"])
    with pytest.raises(MetadataDamaged, match="it is of another sample or revision"):
        reader.read_sample(SAMPLE, fields=["surface_pressure", "surface_position"])


@pytest.mark.parametrize("name", ["volume/velocity/c/0/0", "zarr.json"])
def test_what_was_damaged_is_read_again_once_it_is_restored(copied_root: Path, store_root: Path, name: str) -> None:
    path = copied_root / f"{SAMPLE}.zarr" / name
    whole = path.read_bytes()
    path.write_bytes(bytes(20) + whole[20:])
    reader = ZarrChunkReader(copied_root)
    with pytest.raises(DataDamaged):
        reader.read_sample(SAMPLE)
    restored = path.with_name("restored")
    restored.write_bytes(whole)
    restored.replace(path)
    assert same(reader.read_sample(SAMPLE), read_all(store_root))


ABSURD: list[tuple[str, Any, str]] = [
    ("fill_value", 10**400, "surface/pressure"),
    ("fill_value", [], "surface/pressure"),
    ("fill_value", None, "surface/pressure"),
    *(
        ("chunk_key_encoding", {"name": "v2", "configuration": {"separator": each}}, "separator")
        for each in ("/../../../x/", "{:>1000000000}", "")
    ),
    ("storage_transformers", [{"name": "other"}], "our own writer does not write surface/pressure like this"),
]


@pytest.mark.parametrize(("key", "value", "reason"), ABSURD)
def test_absurd_metadata_of_an_array_is_damage(copied_root: Path, key: str, value: Any, reason: str) -> None:
    rewrite(
        copied_root / f"{SAMPLE}.zarr" / "zarr.json",
        lambda group: group["consolidated_metadata"]["metadata"]["surface/pressure"].update({key: value}),
    )
    with pytest.raises(MetadataDamaged, match=reason):
        read_all(copied_root)


@pytest.mark.parametrize("key", ["codecs", "index_codecs"])
def test_metadata_that_chains_codecs_without_end_is_damage(copied_root: Path, key: str) -> None:
    def chain(group: dict[str, Any]) -> None:
        sharding = group["consolidated_metadata"]["metadata"]["surface/pressure"]["codecs"][0]
        bytes_codec = {"name": "bytes", "configuration": {"endian": "little"}}
        sharding["configuration"][key] = [bytes_codec, *[{"name": "crc32c"}] * 10_000]

    rewrite(copied_root / f"{SAMPLE}.zarr" / "zarr.json", chain)
    with pytest.raises(MetadataDamaged, match="10001 codecs, and 8 are the most"):
        read_all(copied_root)


def test_metadata_that_nests_without_end_is_damage(copied_root: Path) -> None:
    (copied_root / f"{SAMPLE}.zarr" / "zarr.json").write_text("[" * 200_000)
    with pytest.raises(MetadataDamaged, match=r"zarr\.json is damaged"):
        read_all(copied_root)


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "deep attributes": lambda path: path.write_text(path.read_text().replace('"m"', "[" * 2000 + "]" * 2000, 1)),
    "a list": lambda path: path.write_text("[1]"),
    "odd attributes": lambda path: rewrite(path, lambda node: node.update(attributes={"drawpoint": 5})),
    "a shape that is not the manifest's": lambda path: rewrite(path, lambda node: node.update(shape=[2**62, 1])),
    "larger than any memory": lambda path: os.truncate(path, 2**42),
}


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_array_of_another_writer_whose_own_metadata_is_no_good_ends_neither_verify_nor_upgrade(
    tmp_path: Path, kind: str, consolidated: bool
) -> None:
    samples = dict.fromkeys(("a", "b"), small_arrays())
    write_foreign(tmp_path, samples, build_domain_layouts(SMALL), chunk=4, consolidated=consolidated)
    UNREADABLE[kind](tmp_path / "b.zarr/surface/pressure/zarr.json")
    whole, _ = verify_store(tmp_path)
    assert whole.problems == ()
    report = upgrade_store(tmp_path)
    assert sorted([*report.upgraded, *report.damaged]) == ["a", "b"]
    reader = ZarrChunkReader(tmp_path)
    reader.read_sample("a")
    with pytest.raises(DataDamaged) if "b" in report.damaged else contextlib.nullcontext():
        reader.read_sample("b")


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


def test_a_zstd_chunk_is_bounded_to_the_byte() -> None:
    for size in (1, 255, 256, 257, 65_791, 65_792, 100_000):
        packed = zstd.compress(bytes(size), 3)
        assert Decoder([DECODES["zstd"]], size).decode(packed) == bytes(size)
        with pytest.raises(UndecodableError, match=f"promises {size} bytes"):
            Decoder([DECODES["zstd"]], size - 1).decode(packed)
    for damaged in (b"", b"123456", zstd.compress(b"x" * 100, 3)[:5]):
        with pytest.raises(UndecodableError):
            Decoder([DECODES["zstd"]], 100).decode(damaged)
