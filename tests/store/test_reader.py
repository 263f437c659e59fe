"""Reading: zarr-python as the oracle, rows that belong together, few bytes, and readers that travel."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from children import draw_lists
from conftest import FILEMAP, sample_arrays
from drawpoint.draw.rows import row_indices
from drawpoint.errors import InvalidDraw, SampleNotFound, SplitNotFound, StoreNotFound, UnknownDomain
from drawpoint_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.reading import chunks
from drawpoint_store.reading.plan import ReadPlan, plan_coords, plan_sample
from drawpoint_store.reading.plan_reader import open_read_only

SID = "param0/run"
DRAWS: dict[str, dict[str, Any]] = {
    "all": {},
    "some": {"num_points": {"surface": 100, "volume": 2000}, "seed": 3},
    "one point": {"num_points": {"surface": 1, "volume": 1}, "seed": 4},
    "whole chunks": {"num_points": {"surface": 256, "volume": 1024}, "seed": 5},
    "all but one": {"num_points": {"surface": 1499, "volume": 9999}, "seed": 6},
    "one domain in full": {"num_points": {"surface": 300}, "seed": 7},
    "more than there is": {"num_points": {"surface": 10**9, "volume": 10**9}, "seed": 8},
    "two fields": {"num_points": {"volume": 700}, "seed": 9, "fields": ["volume_sdf", "surface_area"]},
    "a part": {"num_points": {"surface": 100, "volume": 2000}, "seed": 3, "part": 2},
    "the last part": {"num_points": {"surface": 400, "volume": 700}, "seed": 3, "part": 14},
}


def oracle(root: Path, plan: ReadPlan) -> dict[str, np.ndarray[Any, Any]]:
    """Read the planned rows through plain zarr-python."""
    group = zarr.open_group(root / plan.relpath, mode="r")
    values = {}
    for field, array in plan.arrays.items():
        stored: Any = group[array.layout.array_name]
        rows = stored.oindex[row_indices(array.draw.rows, array.draw.grid.chunk_points)]
        values[field] = rows.reshape(array.shape).astype(np.float32)
    return values


def assert_equal(read: dict[str, torch.Tensor], expected: dict[str, np.ndarray[Any, Any]]) -> None:
    assert list(read) == list(expected)
    for field, values in expected.items():
        assert read[field].dtype == torch.float32
        assert tuple(read[field].shape) == values.shape
        assert read[field].is_contiguous()
        assert read[field].numpy().tobytes() == values.tobytes()


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("concurrency", [1, 8, 2**62])
def test_what_is_read_is_what_zarr_python_reads(store_root: Path, draw: str, concurrency: int) -> None:
    reader = ZarrChunkReader(store_root, read_concurrency=concurrency)
    arguments = DRAWS[draw]
    plan = plan_sample(
        reader.manifest,
        SID,
        arguments.get("num_points"),
        seed=arguments.get("seed", 0),
        part=arguments.get("part"),
        fields=arguments.get("fields"),
    )
    expected = oracle(store_root, plan)
    for _ in range(2):  # the second time with whatever the first one keeps in memory
        assert_equal(reader.read_sample(SID, **arguments), expected)


@pytest.mark.parametrize("count", [None, 1, 100, 1499, 10**6])
def test_coordinates_are_what_zarr_python_reads(store_root: Path, count: int | None) -> None:
    reader = ZarrChunkReader(store_root)
    plan = plan_coords(reader.manifest, SID, {"surface": count}, seed=3)
    read = reader.read_coords(SID, "surface", count, seed=3)
    assert_equal({"surface_position": read}, oracle(store_root, plan))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 1600), st.integers(1, 11_000), st.integers(0, 2**63 - 1), st.none() | st.integers(0, 2**63 - 1))
def test_any_draw_is_what_zarr_python_reads(
    store_root: Path, surface: int, volume: int, seed: int, part: int | None
) -> None:
    reader = ZarrChunkReader(store_root)
    counts, fields = {"surface": surface, "volume": volume}, ["surface_area", "volume_velocity"]
    plan = plan_sample(reader.manifest, SID, counts, seed=seed, part=part, fields=fields)
    read = reader.read_sample(SID, counts, fields=fields, seed=seed, part=part)
    assert_equal(read, oracle(store_root, plan))


@pytest.mark.parametrize("draw", DRAWS)
def test_the_rows_of_a_domain_belong_together(store_root: Path, draw: str) -> None:
    reader = ZarrChunkReader(store_root)
    arguments = {**DRAWS[draw], "fields": None}
    given_arrays = sample_arrays(0)
    read = reader.read_sample(SID, **arguments)
    for domain in ("surface", "volume"):
        rows = read[f"{domain}_position"][:, 0].long().numpy()  # sample_arrays numbers its points there
        assert len(set(rows.tolist())) == len(rows)
        for field, values in read.items():
            if field.startswith(domain):
                stored = given_arrays[field].astype(reader.manifest.fields[field].dtype).astype(np.float32)
                np.testing.assert_array_equal(values.numpy(), stored[rows])


def test_what_was_read_is_the_callers_to_change(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root)
    first = reader.read_sample(SID, {"surface": 100}, seed=1)
    kept = {field: values.clone() for field, values in first.items()}
    for values in first.values():
        values.zero_()
    again = reader.read_sample(SID, {"surface": 100}, seed=1)
    assert all(torch.equal(again[field], kept[field]) for field in kept)


def test_draws_without_a_seed_differ(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root)
    draws = {tuple(reader.read_coords(SID, "surface", 5)[:, 0].tolist()) for _ in range(20)}
    assert len(draws) > 15


def test_a_part_without_a_seed_is_refused(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root)
    for generator in (None, torch.Generator()):
        with pytest.raises(InvalidDraw, match="part needs seed"):
            reader.read_sample(SID, {"surface": 10}, generator, part=0)


def test_what_is_not_there_is_named(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root)
    with pytest.raises(SampleNotFound, match="param0/run"):
        reader.read_sample("param0/runs")
    with pytest.raises(UnknownDomain, match="no domain 'inlet'; there is: surface, volume"):
        reader.read_coords(SID, "inlet", 10)
    with pytest.raises(SplitNotFound, match=r"ships no splits; list sample ids, one a line, in splits/NAME\.txt"):
        reader.splits()
    with pytest.raises(StoreNotFound, match="there is no store at"):
        ZarrChunkReader(store_root / "nowhere")


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5, "2"])
def test_a_concurrency_that_is_none_is_refused(store_root: Path, concurrency: Any) -> None:
    with pytest.raises(ValueError, match=r"^read_concurrency must be an integer in 1\.\."):
        ZarrChunkReader(store_root, read_concurrency=concurrency)
    reader = ZarrChunkReader(store_root)
    with pytest.raises(ValueError, match=r"^read_concurrency must be an integer in 1\.\."):
        reader.read_concurrency = concurrency
    assert reader.read_concurrency == 1


def test_a_concurrency_can_be_set_and_is_that_of_the_next_read(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ZarrChunkReader(store_root, read_concurrency=2)
    expected = {field: tensor.numpy() for field, tensor in reader.read_sample(SID, seed=0).items()}
    reader.read_concurrency = 4
    together, read_local = threading.Barrier(4, timeout=60), chunks.read_local

    def meet(*arguments: Any) -> None:
        together.wait()
        read_local(*arguments)

    monkeypatch.setattr("drawpoint_store.reading.plan_reader.read_local", meet)
    assert_equal(reader.read_sample(SID, seed=0), expected)
    assert reader.read_concurrency == pickle.loads(pickle.dumps(reader)).read_concurrency == 4


def test_a_reader_tells_what_it_was_made_of(store_root: Path) -> None:
    manifest = StoreManifest.load(store_root)
    reader = ZarrChunkReader(store_root, manifest, read_concurrency=3)
    assert (reader.store_root, reader.read_concurrency) == (str(store_root), 3)
    assert reader.manifest is manifest
    assert ZarrChunkReader(store_root).manifest.samples == manifest.samples


# Where the bytes come from

GETS: list[tuple[str, int]] = []


class CountingLocalStore(LocalStore):
    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        found = await super().get(key, prototype, byte_range)
        GETS.append((key, 0 if found is None else len(found)))
        return found


def count_bytes(path: str) -> CountingLocalStore:
    return CountingLocalStore(path, read_only=True)


@pytest.fixture
def gets() -> list[tuple[str, int]]:
    GETS.clear()
    return GETS


@pytest.mark.parametrize("concurrency", [1, 8])
def test_every_byte_comes_through_the_store_that_was_given(
    store_root: Path, gets: list[tuple[str, int]], concurrency: int
) -> None:
    reader = ZarrChunkReader(store_root, store_factory=count_bytes, read_concurrency=concurrency)
    plain = ZarrChunkReader(store_root)
    for arguments in DRAWS.values():
        before = len(gets)
        read = reader.read_sample(SID, **{"seed": 1, **arguments})
        expected = plain.read_sample(SID, **{"seed": 1, **arguments})
        assert all(torch.equal(read[field], expected[field]) for field in expected)
        assert {key.rsplit("/c/", 1)[0] for key, _ in gets[before:]} - {"zarr.json"} == {
            reader.manifest.fields[field].array_name for field in expected
        }


def test_the_first_read_of_a_sample_gets_one_zarr_json(store_root: Path, gets: list[tuple[str, int]]) -> None:
    reader = ZarrChunkReader(store_root, store_factory=count_bytes)
    reader.read_sample(SID, {"surface": 10, "volume": 10})
    assert Counter(key for key, _ in gets if key.endswith("zarr.json")) == {"zarr.json": 1}
    reader.read_sample(SID, {"surface": 10, "volume": 10})
    before = len(gets)
    reader.read_coords(SID, "surface", 10)
    assert {key.rsplit("/c/", 1)[0] for key, _ in gets[before:]} == {"surface/position"}
    assert Counter(key for key, _ in gets if key.endswith("zarr.json")) == {"zarr.json": 1}
    reader.read_sample("param1/run", {"surface": 10})
    assert Counter(key for key, _ in gets if key.endswith("zarr.json")) == {"zarr.json": 2}


# Readers that travel


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("used", [False, True])
def test_a_reader_pickles(store_root: Path, concurrency: int, used: bool) -> None:
    reader = ZarrChunkReader(store_root, store_factory=count_bytes, read_concurrency=concurrency)
    if used:
        draw_lists(reader)
    other = pickle.loads(pickle.dumps(reader))
    assert other.manifest.revision == reader.manifest.revision
    assert other.read_concurrency == concurrency
    GETS.clear()
    assert draw_lists(other) == draw_lists(ZarrChunkReader(store_root))
    assert GETS  # the factory travelled too


# Python 3.12 and later warn of what these tests are about.
FORKS_WITH_THREADS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@FORKS_WITH_THREADS
@pytest.mark.parametrize(("method", "concurrency"), [("fork", 1), ("fork", 4), ("spawn", 4), ("forkserver", 4)])
def test_a_reader_in_use_survives_a_new_process(store_root: Path, method: str, concurrency: int) -> None:
    reader = ZarrChunkReader(store_root, read_concurrency=concurrency)
    expected = draw_lists(reader)  # its threads, files and caches are there
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        assert [*pool.map(draw_lists, [reader] * 2, timeout=60)] == [expected] * 2
    assert draw_lists(reader) == expected


def _put_inherited(queue: Any) -> None:
    queue.put(draw_lists(INHERITED[0]))


INHERITED: list[ZarrChunkReader] = []


@FORKS_WITH_THREADS
@pytest.mark.parametrize("through_zarr", [False, True])
def test_a_reader_in_use_is_inherited_by_a_fork(store_root: Path, through_zarr: bool) -> None:
    # As a DataLoader does: nothing is pickled, and the parent's threads are gone.
    factory = count_bytes if through_zarr else open_read_only
    reader = ZarrChunkReader(store_root, store_factory=factory, read_concurrency=4)
    expected = draw_lists(reader)
    INHERITED[:] = [reader]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_put_inherited, args=(queue,), daemon=True) for _ in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [expected] * 2
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert draw_lists(reader) == expected


@pytest.mark.parametrize("concurrency", [1, 3])
def test_threads_share_a_reader(store_root: Path, concurrency: int) -> None:
    reader = ZarrChunkReader(store_root, read_concurrency=concurrency)
    calls = [(f"param{seed % 2}/run", seed) for seed in range(40)]

    def draw(call: tuple[str, int]) -> list[float]:
        sample_id, seed = call
        values: list[float] = (
            reader.read_sample(sample_id, {"surface": 99, "volume": 99}, seed=seed)["volume_velocity"]
            .flatten()
            .tolist()
        )
        return values

    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(draw, calls))
    assert drawn == [draw(call) for call in calls]


def test_numpy_is_read_without_torch(store_root: Path) -> None:
    code = f"""
