from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import FILEMAP, sample_arrays
from drawpoint.format.manifest import DomainSample
from drawpoint_cli.__main__ import main
from drawpoint_store import StoreManifest, ZarrStoreWriter
from drawpoint_store.inspecting.summary import describe_store, draw_cost


@pytest.fixture
def root(store_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_root, tmp_path / "store"))


def info(root: str | Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["info", str(root)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "{" not in out
    return out.splitlines()


def test_the_store_is_described(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = info(root, capsys)
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


def test_splits_and_statistics_are_shown_with_their_state(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("param0/run\ngone\n")
    (root / "val_design_ids.txt").write_text("param1/run\n")
    assert "splits      train (2, 1 not in the store), val (1)" in info(root, capsys)
    main(["stats", str(root), "--split", "val"])
    capsys.readouterr()
    assert "statistics  fresh, of 1 sample, split val" in info(root, capsys)
    manifest = StoreManifest.load(root)
    del manifest.samples["param0/run"]
    manifest.save(root)
    stale = f"statistics  stale, of another revision; `drawpoint stats {root}` writes them anew"
    assert stale in info(root, capsys)
    revision = StoreManifest.load(root).revision
    (root / "statistics.json").write_text(json.dumps({"revision": revision, "fields": {}}))
    assert "statistics  fresh" in info(root, capsys)
    (root / "statistics.json").write_text("{")
    assert f"statistics  damaged; `drawpoint stats {root}` writes them anew" in info(root, capsys)


def test_json_holds_the_same(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(root), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == describe_store(root)
    assert document["domains"]["surface"]["points"] == {"min": 1500, "median": 1500, "max": 1500, "total": 3000}
    assert document["domains"]["volume"]["fields"]["volume_position"] == {
        "dtype": "float32",
        "dim": 3,
        "bytes_per_point": 12,
    }


def test_spread_grids_and_absent_domains_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "spread", chunk_points=256, shard_points=256)
    for number, count in enumerate((100, 300, 700, 700)):
        arrays = {f: rows[:count] for f, rows in sample_arrays().items() if f.startswith("surface")}
        writer.write_sample(f"run_{number}", arrays)
    writer.save_manifest()
    lines = info(tmp_path, capsys)
    assert "surface: 100 to 700 points (median 300), in chunks of 100 or 256, up to 3 shards an array" in lines
    assert "volume: no sample has it" in lines
    del writer.manifest.samples["run_0"]
    writer.write_sample("run_9", sample_arrays())
    writer.save_manifest()
    assert any(line.startswith("volume: in 1 sample, 10,000 points") for line in info(tmp_path, capsys))


def test_stores_elsewhere_are_not_weighed(capsys: pytest.CaptureFixture[str]) -> None:
    root = f"memory://info-{secrets.token_hex(8)}"
    writer = ZarrStoreWriter(root, FILEMAP, "remote")
    writer.write_sample("a", sample_arrays())
    writer.save_manifest()
    assert "values      322.0 kB" in info(root, capsys)


@pytest.mark.parametrize(
    ("grid", "num_points", "expected"),
    [
        # Whole chunks and no short one: as many as the points need, whatever the draw.
        ((4096 * 10, 4096), 4096, {"chunks": 1.0, "amplification": 1.0}),
        ((4096 * 10, 4096), 1024, {"chunks": 1.0, "amplification": 4.0}),
        ((4096 * 10, 4096), 16384, {"chunks": 4.0, "amplification": 1.0}),
        ((4096 * 10, 4096), 4097, {"chunks": 2.0, "amplification": 2.0}),
    ],
)
def test_the_cost_of_a_draw_is_that_of_its_chunks(
    grid: tuple[int, int], num_points: int, expected: dict[str, Any]
) -> None:
    points, chunk = grid
    made = DomainSample(n_points=points, chunk_points=chunk, shard_points=points, n_chunks=-(-points // chunk))
    assert draw_cost(made, num_points) == {"num_points": num_points} | expected


def test_a_draw_that_needs_the_short_last_chunk_now_and_then_costs_in_between() -> None:
    made = DomainSample(n_points=6_000, chunk_points=4_096, shard_points=8_192, n_chunks=2)
    cost = draw_cost(made, 1_000)
    assert 1.0 <= cost["chunks"] <= 2.0


def test_smaller_chunks_are_advised_where_draws_waste_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "wide", chunk_points=4096)
    writer.write_sample("a", sample_arrays())
    writer.save_manifest()
    lines = info(tmp_path, capsys)
    assert sum("smaller chunks are cheaper: convert with --chunk-points 1024" in line for line in lines) == 1


def test_a_store_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "gone")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("drawpoint info: there is no store at")
    assert err.count("\n") == 1
