from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import FILEMAP, sample_arrays
from drawpoint.format.manifest import DomainSample
from drawpoint_store import StoreManifest, ZarrStoreWriter
from drawpoint_store.inspecting.summary import describe_store, draw_cost

Command = Callable[..., Any]


def info(command: Command, root: str | Path) -> list[str]:
    ended = command("info", root)
    assert (ended.status, ended.err) == (0, "")
    return list(ended.out.splitlines())


def test_a_store_is_described_in_words_and_as_json(root: Path, command: Command) -> None:
    lines = info(command, root)
    assert lines[1:4] == ["dataset     made", f"revision    {StoreManifest.load(root).revision}", "samples     2"]
    values = 2 * (1_500 * 28 + 10_000 * 28)
    stored = sum(file.stat().st_size for file in root.rglob("*") if file.is_file() and file.name != "manifest.json")
    assert lines[4] == f"values      {values / 1e3:.1f} kB, {stored / 1e3:.1f} kB stored (blosc-zstd-5)"
    assert lines[5] == "splits      none"
    assert lines[6] == f"statistics  none; `drawpoint stats {root}` writes them"
    assert "surface: 1,500 points, in chunks of 256, one shard an array" in lines
    assert "  volume_velocity              float16 x 3    6 bytes a point" in lines
    assert "  volume_sdf                   float16        2 bytes a point" in lines
    assert lines.count("  all fields                                 28 bytes a point") == 2
    document = json.loads(command("info", root, "--json").out)
    assert document == describe_store(root)
    assert document["domains"]["surface"]["points"] == {"min": 1500, "median": 1500, "max": 1500, "total": 3000}
    described = document["domains"]["volume"]["fields"]["volume_position"]
    assert described == {"dtype": "float32", "dim": 3, "bytes_per_point": 12}


def test_splits_and_statistics_are_shown_with_their_state(root: Path, command: Command) -> None:
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("param0/run\ngone\n")
    (root / "val_design_ids.txt").write_text("param1/run\n")
    command("stats", root, "--split", "val")
    lines = info(command, root)
    assert "splits      train (2, 1 not in the store), val (1)" in lines
    assert "statistics  fresh, of 1 sample, split val" in lines
    manifest = StoreManifest.load(root)
    del manifest.samples["param0/run"]
    manifest.save(root)
    renew = f"`drawpoint stats {root}` writes them again"
    assert f"statistics  stale, of another revision; {renew}" in info(command, root)
    (root / "statistics.json").write_text(json.dumps({"revision": manifest.revision, "fields": {}}))
    assert "statistics  fresh" in info(command, root)
    (root / "statistics.json").write_text("{")
    assert f"statistics  damaged; {renew}" in info(command, root)


def test_spread_grids_and_absent_domains_are_shown(tmp_path: Path, command: Command) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "spread", chunk_points=256, shard_points=256)
    for number, count in enumerate((100, 300, 700, 700)):
        arrays = {f: rows[:count] for f, rows in sample_arrays().items() if f.startswith("surface")}
        writer.write_sample(f"run_{number}", arrays)
    writer.save_manifest()
    lines = info(command, tmp_path)
    assert "surface: 100 to 700 points (median 300), in chunks of 100 or 256, up to 3 shards an array" in lines
    assert "volume: no sample has it" in lines
    del writer.manifest.samples["run_0"]
    writer.write_sample("run_9", sample_arrays())
    writer.save_manifest()
    assert any(line.startswith("volume: in 1 sample, 10,000 points") for line in info(command, tmp_path))


def test_remote_stores_are_not_weighed_and_smaller_chunks_are_advised_where_draws_waste_most(command: Command) -> None:
    root = f"memory://info-{secrets.token_hex(8)}"
    writer = ZarrStoreWriter(root, FILEMAP, "remote", chunk_points=4096)
    writer.write_sample("a", sample_arrays())
    writer.save_manifest()
    lines = info(command, root)
    assert "values      322.0 kB" in lines
    assert sum("smaller chunks are cheaper: convert with --chunk-points 1024" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("points", "num_points", "chunks", "amplification"),
    [
        # Whole chunks and no short one: as many as the points need, whatever the draw.
        (40_960, 4096, 1.0, 1.0),
        (40_960, 1024, 1.0, 4.0),
        (40_960, 16384, 4.0, 1.0),
        (40_960, 4097, 2.0, 2.0),
    ],
)
def test_the_cost_of_a_draw_is_that_of_its_chunks(
    points: int, num_points: int, chunks: float, amplification: float
) -> None:
    grid = DomainSample(n_points=points, chunk_points=4096, shard_points=points, n_chunks=-(-points // 4096))
    assert draw_cost(grid, num_points) == {"num_points": num_points, "chunks": chunks, "amplification": amplification}


def test_a_draw_that_needs_the_short_last_chunk_now_and_then_costs_in_between() -> None:
    grid = DomainSample(n_points=4196, chunk_points=4096, shard_points=8192, n_chunks=2)
    assert 1.0 < draw_cost(grid, 1_000)["chunks"] < 2.0
