"""Bytes are bound to their place: whatever is exchanged, a read is right or a named error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

import drawpoint
from attacks import ATTACKS, read_all, write_store
from drawpoint.errors import DataDamaged, DrawpointError
from drawpoint_store import ZarrChunkReader, calculate_store_statistics, make_store
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.storage.disk_cache import DiskCache
from live import LiveService
from s3 import Bucket, upload
from small import same

LEVELS = (0, 3)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    return {
        level: dict(read_all(ZarrChunkReader(write_store(tmp_path_factory.mktemp("whole"), level)))) for level in LEVELS
    }


def is_same(found: Any, expected: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        return isinstance(found, torch.Tensor) and found.equal(expected)
    return isinstance(found, dict) and same(found, expected)


def assert_named_or_right(reader: Any, expected: dict[str, Any]) -> None:
    """Do all reads, and assert that some are an error that names the sample, and that all others are right."""
    errors, wrong = [], []
    for name, found in read_all(reader):
        if isinstance(found, DrawpointError) and found.sample is not None and found.sample in str(found):
            errors.append(name)
        elif not is_same(found, expected[name]):
            wrong.append(name)
    assert wrong == []
    assert errors


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
        assert_named_or_right(make(root), truth[level])
    if level == 0:
        with LiveService({"made": ZarrChunkReader(root, chunk_cache_bytes=2**26)}) as service:
            for _ in range(2):  # the second time what was whole is in the cache
                assert_named_or_right(drawpoint.connect(service.url).store("made"), truth[level])
    with pytest.raises(DataDamaged):
        calculate_store_statistics(root)
    assert any(check.problems for check in verify_store(root))


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


@pytest.mark.parametrize("attack", ["chunks within a shard", "two groups"])
def test_bytes_in_anothers_place_are_a_named_error_in_a_bucket_and_behind_a_disk_cache(
    bucket: Bucket, bucket_environment: None, tmp_path: Path, truth: dict[int, dict[str, Any]], attack: str
) -> None:
    local = write_store(tmp_path / "store", 0)
    ATTACKS[attack](local)
    root = upload(local, f"s3://{bucket.name}/{attack.replace(' ', '-')}")
    assert_named_or_right(ZarrChunkReader(root), truth[0])
    cached = ZarrChunkReader(root, disk_cache=DiskCache(tmp_path / "cache", 2**26))
    with LiveService({"made": cached}) as service:
        for _ in range(2):
            assert_named_or_right(drawpoint.connect(service.url).store("made"), truth[0])
