"""The same input gives the same bytes, and other input a revision beside the old one."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import COUNTS, FILEMAP, sample_arrays
from drawpoint_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from small import SMALL, files_of, small_arrays, small_writer


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


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import pickle, sys; from drawpoint_store import ZarrStoreWriter\n"
        "kwargs, arrays = pickle.load(sys.stdin.buffer)\n"
        "writer = ZarrStoreWriter(**kwargs); writer.write_sample('run', arrays); writer.save_manifest()\n"
        "assert 'torch' not in sys.modules\n"
    )
    writer = small_writer(tmp_path / "here", field_dtypes={"volume_velocity": "float32"})
    writer.write_sample("run", small_arrays())
    writer.save_manifest()
    kwargs = writer.to_init_kwargs() | {"store_root": str(tmp_path / "there")}
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps((kwargs, small_arrays())), check=True)
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


def test_a_writer_is_rebuilt_from_its_arguments(tmp_path: Path) -> None:
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
    }
    kwargs = ZarrStoreWriter(**given).to_init_kwargs()
    assert kwargs == given
    other = ZarrStoreWriter(**pickle.loads(pickle.dumps(kwargs)))
    assert other.to_init_kwargs() == given
    for name in given.keys() - {"shuffle_seed", "dataset_name"}:
        assert getattr(other, name) == given[name]
    assert (other.manifest.shuffle_seed, other.manifest.dataset_name) == (9, "made")
    assert other.manifest.to_json() == ZarrStoreWriter(**given).manifest.to_json()
    assert other.manifest.domains == other.layouts


def test_the_defaults_are_those_of_the_format(tmp_path: Path) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "made")
    assert (writer.chunk_points, writer.shard_points, writer.compression_level) == (4096, None, 5)
    assert (writer.coords_dtype, writer.values_dtype, writer.manifest.shuffle_seed) == ("float32", "float16", 0)
    assert writer.grid(100_000).chunk_points == 4096
    assert writer.grid(COUNTS["surface"]).chunk_points == COUNTS["surface"]


def written(root: Path, seed: int, **others: int) -> ZarrStoreWriter:
    writer = small_writer(root)
    for sample_id, each in {"run": seed, **others}.items():
        writer.write_sample(sample_id, small_arrays(seed=each))
    writer.save_manifest()
    return writer


def test_a_sample_written_anew_lies_beside_the_old_one_and_changes_the_revision(tmp_path: Path) -> None:
    written(tmp_path, 0, other=1)
    old = ZarrChunkReader(tmp_path)
    before = old.read_sample("run")["surface_pressure"]
    written(tmp_path, 5, other=1)
    new = ZarrChunkReader(tmp_path)
    assert new.manifest.revision != old.manifest.revision
    assert new.manifest.samples["run"].relpath != old.manifest.samples["run"].relpath
    assert new.manifest.samples["run"].digest != old.manifest.samples["run"].digest
    assert not torch.equal(new.read_sample("run")["surface_pressure"], before)
    fresh = ZarrChunkReader(tmp_path, old.manifest)  # has nothing of it in memory
    assert torch.equal(fresh.read_sample("run")["surface_pressure"], before)
    assert torch.equal(old.read_sample("run")["surface_pressure"], before)


def test_the_same_values_written_anew_have_the_same_digest(tmp_path: Path) -> None:
    one, other = (written(tmp_path, 0).manifest.samples["run"] for _ in range(2))
    assert one.digest == other.digest
    assert one.relpath != other.relpath


def test_no_path_is_used_again_however_often_a_sample_is_written_anew(tmp_path: Path) -> None:
    relpaths = [written(tmp_path, seed).manifest.samples["run"].relpath for seed in range(4)]
    assert len(set(relpaths)) == 4
    assert relpaths[0] == "run.zarr"
    assert all(relpath.endswith(".zarr") for relpath in relpaths)


def test_the_same_writer_writes_anew_beside_what_it_has_published(tmp_path: Path) -> None:
    writer = written(tmp_path, 0)
    old = ZarrChunkReader(tmp_path)
    before = files_of(tmp_path / "run.zarr")
    writer.write_sample("run", small_arrays(seed=3))
    assert files_of(tmp_path / "run.zarr") == before
    writer.save_manifest()
    assert old.manifest.revision != writer.manifest.revision
    assert writer.manifest.samples["run"].relpath == "run.rewritten-1.zarr"


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


def test_the_manifest_says_how_values_were_stored(tmp_path: Path) -> None:
    written(tmp_path, 0)
    manifest = StoreManifest.load(tmp_path)
    assert re.match("blosc-zstd", manifest.compressor)
    assert (manifest.dataset_name, manifest.shuffle_seed, manifest.format_version) == ("made", 0, 1)
    assert manifest.fields["volume_velocity"].dtype == "float16"
    assert manifest.fields["volume_position"].dtype == "float32"


def test_a_store_in_memory_is_written_and_read(tmp_path: Path) -> None:
    root = f"memory://{tmp_path.name}"
    writer = ZarrStoreWriter(root, SMALL, "made", chunk_points=4)
    writer.write_sample("param0/run", small_arrays())
    assert writer.save_manifest() == f"{root}/manifest.json"
    reference = small_writer(tmp_path)
    reference.write_sample("param0/run", small_arrays())
    there, here = ZarrChunkReader(root), ZarrChunkReader(tmp_path, reference.manifest)
    assert there.manifest.to_json() == reference.manifest.to_json()
    for num_points in (None, {"surface": 3, "volume": 9}):
        one, other = (
            there.read_sample("param0/run", num_points, seed=1),
            here.read_sample("param0/run", num_points, seed=1),
        )
        assert one.keys() == other.keys()
        assert all(torch.equal(one[field], other[field]) for field in one)
    writer.write_sample("param0/run", small_arrays(seed=1))
    assert writer.manifest.samples["param0/run"].relpath != "param0/run.zarr"
