"""Reading: zarr-python as the oracle, rows that belong together, few bytes, and readers that travel."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from children import draw_lists
from conftest import FILEMAP, sample_arrays
from drawpoint.errors import InvalidDraw, SampleNotFound, SplitNotFound, StoreNotFound, UnknownDomain
from drawpoint_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter, make_store
from drawpoint_store.reading import local_chunks
from drawpoint_store.reading.plan import plan_coords, plan_sample
from drawpoint_store.reading.plan_reader import open_read_only
from foreign import read_planned
from small import same

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


def assert_equal(read: dict[str, torch.Tensor], expected: dict[str, np.ndarray[Any, Any]]) -> None:
    assert list(read) == list(expected)
    for field, values in expected.items():
        assert read[field].dtype == torch.float32
        assert tuple(read[field].shape) == values.shape
        assert read[field].is_contiguous()
        assert read[field].numpy().tobytes() == values.astype(np.float32).tobytes()


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("concurrency", [1, 8])
def test_what_is_read_is_what_zarr_python_reads_and_rows_belong_together(
    store_root: Path, draw: str, concurrency: int
) -> None:
    reader = ZarrChunkReader(store_root, read_concurrency=concurrency)
    arguments = {"num_points": None, "seed": 0, **DRAWS[draw]}
    expected = read_planned(store_root, plan_sample(reader.manifest, SID, **arguments))
    for _ in range(2):  # the second time with whatever the first one keeps in memory
        assert_equal(reader.read_sample(SID, **arguments), expected)
    for count in (arguments["num_points"] or {}).values():
        coords = reader.read_coords(SID, "surface", count, seed=3)
        plan = plan_coords(reader.manifest, SID, {"surface": count}, seed=3)
        assert_equal({"surface_position": coords}, read_planned(store_root, plan))
    given_arrays, read = sample_arrays(0), reader.read_sample(SID, **{**arguments, "fields": None})
    for domain in ("surface", "volume"):
        rows = read[f"{domain}_position"][:, 0].long().numpy()  # sample_arrays numbers its points there
        assert len(set(rows.tolist())) == len(rows)
        for field in reader.manifest.domains[domain].arrays:
            stored = given_arrays[field].astype(reader.manifest.fields[field].dtype).astype(np.float32)
            np.testing.assert_array_equal(read[field].numpy(), stored[rows])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 1600), st.integers(1, 11_000), st.integers(0, 2**63 - 1), st.none() | st.integers(0, 2**63 - 1))
def test_any_draw_is_what_zarr_python_reads(
    store_root: Path, surface: int, volume: int, seed: int, part: int | None
) -> None:
    reader = ZarrChunkReader(store_root)
    counts, fields = {"surface": surface, "volume": volume}, ["surface_area", "volume_velocity"]
    plan = plan_sample(reader.manifest, SID, counts, seed=seed, part=part, fields=fields)
    read = reader.read_sample(SID, counts, fields=fields, seed=seed, part=part)
    assert_equal(read, read_planned(store_root, plan))


def test_what_was_read_is_the_callers_to_change_and_differs_without_a_seed(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root)
    first = reader.read_sample(SID, {"surface": 100}, seed=1)
    kept = {field: values.clone() for field, values in first.items()}
    for values in first.values():
        values.zero_()
    assert same(reader.read_sample(SID, {"surface": 100}, seed=1), kept)
    assert len({tuple(reader.read_coords(SID, "surface", 5)[:, 0].tolist()) for _ in range(20)}) > 15


def test_what_is_not_there_or_needs_more_is_named(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root)
    with pytest.raises(SampleNotFound, match="param0/run"):
        reader.read_sample("param0/runs")
    with pytest.raises(UnknownDomain, match="no domain 'inlet'; there is: surface, volume"):
        reader.read_coords(SID, "inlet", 10)
    with pytest.raises(SplitNotFound, match=r"ships no splits; list sample ids, one a line, in splits/NAME\.txt"):
        reader.splits()
    with pytest.raises(StoreNotFound, match="there is no store at"):
        ZarrChunkReader(store_root / "nowhere")
    for generator in (None, torch.Generator()):
        with pytest.raises(InvalidDraw, match="part needs seed"):
            reader.read_sample(SID, {"surface": 10}, generator, part=0)


def test_a_concurrency_can_be_set_and_is_that_of_the_next_read(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ZarrChunkReader(store_root, read_concurrency=2)
    expected = reader.read_sample(SID, seed=0)
    reader.read_concurrency = 4
    together, read_local = threading.Barrier(4, timeout=60), local_chunks.read_local

    def meet(*arguments: Any) -> None:
        together.wait()
        read_local(*arguments)

    monkeypatch.setattr("drawpoint_store.reading.plan_reader.read_local", meet)
    assert same(reader.read_sample(SID, seed=0), expected)
    assert reader.read_concurrency == pickle.loads(pickle.dumps(reader)).read_concurrency == 4
    wrongs: list[Any] = [0, True, 1.5, "2"]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"^read_concurrency must be an integer in 1\.\."):
            ZarrChunkReader(store_root, read_concurrency=wrong)
        with pytest.raises(ValueError, match=r"^read_concurrency must be an integer in 1\.\."):
            reader.read_concurrency = wrong
    assert reader.read_concurrency == 4


# Readers that travel


def test_a_reader_tells_what_it_was_made_of_and_pickles(store_root: Path) -> None:
    manifest = StoreManifest.load(store_root)
    reader = ZarrChunkReader(store_root, manifest, store_factory=make_store, read_concurrency=3)
    assert reader.manifest is manifest
    drawn = draw_lists(reader)
    for each in (reader, pickle.loads(pickle.dumps(reader))):
        assert (each.store_root, each.read_concurrency, each.store_factory) == (str(store_root), 3, make_store)
        assert each.manifest.revision == manifest.revision
        assert draw_lists(each) == drawn == draw_lists(ZarrChunkReader(store_root))


# Python 3.12 and later warn of what these tests are about.
FORKS_WITH_THREADS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def test_a_reader_in_use_survives_a_new_process(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root, read_concurrency=4)
    expected = draw_lists(reader)  # its threads, files and caches are there
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert [*pool.map(draw_lists, [reader] * 2, timeout=60)] == [expected] * 2
    assert draw_lists(reader) == expected


def _put_inherited(queue: Any) -> None:
    queue.put(draw_lists(INHERITED[0]))


INHERITED: list[ZarrChunkReader] = []


@FORKS_WITH_THREADS
@pytest.mark.parametrize("through_zarr", [False, True])
def test_a_reader_in_use_is_inherited_by_a_fork(store_root: Path, through_zarr: bool) -> None:
    # As a DataLoader does: nothing is pickled, and the parent's threads are gone.
    factory = make_store if through_zarr else open_read_only
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


def test_threads_share_a_reader(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root, read_concurrency=3)

    def draw(seed: int) -> dict[str, torch.Tensor]:
        return reader.read_sample(f"param{seed % 2}/run", {"surface": 99, "volume": 99}, seed=seed)

    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(draw, range(40)))
    assert all(same(found, draw(seed)) for seed, found in enumerate(drawn))


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


def test_a_reader_that_lives_until_the_modules_are_gone_ends_without_a_word(store_root: Path) -> None:
    code = f"""
import importlib.util
from drawpoint_store import ZarrChunkReader
reader = ZarrChunkReader({str(store_root)!r})
reader.read_sample({SID!r}, {{"surface": 10}}, seed=1)
importlib.util.hook = lambda: reader  # as a handler or a hook may hold it
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr == ""


def test_a_plan_is_read_into_given_arrays_as_the_tensors_are(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root)
    counts, fields = {"surface": 100, "volume": 300}, ["volume_sdf", "surface_area"]
    plan = reader.plan_sample(SID, counts, fields, seed=7)
    drawn = reader.read_sample(SID, counts, fields=fields, seed=7)

    async def run_blocking(function: Callable[..., None], *arguments: Any) -> None:
        await asyncio.to_thread(function, *arguments)

    for awaited in (False, True):
        out = {field: np.empty(array.shape, np.float32) for field, array in plan.arrays.items()}
        if awaited:
            asyncio.run(reader.read_into_async(plan, out, run_blocking))
        else:
            reader.read_into(plan, out)
        assert_equal(drawn, out)


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
