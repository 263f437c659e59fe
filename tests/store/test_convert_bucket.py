"""Conversion from and to a bucket, against a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.fsspec import FsspecStore

from drawpoint.errors import StoreExists, StoreUnreadable
from drawpoint_store import StoreManifest, ZarrStoreWriter, buckets, stores
from drawpoint_store.conversion.filemaps import detect_filemap
from drawpoint_store.conversion.journal import Journal
from drawpoint_store.conversion.tree import SourceTree
from drawpoint_store.convert import convert
from s3 import Bucket, run_s3
from trees import files_below, run_tensors, write_runs


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with run_s3("cars") as running:
        yield running


@pytest.fixture
def root(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{bucket.name}"


def writer_at(root: object) -> ZarrStoreWriter:
    return ZarrStoreWriter(str(root), detect_filemap(run_tensors()), "made", chunk_points=64)


def objects_below(root: str) -> dict[str, bytes]:
    client = buckets.open_object_store(root)
    return {entry["path"]: bytes(client.get(entry["path"]).bytes()) for page in client.list() for entry in page}


def test_a_bucket_converts_into_a_bucket_like_a_disk_onto_a_disk(root: str, tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 3)
    for name, data in files_below(tmp_path / "runs").items():
        stores.write_bytes(f"{root}/runs", name, data)
    here = convert(tmp_path / "runs", writer_at(tmp_path / "store"))
    there = convert(f"{root}/runs", writer_at(f"{root}/store"), workers=2)
    assert there.model_dump(exclude={"seconds"}) == here.model_dump(exclude={"seconds"})
    assert objects_below(f"{root}/store") == files_below(tmp_path / "store")
    with pytest.raises(StoreExists, match="3 samples"):
        convert(f"{root}/runs", writer_at(f"{root}/store"))


def test_an_interrupted_conversion_into_a_bucket_goes_on(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> str:
        raise KeyboardInterrupt

    write_runs(tmp_path / "runs", 2)
    with monkeypatch.context() as patch:
        patch.setattr(StoreManifest, "save", die)
        with pytest.raises(KeyboardInterrupt):
            convert(tmp_path / "runs", writer_at(f"{root}/again"))
    assert Journal(f"{root}/again").is_begun()
    report = convert(tmp_path / "runs", writer_at(f"{root}/again"))
    assert report.resumed == 2
    convert(tmp_path / "runs", writer_at(tmp_path / "whole"))
    assert objects_below(f"{root}/again") == files_below(tmp_path / "whole")


def test_an_outage_of_the_source_breaks_no_sample(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_runs(tmp_path / "runs", 1)
    for name, data in files_below(tmp_path / "runs").items():
        stores.write_bytes(f"{root}/lost", name, data)
    source = SourceTree.scan(f"{root}/lost")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong by now")
    FsspecStore.clear_instance_cache()  # it would go on with the right one
    with pytest.raises(StoreUnreadable, match=r"surface_position\.pt cannot be read.*run the same command again"):
        convert(source, writer_at(tmp_path / "store"))
    assert not (tmp_path / "store").exists()
