"""The direct read path against zarr-python, its oracle: bit for bit, on every chain our layout can be written in."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
import zarr.codecs as zc
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from drawpoint.draw.rows import row_indices
from drawpoint.errors import DataDamaged
from drawpoint_store import FileMap, ZarrChunkReader, build_domain_layouts
from drawpoint_store.reading.open_sample import OpenSample
from drawpoint_store.reading.plan import plan_sample
from foreign import write_foreign

N_POINTS, CHUNK = 1000, 64

COMPRESSORS: dict[str, Any] = {
    **{
        f"blosc-{cname}-{shuffle}": zc.BloscCodec(cname=cname, clevel=5, shuffle=shuffle)
        for cname in ("zstd", "lz4", "lz4hc", "blosclz", "zlib")
        for shuffle in ("shuffle", "bitshuffle", "noshuffle")
    },
    "zstd": zc.ZstdCodec(level=3),
    "zstd-checksum": zc.ZstdCodec(level=3, checksum=True),
    "gzip": zc.GzipCodec(level=5),
    "none": None,
}


def write(
    root: Path,
    compressors: list[Any],
    *,
    shard_chunks: int = 16,
    endian: str = "little",
    dtype: str = "float16",
    values: np.ndarray | None = None,
    **options: Any,
) -> None:
    """Write a store of one sample with one scalar field and positions, all through zarr-python."""
    rng = np.random.default_rng(1)
    arrays = {
        "surface_pressure": rng.standard_normal((N_POINTS, 1)) if values is None else values,
        "surface_position": rng.standard_normal((N_POINTS, 3)),
    }
    layouts = build_domain_layouts(FileMap(surface_position="x", surface_pressure="p"), values_dtype=dtype)
    options |= {"shard": CHUNK * shard_chunks, "compressors": compressors, "serializer": zc.BytesCodec(endian=endian)}
    write_foreign(root, {"s": arrays}, layouts, chunk=CHUNK, **options)


def assert_reads_like_zarr(root: Path, *, direct: bool = True) -> None:
    reader = ZarrChunkReader(root)
    group = zarr.open_group(root / "s.zarr", mode="r")
    for seed, count in enumerate((1, 63, 64, 65, 500, 999, None)):
        plan = plan_sample(reader.manifest, "s", {"surface": count}, seed=seed)
        rows = row_indices(plan.draws["surface"].rows, CHUNK)
        tensors = reader.read_sample("s", {"surface": count}, seed=seed)
        stored = {field: np.empty(array.shape, array.layout.dtype) for field, array in plan.arrays.items()}
        opened = ZarrChunkReader(root)
        opened.read_into(plan, stored)
        for field, array in plan.arrays.items():
            held: Any = group[array.layout.array_name]
            oracle = np.asarray(held.oindex[rows]).reshape(array.shape)
            assert stored[field].tobytes() == oracle.astype(stored[field].dtype).tobytes()
            assert tensors[field].numpy().tobytes() == oracle.astype(np.float32).tobytes()
            sample = opened._samples.get("s.zarr")  # noqa: SLF001  which way was taken shows nowhere else
            assert isinstance(sample, OpenSample)
            assert (sample.array(array) is not None) is direct


BLOSC = {"compressors": [zc.BloscCodec()]}
SPARSE = np.zeros((N_POINTS, 1), "float16")
SPARSE[200:300] = 1
FORMS: dict[str, dict[str, Any]] = {
    **{
        f"{name}{' and crc32c' if crc else ''}": {
            "compressors": [*([] if codec is None else [codec]), *([zc.Crc32cCodec()] if crc else [])]
        }
        for (name, codec), crc in itertools.product(COMPRESSORS.items(), (True, False))
    },
    "crc32c before compression": {"compressors": [zc.Crc32cCodec(), zc.ZstdCodec()]},
    "two compressors": {"compressors": [zc.BloscCodec(cname="lz4"), zc.GzipCodec(), zc.Crc32cCodec()]},
    **{
        f"shards of {shard_chunks} chunks, index at the {place}": {
            **BLOSC,
            "shard_chunks": shard_chunks,
            "index_location": place,
        }
        for shard_chunks, place in itertools.product((1, 3, 16, 20), ("start", "end"))
    },
    **{
        f"{endian} endian {dtype}": {**BLOSC, "dtype": dtype, "endian": endian}
        for dtype, endian in itertools.product(("float16", "float32", "float64"), ("little", "big"))
    },
    "metadata that is not consolidated": {**BLOSC, "consolidated": False},
    "chunks of the fill value left out": {**BLOSC, "values": SPARSE},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_our_layout_reads_like_zarr_python(tmp_path: Path, form: str) -> None:
    write(tmp_path, **FORMS[form])
    assert_reads_like_zarr(tmp_path)


def test_an_unknown_chain_is_left_to_zarr_python_with_the_same_result(tmp_path: Path) -> None:
    write(tmp_path, [zc.ZstdCodec()], filters=[zc.TransposeCodec(order=(1, 0))])
    assert_reads_like_zarr(tmp_path, direct=False)
    (tmp_path / "s.zarr/surface/pressure/c/0/0").unlink()
    assert_reads_like_zarr(tmp_path, direct=False)  # zeros: another writer may have left it out


def open_counting(path: str) -> CountingStore:
    return CountingStore(path, read_only=True)


class CountingStore(LocalStore):
    """Counts the bytes that are read through `get`."""

    read: int = 0
    gets: int = 0

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        found = await super().get(key, prototype, byte_range)
        if found is not None and "/c/" in key:
            type(self).read += len(found)
            type(self).gets += 1
        return found


def test_a_draw_reads_the_chunks_drawn_and_hardly_more(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root, store_factory=open_counting)
    counts = {"surface": 256, "volume": 1024}
    reader.read_sample("param0/run", counts, seed=0)
    for seed in range(1, 20):
        plan = plan_sample(reader.manifest, "param0/run", counts, seed=seed)
        needed = 0
        for array in plan.arrays.values():
            slots = array.draw.grid.shard_points // array.draw.grid.chunk_points
            shard = store_root / plan.relpath / array.layout.array_name / "c/0/0"
            index = np.frombuffer(shard.read_bytes()[-16 * slots - 4 : -4], "<u8").reshape(-1, 2)
            needed += int(sum(index[chunk, 1] for chunk in {rows.chunk for rows in array.draw.rows}))
        CountingStore.read = 0
        reader.read_sample("param0/run", counts, seed=seed)
        assert CountingStore.read == needed


def test_chunks_that_lie_side_by_side_are_one_read(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root, store_factory=open_counting)
    reader.read_sample("param0/run", fields=["volume_pressure"])
    CountingStore.gets = 0
    reader.read_sample("param0/run", fields=["volume_pressure"])
    assert CountingStore.gets == 1


def test_a_reader_goes_on_when_more_shards_are_in_use_than_files_may_be_open(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drawpoint_store.storage.local_storage._OPEN_FILES", 1)
    few = ZarrChunkReader(store_root, read_concurrency=4)
    monkeypatch.undo()
    many = ZarrChunkReader(store_root)
    for seed in range(3):
        for sample_id in many.manifest.samples:
            expected = many.read_sample(sample_id, {"surface": 300, "volume": 300}, seed=seed)
            found = few.read_sample(sample_id, {"surface": 300, "volume": 300}, seed=seed)
            assert all(found[field].equal(tensor) for field, tensor in expected.items())


def test_decoded_chunks_that_are_kept_change_nothing_and_are_not_read_again(store_root: Path) -> None:
    plain = ZarrChunkReader(store_root)
    for budget in (10**9, 20_000):  # everything fits, or hardly anything
        caching = ZarrChunkReader(store_root, store_factory=open_counting, chunk_cache_bytes=budget)
        for seed in (*range(10), 0):
            plan = plan_sample(plain.manifest, "param0/run", {"surface": 300, "volume": 700}, seed=seed)
            expected, found = (
                {field: np.zeros(array.shape, np.float32) for field, array in plan.arrays.items()} for _ in range(2)
            )
            plain.read_into(plan, expected)
            CountingStore.gets = 0
            caching.read_into(plan, found)
            assert all(np.array_equal(found[field], expected[field]) for field in expected)
        assert (CountingStore.gets == 0) is (budget == 10**9)


def test_damage_of_one_sample_costs_no_other_its_decoded_chunks(store_root: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(store_root, tmp_path / "store"))
    store = ZarrChunkReader(root, store_factory=open_counting, chunk_cache_bytes=10**9)
    plans = [plan_sample(store.manifest, sample_id, {}, seed=0) for sample_id in store.manifest.samples]
    out = {field: np.zeros(array.shape, np.float32) for field, array in plans[0].arrays.items()}
    store.read_into(plans[1], out)
    shard = next((root / plans[0].relpath).rglob("c/0/0"))
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DataDamaged):
        store.read_into(plans[0], out)
    CountingStore.gets = 0
    store.read_into(plans[1], out)
    assert CountingStore.gets == 0
