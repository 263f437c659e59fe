"""What several threads use for the first time at once is made once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading import plan_reader
from drawpoint_store.reading.memory_cache import ByteBoundedCache
from drawpoint_store.reading.plan import plan_sample
from drawpoint_store.storage.forks import ForkSafeLock

Made = TypeVar("Made")
THREADS = 8

FIRST_USES = """
import asyncio, sys, threading
from drawpoint_store.storage.forks import submit

sys.setswitchinterval(1e-6)
meeting = threading.Barrier(4)
found = set()

async def which():
    return asyncio.get_running_loop()

def ask():
    meeting.wait()
    found.add(submit(which()).result())

threads = [threading.Thread(target=ask) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found))
"""


AT_EXIT = """
import asyncio, atexit, threading

# Called last: what is registered first.
atexit.register(lambda: print([thread.name for thread in threading.enumerate()]))
from drawpoint_store.storage.forks import submit

submit(asyncio.sleep(0)).result()
"""


def meet(make: Callable[[], Made]) -> set[Made]:
    """Return what threads get that call `make` at the same moment."""
    meeting = threading.Barrier(THREADS)

    def call(_: int) -> Made:
        meeting.wait()
        return make()

    with ThreadPoolExecutor(THREADS) as threads:
        return set(threads.map(call, range(THREADS)))


@pytest.fixture
def eager_switches() -> object:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.parametrize("attempt", range(5))
def test_a_process_has_one_event_loop_whoever_asks_first(attempt: int) -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_USES], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n", attempt


def test_the_event_loop_ends_before_the_interpreter_does() -> None:
    # Else obstore's threads may run Python behind its end, which aborts the process.
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=True)
    assert done.stdout == "['MainThread']\n"


def test_a_reader_has_one_pool_of_threads_whoever_reads_first(
    store_root: Path, monkeypatch: pytest.MonkeyPatch, eager_switches: None
) -> None:
    made = []

    class Counted(ThreadPoolExecutor):
        def __init__(self, *args: Any) -> None:
            made.append(self)
            super().__init__(*args)

    monkeypatch.setattr(plan_reader, "ThreadPoolExecutor", Counted)
    manifest = ZarrChunkReader(store_root).manifest
    plan = plan_sample(manifest, "param0/run", {"surface": 5, "volume": 5}, seed=0)
    for _ in range(10):
        made.clear()
        store = ZarrChunkReader(store_root, manifest, read_concurrency=2)
        meet(lambda: store.read_into(plan, {field: np.empty(a.shape, np.float32) for field, a in plan.arrays.items()}))  # noqa: B023  called within the loop
        assert len(made) == 1


def test_a_lock_that_a_thread_held_at_a_fork_is_free_in_the_child() -> None:
    lock = ForkSafeLock()
    with lock:
        child = os.fork()
        if child == 0:
            with lock:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_cache_lets_go_of_what_lies_below_a_key() -> None:
    cache = ByteBoundedCache[int](10)
    for key in ("a.zarr/x/0", "a.zarr/y/1", "ab.zarr/x/0"):
        cache.put(key, 1, 4 if key.startswith("a.zarr") else 2)
    cache.drop_below("a.zarr/")
    assert [cache.get(key) for key in ("a.zarr/x/0", "a.zarr/y/1", "ab.zarr/x/0")] == [None, None, 1]
    cache.put("c", 2, 8)  # what was let go of has made room
    assert cache.get("ab.zarr/x/0") == 1
