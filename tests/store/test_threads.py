"""What several threads use for the first time at once is made once, and each reads what it asked for."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drawpoint.errors import ChunkDamaged
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading import plan_reader
from drawpoint_store.reading.blocks import map_in_order
from drawpoint_store.storage.byte_sources import Span
from drawpoint_store.storage.forks import ForkSafeLock
from drawpoint_store.storage.open_files import LocalSource, OpenFile, OpenFiles

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


def test_a_process_has_one_event_loop_that_ends_before_the_interpreter_does() -> None:
    # Else obstore's threads may run Python behind its end, which aborts the process.
    for program, printed in ((FIRST_USES, "1\n"), (AT_EXIT, "['MainThread']\n")):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout == printed


def test_a_lock_that_a_thread_held_at_a_fork_is_free_in_the_child() -> None:
    lock = ForkSafeLock()
    with lock:
        child = os.fork()
        if child == 0:
            with lock:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("limit", [1, 2])
def test_threads_read_their_own_file_when_few_may_be_open(tmp_path: Path, limit: int) -> None:
    for number in range(6):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 1000)
    source = LocalSource(tmp_path, OpenFiles(tmp_path, limit), 2**20)

    def read_in_turn(first: int) -> None:
        for turn in range(1000):
            number = (first + turn) % 6
            (found,) = source.fetch([Span(str(number), 100, 500)])
            assert found == bytes([number]) * 500

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(read_in_turn, range(THREADS)))


def test_no_more_files_stay_open_than_may(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / str(number)).write_bytes(b"x")
    files = OpenFiles(tmp_path, 3)
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for number in range(10):
        path = str(tmp_path / str(number))
        files.keep(path, OpenFile(files.open_once(path), path))
    assert len(list(descriptors.iterdir())) == before + 3


@pytest.mark.usefixtures("frequent_switches")
def test_threads_open_find_and_drop_files_at_once_and_none_stays_open(tmp_path: Path) -> None:
    paths = [str(tmp_path / str(number)) for number in range(8)]
    for path in paths:
        Path(path).write_bytes(b"x")
    files, descriptors = OpenFiles(tmp_path, 6), Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))

    def use(first: int) -> None:
        for turn in range(1000):
            path = paths[(first + 3 * turn) % len(paths)]
            if files.find(path) is None or turn % 5 == 0:
                files.keep(path, OpenFile(files.open_once(path), path))
            if turn % 7 == 0:
                files.drop(str(tmp_path))

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(use, range(THREADS)))
    files.drop(str(tmp_path))
    assert len(list(descriptors.iterdir())) == before


def test_no_thread_of_a_failed_read_still_writes_once_it_has_returned(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = itertools.count()
    has_failed, has_returned, ended = threading.Event(), threading.Event(), []

    def read_local(*_: object) -> None:
        if next(shares) == 0:
            has_failed.set()
            raise ChunkDamaged("the first share")
        assert has_failed.wait(30)
        # A read that waits for its threads cannot return meanwhile; one that does not has this long to be found out.
        ended.append("late" if has_returned.wait(0.1) else "in time")

    monkeypatch.setattr(plan_reader, "read_local", read_local)
    with pytest.raises(ChunkDamaged, match="the first share"):
        ZarrChunkReader(store_root, read_concurrency=2).read_sample("param0/run")
    has_returned.set()
    assert ended == ["in time"]


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items_and_work_runs_ahead_of_them_only_a_little(workers: int) -> None:
    taken = itertools.count()
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if workers > 1 and item == 0:
            assert second_is_done.wait(30)  # the first ends last
        second_is_done.set()
        return 100 // (item - 30)

    results = map_in_order(work, (next(taken) for _ in range(1_000_000)), workers)
    assert [next(results) for _ in range(10)] == [100 // (item - 30) for item in range(10)]
    assert next(taken) <= 10 + 2 * workers + 1
    with pytest.raises(ZeroDivisionError):  # an error ends the work
        list(results)
    assert next(taken) < 50