import sys
import numpy as np
from drawpoint_store import ZarrChunkReader
reader = ZarrChunkReader({str(store_root)!r})
plan = reader.plan_sample({SID!r}, {{"surface": 10, "volume": 10}}, seed=1)
out = {{field: np.empty(array.shape, array.layout.dtype) for field, array in plan.arrays.items()}}
reader.read_into(plan, out)
assert "torch" not in sys.modules
print(out["surface_position"].shape)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "(10, 3)"


def test_a_plan_is_read_into_given_arrays_as_the_tensors_are(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root)
    drawn = reader.read_sample(SID, {"surface": 100, "volume": 300}, fields=["volume_sdf", "surface_area"], seed=7)
    drawn["surface_position"] = reader.read_coords(SID, "surface", 50, seed=7)
    plans = [
        reader.plan_sample(SID, {"surface": 100, "volume": 300}, ["volume_sdf", "surface_area"], seed=7),
        reader.plan_coords(SID, {"surface": 50}, seed=7),
    ]

    async def run_blocking(function: Callable[..., None], *arguments: Any) -> None:
        await asyncio.to_thread(function, *arguments)

    for awaited in (False, True):
        out = {field: np.empty(array.shape, np.float32) for plan in plans for field, array in plan.arrays.items()}
        for plan in plans:
            if awaited:
                asyncio.run(reader.read_into_async(plan, out, run_blocking))
            else:
                reader.read_into(plan, out)
        assert_equal(dict(sorted(drawn.items())), dict(sorted(out.items())))


class NamedReader(ZarrChunkReader):
    """A reader with a constructor of its own, as users derive them."""

    def __init__(self, name: str, root: Path) -> None:
        super().__init__(root, chunk_cache_bytes=2**20)
        self.name = name


def test_a_reader_goes_to_another_revision_and_leaves_the_old_one_as_it_was(tmp_path: Path) -> None:
    for seed in range(2):
        writer = ZarrStoreWriter(tmp_path, FILEMAP, "made", shuffle_seed=seed)
        writer.write_sample(SID, sample_arrays(seed))
        writer.save_manifest()
        if seed == 0:
            reader = NamedReader("mine", tmp_path)
            before = draw_lists(reader)
    there = reader.at(StoreManifest.load(tmp_path))
    assert (type(there), there.name, there.chunk_cache_bytes) == (NamedReader, "mine", 2**20)
    assert draw_lists(there) == draw_lists(ZarrChunkReader(tmp_path)) != before
    assert draw_lists(reader) == before
    assert reader.at(reader.manifest.model_dump()).manifest.samples == reader.manifest.samples
    assert draw_lists(pickle.loads(pickle.dumps(there))) == draw_lists(there)
