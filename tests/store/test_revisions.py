"""The same input gives the same bytes, and other input a revision beside the old one."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import FILEMAP, sample_arrays
from drawpoint_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from small import SMALL, files_of, same, small_arrays, small_writer


def test_order_restart_and_threads_change_no_byte(tmp_path: Path) -> None:
    samples = {f"param{number}/run": sample_arrays(number) for number in range(4)}

    def write(root: Path, order: list[str], threads: int, *, restart: bool = False) -> dict[str, bytes]:
        kwargs = ZarrStoreWriter(root, FILEMAP, "made", 3, 256, 1024).to_init_kwargs()
        writer = ZarrStoreWriter(**kwargs)
        with ThreadPoolExecutor(threads) as pool:
            if restart:
                writer.write_group(order[0], samples[order[1]])  # what a killed job may have left
                ZarrStoreWriter(**kwargs).write_group(order[2], samples[order[2]])
            entries = list(pool.map(lambda each: writer.write_group(each, samples[each]), order))
        assert len(writer.manifest.samples) == 0
        for sample_id, entry in zip(order, entries, strict=True):
            writer.manifest.samples[sample_id] = entry
        writer.save_manifest()
        return files_of(root)

    reference = write(tmp_path / "serial", sorted(samples), 1)
    assert write(tmp_path / "threads", sorted(samples), 4) == reference
    assert write(tmp_path / "backwards", sorted(samples)[::-1], 2) == reference
    assert write(tmp_path / "restarted", sorted(samples), 1, restart=True) == reference


def test_a_writer_is_rebuilt_from_its_arguments(tmp_path: Path) -> None:
    plain = ZarrStoreWriter(tmp_path, FILEMAP, "made")
    assert (plain.chunk_points, plain.shard_points, plain.compression_level) == (4096, None, 5)
    given: Mapping[str, Any] = {
        "store_root": str(tmp_path),
        "filemap": SMALL,
        "dataset_name": "made",
        "shuffle_seed": 9,
        "chunk_points": 5,
        "shard_points": 20,
        "coords_dtype": "float64",
        "values_dtype": "float32",
        "field_dtypes": {"volume_velocity": "float16"},
        "compression_level": 2,
        "fields": [],
    }
    kwargs = ZarrStoreWriter(**given).to_init_kwargs()
    assert kwargs == given
    other = ZarrStoreWriter(**pickle.loads(pickle.dumps(kwargs)))
    for name in given.keys() - {"shuffle_seed", "dataset_name"}:
        assert getattr(other, name) == given[name]
    assert (other.manifest.shuffle_seed, other.manifest.dataset_name) == (9, "made")
    assert other.manifest.to_json() == ZarrStoreWriter(**given).manifest.to_json()
    assert other.manifest.domains == other.layouts


def written(root: Path, seed: int, **others: int) -> ZarrStoreWriter:
    writer = small_writer(root)
    for sample_id, each in {"run": seed, **others}.items():
        writer.write_sample(sample_id, small_arrays(seed=each))
    writer.save_manifest()
    return writer


def test_a_sample_written_anew_lies_beside_the_old_one_and_changes_the_revision(tmp_path: Path) -> None:
    writer = written(tmp_path, 0, other=1)
    old = ZarrChunkReader(tmp_path)
    before = old.read_sample("run")
    entries = [writer.manifest.samples["run"]]
    for seed in (5, 5, 0):
        entries.append(written(tmp_path, seed, other=1).manifest.samples["run"])
        new = ZarrChunkReader(tmp_path)
        assert new.manifest.revision != old.manifest.revision
        assert same(new.read_sample("run"), before) is (seed == 0)
        fresh = ZarrChunkReader(tmp_path, old.manifest)  # has nothing of it in memory
        assert same(fresh.read_sample("run"), before)
        assert same(old.read_sample("run"), before)
    assert entries[0].relpath == "run.zarr"
    assert len({entry.relpath for entry in entries}) == 4  # none is used again
    assert [entry.digest == entries[0].digest for entry in entries] == [True, False, False, True]
    files = files_of(tmp_path / "run.zarr")
    writer.write_sample("run", small_arrays(seed=3))  # the first writer, which has published it
    assert files_of(tmp_path / "run.zarr") == files


def test_what_was_not_published_is_replaced(tmp_path: Path) -> None:
    writer = small_writer(tmp_path / "often")
    entries = [writer.write_group("run", small_arrays(40 - 10 * seed, seed)) for seed in range(3)]
    assert {entry.relpath for entry in entries} == {"run.zarr"}
    small_writer(tmp_path / "once").write_group("run", small_arrays(20, 2))
    assert files_of(tmp_path / "often") == files_of(tmp_path / "once")


def test_a_sample_is_never_written_where_another_one_is_published(tmp_path: Path) -> None:
    writer = written(tmp_path, 0)
    manifest = StoreManifest.load(tmp_path)
    manifest.samples["elsewhere"] = manifest.samples["run"]  # relpath is free
    del manifest.samples["run"]
    manifest.save(tmp_path)
    assert small_writer(tmp_path).write_group("run", small_arrays()).relpath != "run.zarr"
    assert writer.manifest.samples["run"].relpath == "run.zarr"


def test_a_damaged_manifest_at_the_root_stops_the_writer(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="is refused"):
        small_writer(tmp_path).write_group("run", small_arrays())
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
