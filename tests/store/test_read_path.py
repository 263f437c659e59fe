"""The direct read path against zarr-python, its oracle: bit for bit, on every chain our layout can be written in."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr.codecs as zc
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from attacks import write_store
from drawpoint.errors import DataDamaged
from drawpoint.format.payload import TensorSpec, allocate
from drawpoint_store import FileMap, ZarrChunkReader, build_domain_layouts
from drawpoint_store.reading.memory_cache import ByteBoundedCache
from drawpoint_store.reading.open_sample import OpenSample
from drawpoint_store.reading.plan import plan_sample
from foreign import read_planned, write_foreign
from small import same

SAMPLE = "param0/run"
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
}


def write(
    root: Path,
    compressors: list[Any],
    *,
    shard_chunks: int = 16,
    endian: str = "little",
    dtype: str = "float16",
    dim: int = 1,
    values: np.ndarray | None = None,
    **options: Any,
) -> None:
    """Write a store of one sample with one scalar field and positions, all through zarr-python."""
    rng = np.random.default_rng(1)
    arrays = {
        "surface_pressure": rng.standard_normal((N_POINTS, dim)) if values is None else values,
        "surface_position": rng.standard_normal((N_POINTS, 3)),
    }
    layouts = build_domain_layouts(FileMap(surface_position="x", surface_pressure="p"), values_dtype=dtype)
    layouts["surface"].arrays["surface_pressure"].dim = dim
    options |= {"shard": CHUNK * shard_chunks, "compressors": compressors, "serializer": zc.BytesCodec(endian=endian)}
    write_foreign(root, {"s": arrays}, layouts, chunk=CHUNK, **options)


def assert_reads_like_zarr(root: Path, *, direct: bool = True) -> None:
    reader = ZarrChunkReader(root)
    for seed, count in enumerate((1, 63, 64, 65, 500, 999, None)):
        plan = plan_sample(reader.manifest, "s", {"surface": count}, seed=seed)
        tensors = reader.read_sample("s", {"surface": count}, seed=seed)
        stored = {field: np.empty(array.shape, array.layout.dtype) for field, array in plan.arrays.items()}
        opened = ZarrChunkReader(root)
        opened.read_into(plan, stored)
        for field, oracle in read_planned(root, plan).items():
            assert stored[field].tobytes() == oracle.astype(stored[field].dtype).tobytes()
            assert tensors[field].numpy().tobytes() == oracle.astype(np.float32).tobytes()
        sample = opened._samples.get("s.zarr")  # noqa: SLF001  which way was taken shows nowhere else
        assert isinstance(sample, OpenSample)
        assert all((sample.array(array) is not None) is direct for array in plan.arrays.values())


BLOSC: dict[str, Any] = {"compressors": [zc.BloscCodec()]}
PLAIN: dict[str, Any] = {"compressors": [zc.Crc32cCodec()]}
SPARSE = np.zeros((N_POINTS, 1), "float16")
SPARSE[200:300] = 1
FORMS: dict[str, dict[str, Any]] = {
    **{
        f"{name}{' and crc32c' if crc else ''}": {"compressors": [codec, *([zc.Crc32cCodec()] if crc else [])]}
        for (name, codec), crc in zip(COMPRESSORS.items(), itertools.cycle((True, False)))
    },
    "no compressor": {"compressors": None},
    "crc32c alone": {"compressors": [zc.Crc32cCodec()]},
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
        f"{endian} endian {dtype} of {dim}": {**form, "dtype": dtype, "dim": dim, "endian": endian}
        for dtype, (dim, form), endian in itertools.product(
            ("float16", "float32", "float64"), ((1, BLOSC), (2, PLAIN)), ("little", "big")
        )
    },
    "stored as it is in shards of 3 chunks": {**PLAIN, "shard_chunks": 3},
    "stored as it is with two checksums": {"compressors": [zc.Crc32cCodec(), zc.Crc32cCodec()]},
    "metadata that is not consolidated": {**BLOSC, "consolidated": False},
    "chunks of the fill value left out": {**BLOSC, "values": SPARSE},
    "chunks of the fill value left out of those stored as they are": {**PLAIN, "values": SPARSE},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_our_layout_reads_like_zarr_python(tmp_path: Path, form: str) -> None:
    write(tmp_path, **FORMS[form])
    assert_reads_like_zarr(tmp_path)


def strided(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    return np.zeros((2 * shape[0], *shape[1:]), dtype)[::2]


def in_a_payload(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    specs = [TensorSpec("a", "float16", (3,)), TensorSpec("field", dtype, shape)]
    return allocate(specs, {}).tensors["field"]


PLACES: dict[str, Callable[[tuple[int, ...], str], np.ndarray[Any, Any]]] = {
    "rows of their own": np.zeros,
    "every other row": strided,
    "columns one after the other": partial(np.zeros, order="F"),
    "a payload": in_a_payload,
    "big endian": lambda shape, dtype: np.zeros(shape, np.dtype(dtype).newbyteorder(">")),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("form", [PLAIN, BLOSC], ids=["as they are", "compressed"])
def test_rows_are_read_into_arrays_of_any_layout_and_dtype(tmp_path: Path, form: dict[str, Any], dtype: str) -> None:
    write(tmp_path, dtype=dtype, dim=2, **form)
    reader = ZarrChunkReader(tmp_path)
    for count, part in (
        (1, None),
        (64, None),
        (200, 3),
        (200, 4),
        (999, None),
        (None, None),
    ):  # part 4 is the short one
        plan = plan_sample(reader.manifest, "s", {"surface": count}, seed=1, part=part)
        expected = read_planned(tmp_path, plan)
        for (place, make), asked in itertools.product(PLACES.items(), ("float32", dtype)):
            out = {field: make(array.shape, asked) for field, array in plan.arrays.items()}
            reader.read_into(plan, out)
            for field, values in expected.items():
                assert out[field].astype(asked).tobytes() == values.astype(asked).tobytes(), (place, count)


def test_an_unknown_chain_is_left_to_zarr_python_with_the_same_result(tmp_path: Path) -> None:
    write(tmp_path, [zc.ZstdCodec()], filters=[zc.TransposeCodec(order=(1, 0))])
    assert_reads_like_zarr(tmp_path, direct=False)
    (tmp_path / "s.zarr/surface/pressure/c/0/0").unlink()
    assert_reads_like_zarr(tmp_path, direct=False)  # zeros: another writer may have left it out


GETS: list[tuple[str, int]] = []


class CountingStore(LocalStore):
    """Notes the key of each object that is read, and how many bytes of it."""

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        found = await super().get(key, prototype, byte_range)
        GETS.append((key, 0 if found is None else len(found)))
        return found


@pytest.fixture
def counting_reader(store_root: Path) -> Callable[..., ZarrChunkReader]:
    """Return what opens a reader of the shared store whose reads are noted in GETS."""
    GETS.clear()
    return partial(ZarrChunkReader, store_root, store_factory=lambda path: CountingStore(path, read_only=True))


DRAWS: list[dict[str, Any]] = [
    {},
    {"num_points": {"volume": 2000}, "part": 2},
    {"fields": ["volume_sdf"]},
]


@pytest.mark.parametrize("concurrency", [1, 8])
def test_every_byte_comes_through_the_store_that_was_given(
    store_root: Path, counting_reader: Callable[..., ZarrChunkReader], concurrency: int
) -> None:
    reader, plain = counting_reader(read_concurrency=concurrency), ZarrChunkReader(store_root)
    for draw in DRAWS:
        GETS.clear()
        read, expected = (each.read_sample(SAMPLE, seed=1, **draw) for each in (reader, plain))
        assert same(read, expected)
        assert {key.rsplit("/c/", 1)[0] for key, _ in GETS} - {"zarr.json"} == {
            reader.manifest.fields[field].array_name for field in expected
        }


def test_the_first_read_of_a_sample_gets_one_zarr_json_and_the_indexes(
    counting_reader: Callable[..., ZarrChunkReader],
) -> None:
    reader = counting_reader()
    reader.read_sample(SAMPLE, {"volume": 256}, fields=["volume_velocity"], seed=1)
    shard = "volume/velocity/c/0/0"
    assert [key for key, _ in GETS[:2]] == ["zarr.json", shard]  # metadata, then the index, then chunks
    assert {key for key, _ in GETS[2:]} == {shard}
    GETS.clear()
    reader.read_coords(SAMPLE, "surface", 10)
    assert {key for key, _ in GETS} == {"surface/position/c/0/0"}
    reader.read_sample("param1/run", {"surface": 10})
    assert Counter(key for key, _ in GETS)["zarr.json"] == 1


def test_a_draw_reads_the_chunks_drawn_and_those_that_lie_side_by_side_at_once(
    store_root: Path, counting_reader: Callable[..., ZarrChunkReader]
) -> None:
    reader = counting_reader()
    counts = {"surface": 256, "volume": 1024}
    reader.read_sample(SAMPLE, counts, seed=0)
    for seed in range(1, 20):
        plan = plan_sample(reader.manifest, SAMPLE, counts, seed=seed)
        needed = 0
        for array in plan.arrays.values():
            slots = array.draw.grid.shard_points // array.draw.grid.chunk_points
            shard = store_root / plan.relpath / array.layout.array_name / "c/0/0"
            index = np.frombuffer(shard.read_bytes()[-16 * slots - 4 : -4], "<u8").reshape(-1, 2)
            needed += int(sum(index[chunk, 1] for chunk in {rows.chunk for rows in array.draw.rows}))
        GETS.clear()
        reader.read_sample(SAMPLE, counts, seed=seed)
        assert sum(nbytes for _, nbytes in GETS) == needed
    GETS.clear()
    reader.read_sample(SAMPLE, fields=["volume_pressure"])
    assert len(GETS) == 1


def test_decoded_chunks_that_are_kept_change_nothing_and_are_not_read_again(
    store_root: Path, counting_reader: Callable[..., ZarrChunkReader]
) -> None:
    plain = ZarrChunkReader(store_root)
    for budget in (10**9, 20_000):  # everything fits, or hardly anything
        caching = counting_reader(chunk_cache_bytes=budget)
        for seed in (*range(10), 0):
            GETS.clear()
            found, expected = (
                each.read_sample(SAMPLE, {"surface": 300, "volume": 700}, seed=seed) for each in (caching, plain)
            )
            assert same(found, expected)
        assert (GETS == []) is (budget == 10**9)


def test_damage_of_one_sample_costs_no_other_its_decoded_chunks(copied_root: Path) -> None:
    store = ZarrChunkReader(copied_root, store_factory=CountingStore, chunk_cache_bytes=10**9)
    store.read_sample("param1/run")
    shard = next((copied_root / f"{SAMPLE}.zarr").rglob("c/0/0"))
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DataDamaged):
        store.read_sample(SAMPLE)
    GETS.clear()
    store.read_sample("param1/run")
    assert GETS == []


LEVELS = (0, 3)


@pytest.mark.parametrize("level", LEVELS)
def test_a_decoded_chunk_that_is_kept_holds_no_more_than_itself_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(ByteBoundedCache, "put", lambda _, __, value, ___: kept.append(value))
    store = ZarrChunkReader(str(write_store(tmp_path, level)), chunk_cache_bytes=2**26)
    store.read_sample(SAMPLE, fields=["volume_velocity"])
    chunks = [each for each in kept if isinstance(each, np.ndarray)]
    assert len(chunks) == store.manifest.samples[SAMPLE].domains["volume"].n_chunks
    for chunk in chunks:
        owner: Any = chunk
        while isinstance(owner, np.ndarray) and owner.base is not None:
            owner = owner.base
        assert memoryview(owner).nbytes == chunk.nbytes
