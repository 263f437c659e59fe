"""A read that must not wait reads what is in memory, and says so where it would have to wait."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr.codecs as zc

from attacks import write_store
from drawpoint.errors import ChunkDamaged
from drawpoint_store import ZarrChunkReader, build_domain_layouts, make_store
from drawpoint_store.reading.plan import ReadPlan
from drawpoint_store.storage.open_files import count_open_files
from foreign import write_foreign
from small import SMALL, small_arrays

SAMPLE = "param0/run"
COUNTS = {"surface": 300, "volume": 700}
SHARED_MEMORY = Path("/dev/shm")

pytestmark = pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="this system reads nothing without waiting")


@pytest.fixture(params=[0, 3], ids=["as it is", "compressed"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", request.param)


def arrays_of(plan: ReadPlan, dtype: str | None = None) -> dict[str, np.ndarray[Any, Any]]:
    return {field: np.zeros(array.shape, dtype or array.layout.dtype) for field, array in plan.arrays.items()}


def opened(root: Path, **options: Any) -> tuple[ZarrChunkReader, ReadPlan, dict[str, np.ndarray[Any, Any]]]:
    """Return a reader that has read the plan, and what it has read."""
    reader = ZarrChunkReader(root, **options)
    plan = reader.plan_sample(SAMPLE, COUNTS, seed=5)
    expected = arrays_of(plan)
    reader.read_into(plan, expected)
    return reader, plan, expected


def forget(root: Path) -> None:
    """Drop the store's files from the page cache."""
    for path in root.rglob("c/*/0"):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def is_answered(reader: ZarrChunkReader, plan: ReadPlan, expected: dict[str, np.ndarray[Any, Any]]) -> bool:
    """Tell whether a plan is read without waiting, and is then what was expected."""
    found = arrays_of(plan)
    is_read = reader.read_into_nowait(plan, found)
    if is_read:
        assert all(found[field].tobytes() == values.tobytes() for field, values in expected.items())
    return is_read


@pytest.mark.parametrize("cache", [0, 2**26])
def test_what_was_read_before_is_read_without_waiting(root: Path, cache: int) -> None:
    reader, plan, expected = opened(root, chunk_cache_bytes=cache)
    assert is_answered(reader, plan, expected)
    as_float32 = arrays_of(plan, "float32")
    assert reader.read_into_nowait(plan, as_float32)
    assert all(np.array_equal(as_float32[field], values.astype("float32")) for field, values in expected.items())
    for seed in range(5):
        again = reader.plan_sample(SAMPLE, COUNTS, seed=seed)
        assert reader.read_into_nowait(again, arrays_of(again))


def test_nothing_is_opened(root: Path) -> None:
    reader = ZarrChunkReader(root)
    whole = reader.plan_sample(SAMPLE, COUNTS, seed=5)
    surface = reader.plan_sample(SAMPLE, COUNTS, fields=["surface_pressure"], seed=5)
    assert not reader.read_into_nowait(whole, arrays_of(whole))
    reader.read_into(surface, arrays_of(surface))
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert reader.read_into_nowait(surface, arrays_of(surface))
    assert not reader.read_into_nowait(whole, arrays_of(whole))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_that_was_closed_meanwhile_is_not_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drawpoint_store.storage.open_files._OPEN_FILES", 1)
    reader, plan, expected = opened(root)
    assert not is_answered(reader, plan, expected)


def test_what_is_not_in_the_page_cache_is_not_waited_for(root: Path) -> None:
    reader, plan, expected = opened(root)
    refused = 0
    for _ in range(20):
        forget(root)
        refused += not is_answered(reader, plan, expected)  # a quick disk may have it there by then
        reader.read_into(plan, arrays_of(plan))
    assert refused
    assert is_answered(reader, plan, expected)


def test_a_chunk_of_which_a_part_is_in_the_page_cache_is_not_taken_for_all_of_it(tmp_path: Path) -> None:
    arrays = {field: np.resize(values, (40_000, *values.shape[1:])) for field, values in small_arrays().items()}
    layouts = build_domain_layouts(SMALL)
    write_foreign(tmp_path, {SAMPLE: arrays}, layouts, chunk=40_000, compressors=[zc.Crc32cCodec()])
    reader, plan, expected = opened(tmp_path)
    page = os.sysconf("SC_PAGE_SIZE")
    refused = 0
    for shard in [*tmp_path.rglob("c/0/0")] * 20:  # pages that are in use just then stay
        with shard.open("rb+") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 8 * page, 0, os.POSIX_FADV_DONTNEED)
        refused += not is_answered(reader, plan, expected)
        reader.read_into(plan, arrays_of(plan))
        if refused:
            break
    assert refused


