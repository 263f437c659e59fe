"""Stores of the other implementation of the format are read here, and ours are read by plain zarr-python.

A shard of zeros has no object there: zarr-python, our readers and the service see zeros. What is there by our own
writer's word stays damage when it is gone, and so does a group whose metadata is gone: an outage, a lost bucket or a
lost folder is never read as zeros.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import drawpoint
from conftest import REPOSITORY
from drawpoint.draw.rows import row_indices
from drawpoint.errors import ChunkMissing, DataDamaged, MetadataDamaged, StoreUnreadable
from drawpoint_cli.__main__ import main
from drawpoint_store import (
    FileMap,
    StoreManifest,
    ZarrChunkReader,
    ZarrStoreWriter,
    build_domain_layouts,
    calculate_store_statistics,
    make_store,
)
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.reading.plan import plan_coords, plan_sample
from drawpoint_store.storage import BucketAccess, bucket_storage, open_storage
from drawpoint_store.storage.bucket_access import open_client
from drawpoint_store.storage.disk_cache import DiskCache
from foreign import read_planned, write_foreign
from live import LiveService
from s3 import Bucket, upload
from small import same, small_arrays, small_writer

FILEMAP = FileMap(surface_position="p", surface_pressure="q", surface_friction="f", surface_area="a")
LAYOUTS = build_domain_layouts(FILEMAP)
POINTS, CHUNK, SHARD = 1000, 64, 256
SAMPLE = "param0/run"
SHARDS_ABSENT, CHUNKS_ABSENT = 6, 4 + 4 + 1 + 16
DRAWS: list[dict[str, Any]] = [
    {"seed": 0},
    {"num_points": {"surface": 300}, "seed": 1},
    {"num_points": {"surface": 1}, "seed": 2},
    {"num_points": {"surface": 300}, "seed": 3, "part": 2},
]


def values_of(fill: float) -> dict[str, np.ndarray[Any, Any]]:
    """Return fields of which one is whole, one lacks its second and last shard, one chunks, and one everything."""
    rng = np.random.default_rng(5)
    values = {
        field: rng.standard_normal((POINTS, layout.dim)).astype(layout.dtype)
        for field, layout in LAYOUTS["surface"].arrays.items()
    }
    values["surface_pressure"][SHARD : 2 * SHARD] = fill
    values["surface_pressure"][3 * SHARD :] = fill
    values["surface_friction"][:CHUNK] = fill
    values["surface_area"][:] = fill
    return values


def write(root: Path, fill: float = 0.0, **options: Any) -> Path:
    return write_foreign(root, {SAMPLE: values_of(fill)}, LAYOUTS, chunk=CHUNK, shard=SHARD, fill_value=fill, **options)


def assert_reads(reader: Any, fill: float = 0.0) -> None:
    """Check each draw against the rows that were written."""
    values = values_of(fill)
    for draw in DRAWS * 2:  # the second time with what the first one keeps in memory
        plan = plan_sample(reader.manifest, SAMPLE, draw.get("num_points"), seed=draw["seed"], part=draw.get("part"))
        found = reader.read_sample(SAMPLE, **draw)
        assert found.keys() == values.keys()
        for field, array in plan.arrays.items():
            expected = values[field][row_indices(array.draw.rows, CHUNK)].reshape(array.shape)
            np.testing.assert_array_equal(found[field].numpy(), expected.astype(np.float32))
    plan = plan_coords(reader.manifest, SAMPLE, {"surface": 100}, seed=7)
    rows = row_indices(plan.draws["surface"].rows, CHUNK)
    coords = reader.read_coords(SAMPLE, "surface", 100, seed=7)
    np.testing.assert_array_equal(coords.numpy(), values["surface_position"][rows])


KINDS: dict[str, dict[str, Any]] = {
    "as noether writes": {},
    "without consolidated metadata": {"consolidated": False},
    "with another fill value": {"fill": -2.5},
    "filled with NaN": {"fill": float("nan")},
    "filled with infinity": {"fill": float("inf")},
    "without compression": {"compressors": None},
    "unsharded, which zarr-python reads": {"sharded": False},
    "unsharded, with another fill value": {"sharded": False, "fill": 3.0},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_what_was_left_out_reads_as_the_fill_value(tmp_path: Path, options: dict[str, Any]) -> None:
    root, fill = write(tmp_path, **options), options.get("fill", 0.0)
    array: Any = zarr.open_array(root / f"{SAMPLE}.zarr" / "surface/area", mode="r")
    np.testing.assert_array_equal(array[...], values_of(fill)["surface_area"])
    assert not list((root / f"{SAMPLE}.zarr" / "surface/area").glob("c/**/0"))
    assert_reads(ZarrChunkReader(root), fill)
    assert_reads(ZarrChunkReader(root, read_concurrency=4), fill)
    assert_reads(ZarrChunkReader(root, store_factory=open_read_only), fill)


def test_a_fill_value_written_in_hexadecimal_is_honoured(tmp_path: Path) -> None:
    root = write(tmp_path, fill=-2.5, consolidated=False)
    for path in root.rglob("zarr.json"):
        text = path.read_text()
        path.write_text(text.replace("-2.5", '"0xc100"' if "float16" in text else '"0xc0200000"'))
    assert_reads(ZarrChunkReader(root), -2.5)


def test_a_service_sends_it_with_and_without_a_cache(tmp_path: Path) -> None:
    root = write(tmp_path)
    expected = ZarrChunkReader(root).read_sample(SAMPLE, {"surface": 300}, seed=1)
    for chunk_cache_bytes in (0, 2**20):
        with LiveService({"foreign": ZarrChunkReader(root, chunk_cache_bytes=chunk_cache_bytes)}) as service:
            reader = drawpoint.connect(service.url).store("foreign")
            assert_reads(reader)
            (found,) = reader.read_batch([{"id": SAMPLE, "seed": 1}], {"surface": 300})
            assert isinstance(found, dict)
            assert same(found, expected)


@pytest.mark.parametrize(("sharded", "absent"), [(True, SHARDS_ABSENT), (False, CHUNKS_ABSENT)])
def test_verify_and_statistics_count_it_and_say_that_it_cannot_be_told_from_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sharded: bool, absent: int
) -> None:
    root = write(tmp_path, sharded=sharded)
    check = next(verify_store(root))
    assert (check.n_absent, check.problems) == (absent, ())
    assert main(["verify", str(root)]) == 0
    told = capsys.readouterr().out
    assert f"remark: {absent} shards without an object, read as the fill value" in told
    assert "a lost shard is not noticed there" in told
    found = calculate_store_statistics(root)
    for field, values in values_of(0.0).items():
        assert found[field].count == POINTS
        np.testing.assert_allclose(found[field].mean, values.astype(np.float64).mean(axis=0))
        np.testing.assert_array_equal(found[field].max, values.max(axis=0))


# What stays damage


def test_a_lost_shard_of_our_own_writer_is_missing(tmp_path: Path) -> None:
    writer = small_writer(tmp_path, shard_points=4)
    writer.write_sample(SAMPLE, small_arrays() | {"surface_pressure": np.zeros(10)})
    writer.save_manifest()
    shards = tmp_path / f"{SAMPLE}.zarr/surface/pressure/c"
    assert sorted(path.name for path in shards.iterdir()) == ["0", "1", "2"]  # zeros are stored
    assert next(verify_store(tmp_path)).n_absent == 0
    shutil.rmtree(shards / "1")
    with pytest.raises(ChunkMissing, match="surface_pressure"):
        ZarrChunkReader(tmp_path).read_sample(SAMPLE)
    check = next(verify_store(tmp_path))
    assert (check.n_absent, len(check.problems)) == (0, 1)


def open_read_only(path: str) -> Any:
    return make_store(path, read_only=True)


LOSSES: dict[str, Callable[[Path], Any]] = {
    "its group": shutil.rmtree,
    "the group's zarr.json": lambda group: (group / "zarr.json").unlink(),
    "the folder of an array": lambda group: shutil.rmtree(group / "surface/area"),
    "the zarr.json of an array": lambda group: (group / "surface/area/zarr.json").unlink(),
}


@pytest.mark.parametrize(
    "kind", ["as noether writes", "without consolidated metadata", "unsharded, which zarr-python reads"]
)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
@pytest.mark.parametrize("factory", [None, open_read_only], ids=["direct", "through a store"])
def test_the_loss_of_what_describes_it_is_damage(
    tmp_path: Path, kind: str, loss: str, is_open: bool, factory: Any
) -> None:
    root = write(tmp_path, **KINDS[kind])
    reader = ZarrChunkReader(root) if factory is None else ZarrChunkReader(root, store_factory=factory)
    if is_open:
        reader.read_sample(SAMPLE, fields=["surface_position"])
    LOSSES[loss](root / f"{SAMPLE}.zarr")
    with pytest.raises(DataDamaged, match=SAMPLE):
        reader.read_sample(SAMPLE, fields=["surface_area"])


def test_a_link_whose_file_is_gone_is_no_absent_shard(tmp_path: Path) -> None:
    root = write(tmp_path)
    shard = root / f"{SAMPLE}.zarr/surface/area/c/0/0"
    shard.parent.mkdir(parents=True)
    shard.symlink_to(tmp_path / "annex")
    with pytest.raises(DataDamaged, match="surface_area"):
        ZarrChunkReader(root).read_sample(SAMPLE)


def test_a_group_that_takes_the_place_of_an_open_one_is_noticed(tmp_path: Path) -> None:
    root = write(tmp_path)
    reader = ZarrChunkReader(root)
    reader.read_sample(SAMPLE, fields=["surface_position"])
    shutil.rmtree(root / f"{SAMPLE}.zarr")
    write(root)
    with pytest.raises(StoreUnreadable, match="replaced"):
        reader.read_sample(SAMPLE, fields=["surface_area"])
    assert_reads(reader)


def test_a_manifest_that_disagrees_with_its_arrays_is_damage_of_that_sample_alone(tmp_path: Path) -> None:
    root = write_foreign(tmp_path, dict.fromkeys(("a", "b"), values_of(0.0)), LAYOUTS, chunk=CHUNK)
    content = json.loads((root / "manifest.json").read_text())
    content["samples"]["a"]["domains"]["surface"]["n_points"] -= 1
    (root / "manifest.json").write_text(json.dumps(content))
    reader = ZarrChunkReader(root)
    with pytest.raises(MetadataDamaged, match="sample 'a'") as caught:
        reader.read_sample("a", {"surface": 10}, seed=1)
    assert caught.value.sample == "a"
    assert reader.read_sample("b", {"surface": 10}, seed=1)


def test_a_sample_can_be_added_and_the_old_ones_stay(tmp_path: Path) -> None:
    root = write(tmp_path)
    old = ZarrChunkReader(root)
    writer = ZarrStoreWriter(root, FILEMAP, "foreign", chunk_points=CHUNK)
    writer.manifest.samples.update(old.manifest.samples)
    fewer = {field: rows[: POINTS // 2] for field, rows in values_of(1.0).items()}
    for sample_id in ("param2/new", SAMPLE):
        writer.write_sample(sample_id, fewer)
    writer.save_manifest()
    new = ZarrChunkReader(root)
    assert list(new.manifest.samples) == [SAMPLE, "param2/new"]
    assert new.read_sample(SAMPLE)["surface_pressure"].shape == (POINTS // 2,)
    assert_reads(old)


def _real_foreign_store() -> Path:
    named = os.environ.get("DRAWPOINT_FOREIGN_STORE")
    return Path(named) if named else REPOSITORY.parent / "shared" / "data" / "noether_store"


@pytest.mark.skipif(
    not (_real_foreign_store() / "manifest.json").is_file(),
    reason="there is no store of the other implementation: name one in DRAWPOINT_FOREIGN_STORE",
)
def test_a_store_that_the_other_implementation_wrote_is_read() -> None:
    root = _real_foreign_store()
    reader = ZarrChunkReader(root, read_concurrency=2)
    assert len(reader.manifest.samples) > 0
    for sample_id, entry in reader.manifest.samples.items():
        for num_points in (None, {domain: max(1, grid.n_points // 3) for domain, grid in entry.domains.items()}):
            expected = read_planned(root, plan_sample(reader.manifest, sample_id, num_points, seed=5))
            read = reader.read_sample(sample_id, num_points, seed=5)
            assert read.keys() == expected.keys()
            for field, rows in expected.items():
                np.testing.assert_array_equal(read[field].numpy(), rows.astype(np.float32))


# In a bucket


@pytest.fixture
def bucket_root(bucket: Bucket, bucket_environment: None, tmp_path: Path) -> str:
    return upload(write(tmp_path / "foreign"), f"s3://{bucket.name}/{tmp_path.name}")


@pytest.mark.parametrize("sharded", [True, False])
def test_a_bucket_holds_it_too_and_one_client_reads_it(
    bucket: Bucket, bucket_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharded: bool
) -> None:
    root = upload(write(tmp_path / "foreign", sharded=sharded), f"s3://{bucket.name}/{tmp_path.name}")
    opened: list[str] = []

    def open_counted(root: str, *arguments: Any, **options: Any) -> Any:
        opened.append(root)
        return open_client(root, *arguments, **options)

    monkeypatch.setattr(bucket_storage, "open_client", open_counted)
    assert_reads(ZarrChunkReader(root))
    assert opened == [root]
    assert next(verify_store(root)).n_absent == (SHARDS_ABSENT if sharded else CHUNKS_ABSENT)
    assert list(calculate_store_statistics(root)["surface_area"].max) == [0.0]
    if not sharded:
        return
    assert_reads(ZarrChunkReader(root, store_factory=open_read_only))
    cache = DiskCache(tmp_path / "cache", 2**20)
    options: list[dict[str, Any]] = [{"chunk_cache_bytes": 2**20}, {"disk_cache": cache}, {"disk_cache": cache}]
    for caches in options:
        assert_reads(ZarrChunkReader(root, **caches))
    with LiveService({"foreign": root}) as service:
        assert_reads(drawpoint.connect(service.url).store("foreign"))


def test_its_loss_is_no_absence_even_where_a_disk_remembers_it(bucket_root: str, tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", 2**20)
    opened = ZarrChunkReader(bucket_root, disk_cache=cache)
    opened.read_sample(SAMPLE)
    client = open_client(bucket_root)
    client.delete([entry["path"] for page in client.list(f"{SAMPLE}.zarr") for entry in page])
    for manifest in (opened.manifest, StoreManifest.load(bucket_root)):
        again = ZarrChunkReader(bucket_root, manifest, disk_cache=cache)
        with pytest.raises(MetadataDamaged, match=r"zarr\.json is missing"):
            again.read_sample(SAMPLE, fields=["surface_area"])


def test_an_outage_and_a_bucket_that_is_gone_are_no_absence(
    bucket: Bucket, bucket_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = StoreManifest.load(bucket_root)
    elsewhere = bucket_root.replace(f"s3://{bucket.name}", "s3://nowhere")
    with pytest.raises(StoreUnreadable):
        ZarrChunkReader(elsewhere, manifest).read_sample(SAMPLE, fields=["surface_area"])
    opened = ZarrChunkReader(bucket_root)
    opened.read_sample(SAMPLE, fields=["surface_position"])
    access = BucketAccess(endpoint="http://127.0.0.1:9", retries=0, deadline_seconds=2)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    reader = ZarrChunkReader(open_storage(bucket_root, access), manifest)
    with pytest.raises(StoreUnreadable):
        reader.read_sample(SAMPLE, fields=["surface_area"])


def test_a_group_in_a_bucket_that_is_rewritten_while_it_is_open_is_noticed(bucket_root: str) -> None:
    reader = ZarrChunkReader(bucket_root)
    reader.read_sample(SAMPLE, fields=["surface_position"])
    client = open_client(bucket_root)
    key = f"{SAMPLE}.zarr/zarr.json"
    document = json.loads(bytes(client.get(key).bytes()))
    client.put(key, json.dumps({**document, "attributes": {"rewritten": True}}).encode())
    with pytest.raises(MetadataDamaged, match="replaced"):
        reader.read_sample(SAMPLE, fields=["surface_area"])
    assert_reads(reader)
