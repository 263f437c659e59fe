"""Stores in a bucket read and fail like stores on disk: against a real S3 server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import obstore
import pytest

from conftest import FILEMAP, sample_arrays
from drawpoint.errors import (
    ChunkDamaged,
    ChunkMissing,
    InvalidManifest,
    MetadataDamaged,
    StoreNotFound,
    StoreUnreadable,
)
from drawpoint_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter, make_store
from drawpoint_store.storage import BucketAccess, open_storage
from drawpoint_store.storage.bucket_access import open_client
from s3 import Bucket

COUNTS = {"surface": 300, "volume": 1000}


@pytest.mark.parametrize("arguments", [{"seed": 1}, {"seed": 1, "part": 2}, {"seed": 1, "fields": ["volume_pressure"]}])
def test_draws_from_a_bucket_are_those_from_disk(
    made_root: str, bucket_environment: None, store_root: Path, arguments: dict[str, Any]
) -> None:
    expected = ZarrChunkReader(store_root).read_sample("param0/run", COUNTS, **arguments)
    through_stores = ZarrChunkReader(made_root, store_factory=lambda path: make_store(path, read_only=True))
    for reader in (ZarrChunkReader(made_root), ZarrChunkReader(made_root, read_concurrency=4), through_stores):
        found = reader.read_sample("param0/run", COUNTS, **arguments)
        assert found.keys() == expected.keys()
        assert all(found[field].equal(tensor) for field, tensor in expected.items())


def test_a_store_written_to_a_bucket_has_the_bytes_of_one_on_disk(
    bucket: Bucket, bucket_environment: None, tmp_path: Path
) -> None:
    roots = (str(tmp_path / "store"), f"s3://{bucket.name}/written")
    entries = []
    for root in roots:
        writer = ZarrStoreWriter(root, FILEMAP, "twice", chunk_points=512, shard_points=2048)
        writer.write_sample("param/run", sample_arrays())
        writer.save_manifest()
        entries.append(StoreManifest.load(root).samples["param/run"])
    here, there = entries
    assert here.relpath == "param/run.zarr"
    assert re.fullmatch(r"param/run\.[0-9a-f]{12}\.zarr", there.relpath)
    assert (here.domains, here.digest) == (there.domains, there.digest)
    group = Path(roots[0]) / here.relpath
    on_disk = {path.relative_to(group).as_posix(): path for path in group.rglob("*") if path.is_file()}
    client = open_client(roots[1])
    in_bucket = {entry["path"].removeprefix(f"{there.relpath}/") for page in client.list() for entry in page}
    assert in_bucket == {"manifest.json", *on_disk}
    assert all(
        bytes(client.get(f"{there.relpath}/{key}").bytes()) == path.read_bytes() for key, path in on_disk.items()
    )


def test_a_sample_rewritten_in_a_bucket_leaves_the_published_one_alone(
    bucket: Bucket, bucket_environment: None
) -> None:
    root = f"s3://{bucket.name}/rewritten"
    writer = ZarrStoreWriter(root, FILEMAP, "again")
    writer.write_sample("run", sample_arrays(0))
    writer.save_manifest()
    old = ZarrChunkReader(root)
    before = old.read_sample("run")
    again = ZarrStoreWriter(root, FILEMAP, "again")
    again.write_sample("run", sample_arrays(1))
    again.save_manifest()
    assert ZarrChunkReader(root).manifest.revision != old.manifest.revision
    after = ZarrChunkReader(root, manifest=old.manifest).read_sample("run")
    assert all(after[field].equal(tensor) for field, tensor in before.items())


def test_a_damaged_object_is_named(bucket_root: str) -> None:
    client = open_client(bucket_root)
    key = "param0/run.zarr/volume/velocity/c/0/0"
    whole = bytes(client.get(key).bytes())
    client.put(key, whole[:5] + bytes([whole[5] ^ 1]) + whole[6:])
    with pytest.raises(ChunkDamaged, match="chunk 0 of volume_velocity in sample 'param0/run'"):
        ZarrChunkReader(bucket_root).read_sample("param0/run")


def test_an_object_cut_short_after_its_index_was_read_is_damage(bucket_root: str) -> None:
    client = open_client(bucket_root)
    key = "param0/run.zarr/volume/velocity/c/0/0"
    reader = ZarrChunkReader(bucket_root)
    reader.read_sample("param0/run", {"volume": 10}, seed=0)
    client.put(key, bytes(client.get(key).bytes())[:100])
    with pytest.raises(ChunkDamaged, match="volume_velocity in sample 'param0/run' is damaged"):
        reader.read_sample("param0/run")


def test_a_deleted_object_is_missing(bucket_root: str) -> None:
    obstore.delete(open_client(bucket_root), "param1/run.zarr/surface/area/c/0/0")
    with pytest.raises(ChunkMissing, match="surface_area in sample 'param1/run' is missing"):
        ZarrChunkReader(bucket_root).read_sample("param1/run")


def test_a_document_larger_than_is_to_be_read_is_refused(made_root: str, bucket_environment: None) -> None:
    storage = open_storage(made_root, BucketAccess().model_copy(update={"document_bytes": 100}))  # less than may be set
    with pytest.raises(InvalidManifest, match=r"manifest\.json is not read: .* 100 are read at most"):
        ZarrChunkReader(storage)
    with pytest.raises(MetadataDamaged, match=r"zarr\.json is not read: .* 100 are read at most") as caught:
        ZarrChunkReader(storage, StoreManifest.load(made_root)).read_sample("param0/run")
    assert caught.value.sample == "param0/run"


def test_a_place_without_a_store_is_not_found(bucket: Bucket, bucket_environment: None) -> None:
    with pytest.raises(StoreNotFound, match="there is no store at s3://cars/nothing"):
        ZarrChunkReader(f"s3://{bucket.name}/nothing")


def test_wrong_credentials_are_an_unreadable_store_and_are_not_shown(
    bucket_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    with pytest.raises(StoreUnreadable, match="cannot be read") as caught:
        ZarrChunkReader(bucket_root)
    assert "hunter2" not in str(caught.value)
