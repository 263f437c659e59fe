"""Commands on a store that exists, as their users see them."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from conftest import FILEMAP, REPOSITORY, sample_arrays
from drawpoint.format.manifest import DomainSample
from drawpoint_store import StoreManifest, ZarrStoreWriter
from drawpoint_store.inspecting.summary import describe_store, draw_cost
from trees import write_runs

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command


def test_a_store_is_described_in_words_and_as_json(root: Path, command: Command) -> None:
    lines = command("info", root).out.splitlines()
    assert lines[1:4] == ["dataset     made", f"revision    {StoreManifest.load(root).revision}", "samples     2"]
    values = 2 * (1_500 * 28 + 10_000 * 28)
    stored = sum(file.stat().st_size for file in root.rglob("*") if file.is_file() and file.name != "manifest.json")
    assert lines[4] == f"values      {values / 1e3:.1f} kB, {stored / 1e3:.1f} kB stored (blosc-zstd-5)"
    assert lines[5] == "splits      none"
    assert lines[6] == f"statistics  none; `drawpoint stats {root}` writes them"
    assert "surface: 1,500 points, in chunks of 256, one shard an array" in lines
    assert "  volume_velocity              float16 x 3    6 bytes a point" in lines
    assert lines.count("  all fields                                 28 bytes a point") == 2
    document = json.loads(command("info", root, "--json").out)
    assert document == describe_store(root)
    assert document["domains"]["surface"]["points"] == {"min": 1500, "median": 1500, "max": 1500, "total": 3000}


def test_splits_and_statistics_are_shown_with_their_state(root: Path, command: Command) -> None:
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("param0/run\ngone\n")
    (root / "val_design_ids.txt").write_text("param1/run\n")
    command("stats", root, "--split", "val")
    shown = command("info", root).out
    assert "splits      train (2, 1 not in the store), val (1)\nstatistics  fresh, of 1 sample, split val\n" in shown
    manifest = StoreManifest.load(root)
    del manifest.samples["param0/run"]
    manifest.save(root)
    stale = f"stale, of another revision; `drawpoint stats {root} --split val` writes them again\n"
    assert f"statistics  {stale}" in command("info", root).out
    (root / "statistics.json").write_text("{")
    assert f"statistics  damaged; `drawpoint stats {root}` writes them again\n" in command("info", root).out


def test_spread_grids_and_absent_domains_are_shown(tmp_path: Path, command: Command) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "spread", chunk_points=256, shard_points=256)
    for number, count in enumerate((100, 300, 700, 700)):
        arrays = {f: rows[:count] for f, rows in sample_arrays().items() if f.startswith("surface")}
        writer.write_sample(f"run_{number}", arrays)
    writer.save_manifest()
    lines = command("info", tmp_path).out.splitlines()
    assert "surface: 100 to 700 points (median 300), in chunks of 100 or 256, up to 3 shards an array" in lines
    assert "volume: no sample has it" in lines
    writer.write_sample("run_9", sample_arrays())
    writer.save_manifest()
    assert "\nvolume: in 1 sample, 10,000 points" in command("info", tmp_path).out


def test_remote_stores_are_not_weighed_and_smaller_chunks_are_advised_where_draws_waste_most(command: Command) -> None:
    root = f"memory://info-{secrets.token_hex(8)}"
    writer = ZarrStoreWriter(root, FILEMAP, "remote", chunk_points=4096)
    writer.write_sample("a", sample_arrays())
    writer.save_manifest()
    shown = command("info", root).out
    assert "values      322.0 kB\n" in shown
    assert shown.count("smaller chunks are cheaper: convert with --chunk-points 1024") == 1


def test_the_cost_of_a_draw_is_that_of_its_chunks() -> None:
    whole = DomainSample(n_points=40_960, chunk_points=4096, shard_points=40_960, n_chunks=10)
    for num_points, chunks, amplification in ((4096, 1.0, 1.0), (1024, 1.0, 4.0), (4097, 2.0, 2.0)):
        cost = {"num_points": num_points, "chunks": chunks, "amplification": amplification}
        assert draw_cost(whole, num_points) == cost
    short = DomainSample(n_points=4196, chunk_points=4096, shard_points=8192, n_chunks=2)
    assert 1.0 < draw_cost(short, 1_000)["chunks"] < 2.0  # the short chunk is needed now and then


def test_a_whole_store_has_no_problem_and_leftovers_are_a_remark(root: Path, command: Command) -> None:
    chunks = 2 * (5 * 6 + 5 * 40)  # 1,500 and 10,000 points in chunks of 256, five fields each, two samples
    whole = f"2 samples, {chunks} chunks: no problem\n"
    assert command("verify", root) == (0, whole, "")
    shutil.copytree(root / "param0/run.zarr", root / "param0/run.r1.zarr")
    ended = command("verify", root)
    assert ended.status == 0
    assert ended.out.startswith("remark: 1 path that the manifest does not refer to")
    assert ended.out.endswith(f": param0/run.r1.zarr\n{whole}")


def test_all_problems_are_printed_and_samples_without_a_digest_counted(root: Path, command: Command) -> None:
    shard = root / "param0/run.zarr/surface/pressure/c/0/0"
    data = bytearray(shard.read_bytes())
    data[20] ^= 1
    shard.write_bytes(data)
    (root / "param1/run.zarr/volume/sdf/c/0/0").unlink()
    document = json.loads((root / "manifest.json").read_text())
    del document["samples"]["param0/run"]["digest"]
    (root / "manifest.json").write_text(json.dumps(document))
    ended = command("verify", root, "--workers", "2")
    assert ended.status == 1
    first, second, remark = ended.out.splitlines()
    assert first.startswith("chunk 0 of surface_pressure in sample 'param0/run' is damaged: its checksum")
    assert second.startswith("chunk 0 of volume_sdf in sample 'param1/run' is missing")
    assert remark == "remark: 1 of 2 samples without a digest: values that were replaced are not found"
    assert ended.err == (
        "drawpoint verify: 2 problems in 2 of 2 samples; restore what is damaged from a copy or convert it again.\n"
    )


@pytest.fixture
def runs(tmp_path: Path, command: Command) -> Path:
    """Two runs, and the store `made` that was converted from them."""
    write_runs(tmp_path / "runs", 2)
    assert command("convert", tmp_path / "runs", tmp_path / "made", "--workers", "1").status == 0
    return tmp_path / "runs"


def test_a_store_is_compared_with_its_source(runs: Path, command: Command) -> None:
    verify = ("verify", runs.parent / "made", "--source", runs)
    assert command(*verify) == (0, f"2 samples, 8 chunks: no problem\n2 samples, 8,000 values: as in {runs}\n", "")
    (runs.parent / "map.toml").write_text('surface_position = "surface_position.pt"\n')
    ended = command(*verify, "--filemap", runs.parent / "map.toml")
    assert ended.status == 1
    assert "surface_pressure is in the store, and not in the source" in ended.out
    pressure = torch.load(runs / "run_1" / "surface_pressure.pt", weights_only=True)
    pressure[17] = 9.5
    torch.save(pressure, runs / "run_1" / "surface_pressure.pt")
    shutil.rmtree(runs / "run_0")
    torch.save(torch.zeros(700), runs / "run_1" / "volume_pressure.pt")
    ended = command(*verify)
    assert ended.status == 1
    assert re.fullmatch(
        r"2 samples, 8 chunks: no problem\n"
        r"volume_pressure is in the source, and not in the store\n"
        r"sample 'run_0' is in the store, and not in the source\n"
        r"surface_pressure of sample 'run_1' differs in 1 of 300 rows, the first is row 17 of the source: the "
        r"store has \S+, the source 9\.5 \(as float16\)\n",
        ended.out,
    )
    assert ended.err == (
        f"drawpoint verify: 3 differences from {runs}, in 2 of 2 samples; convert again what differs, or name the "
        "source and the file map or recipe that the store was converted from.\n"
    )


def test_another_writers_order_is_a_remark(runs: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drawpoint_store.inspecting.comparison.shuffle_order", lambda *name: np.arange(name[-1]))
    ended = command("verify", runs.parent / "made", "--source", runs)
    assert ended.status == 0
    assert "remark: 2 of 2 samples in the order of another writer: rows were matched by position" in ended.out


def test_a_source_that_cannot_be_read_is_one_sentence_before_anything_is_verified(
    runs: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = command("verify", runs.parent / "made", "--source", runs / "gone")
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    ended = command("verify", runs.parent / "made", "--source", runs)
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "torch, which reads the source's files, is not installed: run `pip install '.[convert]'`" in ended.err


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store of drawpoint 0.1, byte for byte."""
    with zipfile.ZipFile(REPOSITORY / "tests/store/data/stores_of_0.1.zip") as stored:
        stored.extractall(tmp_path)
    return tmp_path / "level0"


