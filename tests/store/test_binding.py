"""Bytes are bound to their place: whatever is exchanged, a read is right or a named error."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from zarr.abc.store import Store
from zarr.storage import WrapperStore

import drawpoint
from attacks import ATTACKS, read_all, write_store
from conftest import REPOSITORY
from drawpoint.errors import DataDamaged, DrawpointError
from drawpoint_store import ZarrChunkReader, calculate_store_statistics, make_store
from drawpoint_store.inspecting.blocks import read_block
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.maintenance.upgrade import upgrade_store
from drawpoint_store.reading.memory_cache import ByteBoundedCache
from drawpoint_store.reading.plan import plan_sample
from drawpoint_store.storage.bucket_access import open_client
from drawpoint_store.storage.disk_cache import DiskCache
from live import LiveService
from s3 import Bucket
from small import files_of

LEVELS = (0, 3)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    return {
        level: dict(read_all(ZarrChunkReader(write_store(tmp_path_factory.mktemp("whole"), level)))) for level in LEVELS
    }


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        return isinstance(found, torch.Tensor) and found.equal(expected)
    return (
        isinstance(found, dict)
        and found.keys() == expected.keys()
        and all(found[key].equal(expected[key]) for key in expected)
    )


def judge(found: dict[str, Any], expected: dict[str, Any]) -> tuple[list[str], int]:
    """Return the reads that are wrong without an error, or whose error names nothing, and how many are errors."""
    wrong = []
    errors = 0
    for name, each in found.items():
        if isinstance(each, DrawpointError) and each.sample is not None and each.sample in str(each):
            errors += 1
        elif not same(each, expected[name]):
            wrong.append(name)
    return wrong, errors


READERS: dict[str, Callable[[Path], Any]] = {
    "local": ZarrChunkReader,
    "threads": partial(ZarrChunkReader, read_concurrency=2),
    "store_factory": partial(ZarrChunkReader, store_factory=make_store),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_bytes_in_anothers_place_are_a_named_error_and_never_read(
    tmp_path: Path, truth: dict[int, dict[str, Any]], attack: str, level: int
) -> None:
    root = write_store(tmp_path / "store", level)
    ATTACKS[attack](root)
    for make in READERS.values():
        wrong, errors = judge(dict(read_all(make(root))), truth[level])
        assert wrong == []
        assert errors > 0
    if level == 0:
        with LiveService({"made": ZarrChunkReader(root, chunk_cache_bytes=2**26)}) as service:
            for _ in range(2):  # the second time what was whole is in the cache
                wrong, errors = judge(dict(read_all(drawpoint.connect(service.url).store("made"))), truth[level])
                assert wrong == []
                assert errors > 0
    with pytest.raises(DataDamaged):
        calculate_store_statistics(root)
    assert any(check.problems for check in verify_store(root))


@pytest.mark.parametrize("level", LEVELS)
def test_a_decoded_chunk_that_is_kept_holds_no_more_than_itself_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(ByteBoundedCache, "put", lambda _, __, value, ___: kept.append(value))
    store = ZarrChunkReader(str(write_store(tmp_path, level)), chunk_cache_bytes=2**26)
    read_block(store, plan_sample(store.manifest, "param0/run", None, seed=0, fields=["volume_velocity"]))
    chunks = [each for each in kept if isinstance(each, np.ndarray)]
    assert len(chunks) == store.manifest.samples["param0/run"].domains["volume"].n_chunks
    for chunk in chunks:
        owner: Any = chunk
        while isinstance(owner, np.ndarray) and owner.base is not None:
            owner = owner.base
        assert memoryview(owner).nbytes == chunk.nbytes


@pytest.mark.parametrize("level", LEVELS)
def test_a_first_read_costs_no_more_requests_than_without_tables(tmp_path: Path, level: int) -> None:
    asked = []

    class Counting(WrapperStore[Store]):
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            asked.append(key)
            return await self._store.get(key, prototype, byte_range)

    root = write_store(tmp_path, level)
    reader = ZarrChunkReader(root, store_factory=lambda path: Counting(make_store(path)))
    reader.read_sample("param0/run", {"volume": 256}, fields=["volume_velocity"], seed=1)
    assert asked[:2] == ["zarr.json", "volume/velocity/c/0/0"]  # metadata, then the index, then chunks
    assert asked.count("zarr.json") == 1
    assert set(asked) == {"zarr.json", "volume/velocity/c/0/0"}


@pytest.mark.skipif(find_spec("tensorstore") is None, reason="tensorstore is not installed: pip install '.[bench]'")
@pytest.mark.parametrize("level", LEVELS)
def test_tensorstore_reads_what_zarr_python_reads(tmp_path: Path, level: int) -> None:
    import tensorstore  # noqa: PLC0415  a peer that may not be installed

    root = write_store(tmp_path, level)
    for layout in ZarrChunkReader(root).manifest.fields.values():
        path = root / "param0/run.zarr" / layout.array_name
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
        theirs = tensorstore.open(spec, open=True, read=True).result().read().result()
        np.testing.assert_array_equal(theirs, np.asarray(zarr.open_array(path, mode="r")[...]))


@pytest.mark.parametrize("attack", ["shards of two samples", "chunks within a shard", "index entries", "two groups"])
def test_bytes_in_anothers_place_are_a_named_error_in_a_bucket_and_behind_a_disk_cache(
    bucket: Bucket,
    bucket_environment: None,
    tmp_path: Path,
    truth: dict[int, dict[str, Any]],
    attack: str,
) -> None:
    local = write_store(tmp_path / "store", 0)
    ATTACKS[attack](local)
    root = f"s3://{bucket.name}/{attack.replace(' ', '-')}"
    client = open_client(root)
    for path in local.rglob("*"):
        if path.is_file():
            client.put(str(path.relative_to(local)), path.read_bytes())
    wrong, errors = judge(dict(read_all(ZarrChunkReader(root))), truth[0])
    assert wrong == []
    assert errors > 0
    cached = ZarrChunkReader(root, disk_cache=DiskCache(tmp_path / "cache", 2**26))
    with LiveService({"made": cached}) as service:
        for _ in range(2):
            wrong, errors = judge(dict(read_all(drawpoint.connect(service.url).store("made"))), truth[0])
            assert wrong == []
            assert errors > 0


def test_a_store_in_a_bucket_is_upgraded_in_place(bucket: Bucket, bucket_environment: None, tmp_path: Path) -> None:
    with zipfile.ZipFile(REPOSITORY / "tests/store/data/stores_of_0.1.zip") as stored:
        stored.extractall(tmp_path)
    local, root = tmp_path / "level0", f"s3://{bucket.name}/upgraded"
    client = open_client(root)
    for name, data in files_of(local).items():
        client.put(name, data)
    reader = ZarrChunkReader(root)
    before = reader.read_sample("param0/run", fields=["surface_pressure"])
    assert upgrade_store(root, max_workers=2).revision == upgrade_store(local).revision
    assert {name: bytes(client.get(name).bytes()) for name in files_of(local)} == files_of(local)
    for each in (reader, ZarrChunkReader(root)):
        assert each.read_sample("param0/run")["surface_pressure"].equal(before["surface_pressure"])
    assert all(check.problems == () and check.has_tables for check in verify_store(root))
