"""What is in the page cache is read without a thread; the event loop waits for no disk."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.plan import ReadPlan
from live import LiveService
from waiting import wait_until

SAMPLE = "/stores/made/samples/param0/run?surface=5&volume=5&seed=1"


class WatchedStore(ZarrChunkReader):
    """Tells where it was read: on the event loop, and with what success, or in a thread, which waits for `go`."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.on_loop: list[bool] = []
        self.in_threads: list[str] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()

    def read_into_nowait(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> bool:
        assert not threading.current_thread().name.startswith("read")
        self.on_loop.append(super().read_into_nowait(plan, out))
        return self.on_loop[-1]

    def read_into(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self.in_threads.append(threading.current_thread().name)
        self.begun.release()
        assert self.go.wait(30)
        super().read_into(plan, out)


@pytest.fixture
def watched(store_root: Path, tmp_path: Path) -> WatchedStore:
    root = Path(shutil.copytree(store_root, tmp_path / "store"))
    if not is_cached(next(shard for shard in root.rglob("c/0/0"))):
        pytest.skip(f"the file system of {tmp_path} cannot tell what it holds in memory (RWF_NOWAIT)")
    return WatchedStore(root)


def is_cached(path: Path) -> bool:
    """Whether the first byte of a file can be read without waiting."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except OSError:
        return False
    finally:
        os.close(descriptor)


def drop_from_page_cache(root: Path) -> None:
    """Have the shards of a store on the disk alone."""

    def drop(shard: Path) -> bool:
        descriptor = os.open(shard, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        return not is_cached(shard)

    for shard in root.rglob("c/*/0"):
        wait_until(partial(drop, shard))  # a page that was written just now may stay for a moment


def test_a_draw_out_of_the_page_cache_takes_no_thread(watched: WatchedStore) -> None:
    with LiveService({"made": watched}) as service:
        first = httpx.get(service.url + SAMPLE)
        assert watched.on_loop == [False]  # whose files were not open yet
        assert [name[:4] for name in watched.in_threads] == ["read"]
        second = httpx.get(service.url + SAMPLE)
        assert watched.on_loop == [False, True]
        assert len(watched.in_threads) == 1
    assert second.content == first.content
    assert second.headers["Content-Digest"] == first.headers["Content-Digest"]


def test_a_draw_that_only_the_disk_has_is_read_in_a_thread(watched: WatchedStore) -> None:
    with LiveService({"made": watched}) as service, ThreadPoolExecutor(1) as pool:
        first = httpx.get(service.url + SAMPLE)
        assert watched.begun.acquire(timeout=30)
        drop_from_page_cache(Path(watched.store_root))
        watched.go.clear()
        second = pool.submit(httpx.get, service.url + SAMPLE, timeout=30)
        assert watched.begun.acquire(timeout=30)
        assert watched.on_loop == [False, False]
        for path in ("/healthz", "/stores/made", "/stores/made/samples"):
            assert httpx.get(service.url + path).status_code == 200
        assert not second.done()
        watched.go.set()
        assert second.result().content == first.content


@pytest.mark.parametrize("bound", ["READ_HERE_BYTES", "READ_HERE_CHUNKS"])
def test_a_draw_of_much_or_of_many_chunks_is_read_in_a_thread_wherever_it_is(
    watched: WatchedStore, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    with LiveService({"made": watched}) as service:
        first = httpx.get(service.url + SAMPLE)
        monkeypatch.setattr(f"drawpoint_service.routes.draws.{bound}", 1)
        assert httpx.get(service.url + SAMPLE).content == first.content
    assert watched.on_loop == [False]
    assert len(watched.in_threads) == 2


def test_damage_that_the_event_loop_finds_is_told_as_a_thread_tells_it(watched: WatchedStore) -> None:
    answers = []
    with LiveService({"made": watched}) as service:
        assert httpx.get(service.url + SAMPLE).status_code == 200
        for domain, grid in watched.manifest.samples["param0/run"].domains.items():
            index_bytes = 16 * grid.shard_points // grid.chunk_points + 4
            for shard in Path(watched.store_root, "param0/run.zarr", domain).rglob("c/0/0"):
                with shard.open("r+b") as file:
                    file.write(bytes(shard.stat().st_size - index_bytes))
        for _ in range(2):  # of which the second begins without anything that was read of the sample
            answers.append(httpx.get(service.url + SAMPLE))
            answers[-1].headers.pop("X-Request-ID")
    assert [answer.status_code for answer in answers] == [502, 502]
    here, there = (answer.json() for answer in answers)
    assert {**here, "instance": ""} == {**there, "instance": ""}
    assert watched.on_loop == [False, False]  # and damage in between
    assert len(watched.in_threads) == 2