def test_info_and_verify_name_upgrade_as_the_remedy_and_it_is(old: Path, command: Command) -> None:
    remedy = f"`drawpoint upgrade {old}` adds them"
    assert f"samples     2, 2 without tables of checksums: {remedy}\n" in command("info", old).out
    verified = command("verify", old)
    assert (verified.status, verified.err) == (0, "")
    assert verified.out.startswith("remark: 2 of 2 samples without tables of checksums, so that reads take a chunk")
    assert remedy in verified.out
    assert command("stats", old).status == 0
    first = command("upgrade", old, "--workers", 2)
    assert (first.status, first.err) == (0, "")
    assert first.out.startswith("2 samples upgraded; the store is at revision ")
    assert command("verify", old).out == "2 samples, 32 chunks: no problem\n"
    info = command("info", old).out
    assert "samples     2\n" in info
    assert "statistics  fresh, of 2 samples\n" in info
    second = command("upgrade", old)
    assert second.out == first.out.replace("2 samples upgraded;", "0 samples upgraded, 2 had been before;")


def test_damage_that_an_upgrade_finds_is_named_and_the_status_is_1(old: Path, command: Command) -> None:
    (old / "param0/run.zarr/volume/velocity/c/1/0").unlink()
    ended = command("upgrade", old)
    assert ended.status == 1
    assert ended.out.startswith("1 sample upgraded; ")
    first, last = ended.err.splitlines()
    assert first.startswith("damaged: chunk 2 of volume_velocity in sample 'param0/run' is missing")
    assert last.startswith("drawpoint upgrade: 1 sample damaged and left as it was; restore")


def test_leftovers_are_listed_then_removed_with_delete_once_they_are_old_enough(root: Path, command: Command) -> None:
    shutil.copytree(root / "param0/run.zarr", root / "a.zarr")
    ended = command("prune", root, "--older-than", "0")
    assert re.fullmatch(
        r"old     a\.zarr, changed \d+ [smh] ago\n1 path of 1 would be removed: repeat it with --delete\n", ended.out
    )
    assert command("prune", root, "--delete").out.endswith("0 paths removed, 1 left\n")
    assert (root / "a.zarr").exists()
    ended = command("prune", root, "--delete", "--older-than", "0")
    assert (ended.status, ended.out.endswith("1 path removed, 0 left\n")) == (0, True)
    assert not (root / "a.zarr").exists()
    assert command("prune", root) == (0, "nothing that the manifest does not name\n", "")


@pytest.mark.parametrize("age", ["", "7", "-1d", "1y", "d", "1.5h", "9999999999d"])
def test_an_invalid_age_is_wrong_usage(root: Path, command: Command, age: str) -> None:
    ended = command("prune", root, f"--older-than={age}")
    assert ended.status == 2
    assert f"{age!r} is no age such as 12h or 7d" in ended.err
