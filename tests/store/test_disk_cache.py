"""What came from a bucket is kept on disk: right, bounded, shared, and whole after a crash."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from drawpoint.errors import ChunkDamaged
from drawpoint_service.settings import Settings
from drawpoint_store import ZarrChunkReader
from drawpoint_store.storage import BucketAccess, open_storage
from drawpoint_store.storage.bucket_access import open_client
from drawpoint_store.storage.disk_cache import DiskCache
from proxy import BucketProxy
from s3 import ACCESS_KEY, SECRET_KEY
from small import same
from waiting import wait_until

SAMPLE = "param0/run"
COUNTS = {"surface": 700, "volume": 3000}


def opened(proxy: BucketProxy, folder: Path, root: str = "s3://cars/made") -> ZarrChunkReader:
    access = BucketAccess(
        endpoint=proxy.url, access_key_id=SecretStr(ACCESS_KEY), secret_access_key=SecretStr(SECRET_KEY)
    )
    return ZarrChunkReader(open_storage(root, access), disk_cache=DiskCache(folder, 2**30))


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


@pytest.mark.usefixtures("made_root")
def test_a_second_epoch_asks_nothing_of_the_bucket_after_a_restart_too(
    proxy: BucketProxy, store_root: Path, tmp_path: Path
) -> None:
    store, on_disk = opened(proxy, tmp_path), ZarrChunkReader(store_root)
    assert same(store.read_sample(SAMPLE), on_disk.read_sample(SAMPLE))
    restarted = opened(proxy, tmp_path)
    for again in (store, restarted, pickle.loads(pickle.dumps(restarted))):
        proxy.passed.clear()
        for seed in range(3):
            assert same(again.read_sample(SAMPLE, COUNTS, seed=seed), on_disk.read_sample(SAMPLE, COUNTS, seed=seed))
        assert proxy.passed == []


@pytest.mark.usefixtures("made_root")
@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_an_entry_that_the_disk_has_harmed_is_fetched_again(
    proxy: BucketProxy, store_root: Path, tmp_path: Path, harm: str
) -> None:
    opened(proxy, tmp_path).read_sample(SAMPLE, COUNTS, seed=0)
    for path in files(tmp_path):
        data = path.read_bytes()
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        path.write_bytes({"flip": flipped, "cut": data[:middle], "empty": b""}[harm])
    proxy.passed.clear()
    expected = ZarrChunkReader(store_root).read_sample(SAMPLE, COUNTS, seed=0)
    assert same(opened(proxy, tmp_path).read_sample(SAMPLE, COUNTS, seed=0), expected)
    asked = len(proxy.passed)
    assert asked > 10
    assert same(opened(proxy, tmp_path).read_sample(SAMPLE, COUNTS, seed=0), expected)
    assert len(proxy.passed) == asked + 1  # the manifest


def test_what_the_bucket_has_damaged_is_not_kept(
    proxy: BucketProxy, bucket_root: str, store_root: Path, tmp_path: Path
) -> None:
    client, key = open_client(bucket_root), "param0/run.zarr/volume/velocity/c/0/0"
    whole = bytes(client.get(key).bytes())
    store = opened(proxy, tmp_path, bucket_root)
    client.put(key, bytes(5000) + whole[5000:])
    with pytest.raises(ChunkDamaged):
        store.read_sample(SAMPLE)
    client.put(key, whole)
    assert same(store.read_sample(SAMPLE), ZarrChunkReader(store_root).read_sample(SAMPLE))


def test_the_oldest_go_where_there_is_no_room(tmp_path: Path) -> None:
    limit = 4 * 2**20
    cache = DiskCache(tmp_path, limit)
    data = bytes(30_000)
    cache.put("first", data)
    for number in range(300):
        cache.put(str(number), data)
        assert cache.get("first") == data  # it is used all the time
    blocks = sum(path.stat().st_blocks * 512 for path in files(tmp_path))
    assert limit * 0.8 < blocks <= limit * (1 + 1 / 32)
    assert cache.get("0") is None
    assert cache.get("299") == data


def _write_and_read(folder: Path, worker: int, problems: Any) -> None:
    cache = DiskCache(folder, 2**20)
    for turn in range(200):
        key = str((turn * 7 + worker) % 60)
        expected = key.encode() * 10_000
        found = cache.get(key)
        if found is None:
            cache.put(key, expected)
        elif found != expected:
            problems.put(f"{key}: {bytes(found[:20])!r}")


def test_workers_share_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    problems = context.SimpleQueue()
    workers = [context.Process(target=_write_and_read, args=(tmp_path, worker, problems)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert problems.empty()
    assert sum(path.stat().st_size for path in files(tmp_path)) < 2**20 * (1 + 4 / 64) + 5 * 20_000


def _write_for_ever(folder: Path) -> None:
    cache = DiskCache(folder, 2**24)
    for turn in range(10**9):
        cache.put(str(turn % 500), str(turn % 500).encode() * 20_000)


def test_it_is_whole_after_kill_9_and_what_was_unfinished_goes(tmp_path: Path) -> None:
    for _ in range(3):
        worker = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(tmp_path,))
        worker.start()
        enough = min(len(files(tmp_path)) + 20, 200)
        wait_until(lambda: len(files(tmp_path)) >= enough)  # noqa: B023  called within the loop
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        cache = DiskCache(tmp_path, 2**24)
        kept = [cache.get(str(number)) for number in range(500)]
        assert all(data in (None, str(number).encode() * 20_000) for number, data in enumerate(kept))
        assert any(kept)
    left = tmp_path / "00" / "left.1234.tmp"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    DiskCache(tmp_path, 2**24)
    assert not left.exists()


def test_it_is_refused_for_a_store_on_disk(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="disk_cache is for stores in buckets"):
        Settings.model_validate({"stores": {"a": {"root": str(tmp_path), "disk_cache": "x"}}})
    store = Settings.model_validate({"stores": {"a": {"root": "s3://a/b", "disk_cache": str(tmp_path)}}}).stores["a"]
    assert isinstance(store.open_disk_cache(), DiskCache)