@pytest.fixture
def in_shared_memory(root: Path) -> Iterator[Path]:
    if not SHARED_MEMORY.is_dir():
        pytest.skip("/dev/shm is not there: no file system at hand refuses RWF_NOWAIT")
    place = SHARED_MEMORY / f"drawpoint-{os.getpid()}"
    shutil.copytree(root, place)
    yield place
    shutil.rmtree(place)


def test_a_file_system_that_cannot_tell_is_left_to_the_reads_that_may_wait(in_shared_memory: Path) -> None:
    reader, plan, expected = opened(in_shared_memory)
    shard = next(in_shared_memory.rglob("c/0/0"))
    with shard.open("rb") as file, pytest.raises(OSError, match=os.strerror(errno.EOPNOTSUPP)):
        os.preadv(file.fileno(), [bytearray(10)], 0, os.RWF_NOWAIT)
    assert not is_answered(reader, plan, expected)
    again = arrays_of(plan)
    reader.read_into(plan, again)
    assert all(again[field].tobytes() == values.tobytes() for field, values in expected.items())


def test_a_system_without_the_flag_is_left_to_the_reads_that_may_wait(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drawpoint_store.storage.open_files._NO_WAIT", 0)
    reader, plan, expected = opened(root)
    assert not is_answered(reader, plan, expected)


def test_short_reads_are_completed_where_they_may_wait_and_refused_where_not(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preadv = os.preadv
    calls = []

    def short(descriptor: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        calls.append(flags)
        first = next(buffer.cast("B") for buffer in buffers if len(buffer))
        return preadv(descriptor, [first[: -(-len(first) // 2)]], offset, flags)

    reader, plan, expected = opened(root)
    monkeypatch.setattr(os, "preadv", short)
    assert not is_answered(reader, plan, expected)
    assert calls[-1] == os.RWF_NOWAIT
    again = arrays_of(plan)
    reader.read_into(plan, again)
    assert all(again[field].tobytes() == values.tobytes() for field, values in expected.items())


def test_damage_is_named_as_by_the_reads_that_may_wait(root: Path) -> None:
    reader, plan, expected = opened(root)
    shard = root / f"{SAMPLE}.zarr/surface/pressure/c/0/0"
    chunk = plan.draws["surface"].rows[0].chunk
    whole = shard.read_bytes()
    named = []
    for read in (reader.read_into_nowait, reader.read_into):
        reader.read_into(plan, arrays_of(plan))
        with shard.open("rb+") as file:
            file.write(bytes(byte ^ 1 for byte in whole[: len(whole) // 2]))
        with pytest.raises(ChunkDamaged) as caught:
            read(plan, arrays_of(plan))
        named.append(str(caught.value))
        with shard.open("rb+") as file:
            file.write(whole)
        reader.read_into(plan, arrays_of(plan))
        assert is_answered(reader, plan, expected)
    assert named[0] == named[1]
    assert f"chunk {chunk} of surface_pressure in sample '{SAMPLE}' is damaged" in named[0]


def test_what_is_not_read_from_local_files_is_left_to_the_reads_that_may_wait(root: Path, tmp_path: Path) -> None:
    reader, plan, expected = opened(root, store_factory=make_store)
    assert not is_answered(reader, plan, expected)
    transposed = tmp_path / "transposed"
    write_foreign(
        transposed,
        {SAMPLE: small_arrays()},
        build_domain_layouts(SMALL),
        chunk=4,
        filters=[zc.TransposeCodec(order=(1, 0))],
    )
    reader, plan, expected = opened(transposed)
    assert not is_answered(reader, plan, expected)


def test_storages_keep_more_files_open_where_the_process_may_have_more(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, kept in ((256, 128), (1024, 128), (20_000, 1250), (2**20, 4096), (resource.RLIM_INFINITY, 4096)):
        monkeypatch.setattr("resource.getrlimit", lambda _, files=files: (files, files))
        assert count_open_files() == kept
