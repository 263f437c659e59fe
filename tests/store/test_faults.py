"""Damage of every kind, at random places: a named error or the right values, never anything else."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drawpoint.errors import ChunkDamaged, ChunkMissing, DataDamaged, MetadataDamaged
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.plan import plan_sample

SAMPLE = "param0/run"
Damage = Callable[[bytearray, random.Random], bytes]


def read_all(root: Path) -> dict[str, bytes]:
    store = ZarrChunkReader(root)
    plan = plan_sample(store.manifest, SAMPLE, None, seed=0)
    arrays = {field: np.empty(array.shape, array.layout.dtype) for field, array in plan.arrays.items()}
    store.read_into(plan, arrays)
    return {field: array.tobytes() for field, array in arrays.items()}


@pytest.fixture
def damaged_root(store_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_root, tmp_path / "store"))


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
def test_damaged_bytes_are_an_error_or_make_no_difference(damaged_root: Path, damage: Damage, store_root: Path) -> None:
    expected = read_all(store_root)
    chance = random.Random(5)
    group = damaged_root / f"{SAMPLE}.zarr"
    files = [*sorted(group.rglob("c/*/0")), group / "zarr.json"]
    named: list[str | None] = []
    for _ in range(120):
        path = chance.choice(files)
        whole = path.read_bytes()
        path.write_bytes(damage(bytearray(whole), chance))
        try:
            assert read_all(damaged_root) == expected
        except DataDamaged as error:
            named.append(error.sample)
        finally:
            path.write_bytes(whole)
    assert len(named) > 100
    assert set(named) == {SAMPLE}
    assert read_all(damaged_root) == expected


def test_a_flipped_bit_in_a_chunk_names_sample_field_and_chunk(damaged_root: Path) -> None:
    shard = damaged_root / f"{SAMPLE}.zarr/surface/pressure/c/0/0"
    data = bytearray(shard.read_bytes())
    data[10] ^= 1
    shard.write_bytes(data)
    with pytest.raises(
        ChunkDamaged, match=r"chunk 0 of surface_pressure in sample 'param0/run' is damaged.*crc32c"
    ) as caught:
        ZarrChunkReader(damaged_root).read_sample(SAMPLE)
    assert (caught.value.sample, caught.value.field, caught.value.chunk) == (SAMPLE, "surface_pressure", 0)


@pytest.mark.parametrize("read_concurrency", [1, 4])
def test_a_deleted_shard_is_missing_and_not_zero(damaged_root: Path, read_concurrency: int) -> None:
    (damaged_root / f"{SAMPLE}.zarr/volume/velocity/c/0/0").unlink()
    reader = ZarrChunkReader(damaged_root, read_concurrency=read_concurrency)
    with pytest.raises(ChunkMissing, match=r"volume_velocity in sample 'param0/run' is missing"):
        reader.read_sample(SAMPLE, {"volume": 10}, seed=0)
    assert reader.read_sample(SAMPLE, {"volume": 10}, seed=0, fields=["volume_pressure"])


def test_a_chunk_that_the_index_of_our_own_shard_leaves_out_is_missing(damaged_root: Path) -> None:
    import crc32c  # noqa: PLC0415  only here a shard is forged

    shard = damaged_root / f"{SAMPLE}.zarr/surface/pressure/c/0/0"
    data = bytearray(shard.read_bytes())
    index = data[-16 * 6 - 4 : -4]
    index[32:48] = b"\xff" * 16
    shard.write_bytes(data[: -16 * 6 - 4] + index + crc32c.crc32c(index).to_bytes(4, "little"))
    with pytest.raises(ChunkMissing, match="chunk 2 of surface_pressure"):
        ZarrChunkReader(damaged_root).read_sample(SAMPLE)


def test_a_deleted_group_is_damage_and_not_an_unknown_sample(damaged_root: Path) -> None:
    shutil.rmtree(damaged_root / f"{SAMPLE}.zarr")
    with pytest.raises(MetadataDamaged, match=r"zarr\.json is missing"):
        ZarrChunkReader(damaged_root).read_sample(SAMPLE)


def test_a_manifest_that_disagrees_with_the_arrays_is_damage(damaged_root: Path) -> None:
    manifest = damaged_root / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"n_points": 1500', '"n_points": 1499'))
    with pytest.raises(MetadataDamaged, match="the manifest says"):
        ZarrChunkReader(damaged_root).read_sample(SAMPLE)


def test_an_index_that_points_outside_its_object_is_damage(damaged_root: Path) -> None:
    import crc32c  # noqa: PLC0415  only here a shard is forged

    shard = damaged_root / f"{SAMPLE}.zarr/surface/pressure/c/0/0"
    data = bytearray(shard.read_bytes())
    index = np.frombuffer(data[-16 * 6 - 4 : -4], "<u8").copy()
    for offset, nbytes, kind in (
        (2**40, 100, ChunkDamaged),
        (2**63, 100, MetadataDamaged),
        (0, 2**50, MetadataDamaged),
    ):
        index[:2] = offset, nbytes
        shard.write_bytes(data[: -16 * 6 - 4] + index.tobytes() + crc32c.crc32c(index.tobytes()).to_bytes(4, "little"))
        with pytest.raises(kind, match=r"surface_pressure|surface/pressure"):
            ZarrChunkReader(damaged_root).read_sample(SAMPLE)


def test_a_flipped_bit_in_the_metadata_is_an_error_or_makes_no_difference(damaged_root: Path, store_root: Path) -> None:
    expected = read_all(store_root)
    chance = random.Random(7)
    metadata = damaged_root / f"{SAMPLE}.zarr/zarr.json"
    whole = metadata.read_bytes()
    for _ in range(300):
        metadata.write_bytes(flip_bit(bytearray(whole), chance))
        with contextlib.suppress(DataDamaged):
            assert read_all(damaged_root) == expected
