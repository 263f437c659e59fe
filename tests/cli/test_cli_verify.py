from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trees import write_runs

Command = Callable[..., Any]


def test_a_whole_store_has_no_problem_and_leftovers_are_a_remark(root: Path, command: Command) -> None:
    chunks = 2 * (5 * 6 + 5 * 40)  # 1,500 and 10,000 points in chunks of 256, five fields each, two samples
    whole = f"2 samples, {chunks} chunks: no problem\n"
    ended = command("verify", root)
    assert (ended.status, ended.out, ended.err) == (0, whole, "")
    shutil.copytree(root / "param0/run.zarr", root / "param0/run.r1.zarr")
    ended = command("verify", root)
    assert ended.status == 0
    assert ended.out.startswith("remark: 1 path that the manifest does not refer to")
    assert ended.out.endswith(f": param0/run.r1.zarr\n{whole}")


def test_all_problems_are_printed_with_sample_field_and_chunk(root: Path, command: Command) -> None:
    shard = root / "param0/run.zarr/surface/pressure/c/0/0"
    data = bytearray(shard.read_bytes())
    data[20] ^= 1
    shard.write_bytes(data)
    (root / "param1/run.zarr/volume/sdf/c/0/0").unlink()
    ended = command("verify", root, "--workers", "2")
    assert ended.status == 1
    first, second = ended.out.splitlines()
    assert first.startswith("chunk 0 of surface_pressure in sample 'param0/run' is damaged: its checksum")
    assert second.startswith("chunk 0 of volume_sdf in sample 'param1/run' is missing")
    assert ended.err == (
        "drawpoint verify: 2 problems in 2 of 2 samples; restore what is damaged from a copy or convert it again.\n"
    )


def test_samples_without_a_digest_are_counted(root: Path, command: Command) -> None:
    document = json.loads((root / "manifest.json").read_text())
    del document["samples"]["param0/run"]["digest"]
    (root / "manifest.json").write_text(json.dumps(document))
    ended = command("verify", root)
    assert ended.status == 0
    assert ended.out.startswith("remark: 1 of 2 samples without a digest: values that were replaced are not found\n")
    assert "checksums" not in ended.out


@pytest.fixture
def runs(tmp_path: Path, command: Command) -> Path:
    """Two runs, and the store `made` that was converted from them."""
    write_runs(tmp_path / "runs", 2)
    assert command("convert", tmp_path / "runs", tmp_path / "made", "--workers", "1").status == 0
    return tmp_path / "runs"


def test_a_store_is_compared_with_its_source(runs: Path, command: Command) -> None:
    ended = command("verify", runs.parent / "made", "--source", runs)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"2 samples, 8 chunks: no problem\n2 samples, 8,000 values: as in {runs}\n"
    pressure = torch.load(runs / "run_1" / "surface_pressure.pt", weights_only=True)
    pressure[17] = 9.5
    torch.save(pressure, runs / "run_1" / "surface_pressure.pt")
    shutil.rmtree(runs / "run_0")
    torch.save(torch.zeros(700), runs / "run_1" / "volume_pressure.pt")
    ended = command("verify", runs.parent / "made", "--source", runs)
    assert ended.status == 1
    assert re.fullmatch(
        r"2 samples, 8 chunks: no problem\n"
        r"volume_pressure is in the source's file map, and not in the store\n"
        r"sample 'run_0' is in the store, and not in the source\n"
        r"surface_pressure of sample 'run_1' differs in 1 of 300 rows, the first is row 17 of the source: the "
        r"store has \S+, the source 9\.5 \(as float16\)\n",
        ended.out,
    )
    assert ended.err == (
        f"drawpoint verify: 3 differences from {runs}, in 2 of 2 samples; convert again what differs, or name the "
        "source and the file map that the store was converted from.\n"
    )


def test_the_source_of_a_comparison_may_have_a_file_map(runs: Path, command: Command) -> None:
    (runs.parent / "map.toml").write_text('surface_position = "surface_position.pt"\n')
    words = (runs.parent / "positions", "--filemap", runs.parent / "map.toml")
    assert command("convert", runs, *words, "--workers", "1").status == 0
    assert command("verify", *words, "--source", runs).status == 0
    ended = command("verify", words[0], "--source", runs)
    assert ended.status == 1
    assert "surface_pressure is in the source's file map, and not in the store" in ended.out


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
