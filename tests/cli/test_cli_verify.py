from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from drawpoint_cli.__main__ import main
from trees import write_runs


@pytest.fixture
def root(store_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_root, tmp_path / "store"))


def test_a_whole_store_is_said_to_be_whole(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(root)]) == 0
    chunks = 2 * (5 * 6 + 5 * 40)  # 1,500 and 10,000 points in chunks of 256, five fields each, two samples
    assert capsys.readouterr() == (f"2 samples, {chunks} chunks: no problem\n", "")


def test_all_problems_are_printed_with_sample_field_and_chunk(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = root / "param0/run.zarr/surface/pressure/c/0/0"
    data = bytearray(shard.read_bytes())
    data[20] ^= 1
    shard.write_bytes(data)
    (root / "param1/run.zarr/volume/sdf/c/0/0").unlink()
    assert main(["verify", str(root), "--workers", "2"]) == 1
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first.startswith("chunk 0 of surface_pressure in sample 'param0/run' is damaged: its checksum")
    assert second.startswith("chunk 0 of volume_sdf in sample 'param1/run' is missing")
    assert err == (
        "drawpoint verify: 2 problems in 2 of 2 samples; restore what is damaged from a copy or convert it again.\n"
    )


def test_samples_without_a_digest_are_counted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((root / "manifest.json").read_text())
    del document["samples"]["param0/run"]["digest"]
    (root / "manifest.json").write_text(json.dumps(document))
    assert main(["verify", str(root)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("remark: 1 of 2 samples without a digest: values that were replaced are not found\n")
    assert "checksums" not in out


def test_leftovers_are_a_remark_and_no_problem(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(root / "param0/run.zarr", root / "param0/run.r1.zarr")
    assert main(["verify", str(root)]) == 0
    remark, summary = capsys.readouterr().out.splitlines()
    assert remark.startswith("remark: 1 path that the manifest does not refer to")
    assert remark.endswith(": param0/run.r1.zarr")
    assert summary.endswith("no problem")


def test_a_store_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "gone")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("drawpoint verify: there is no store at")
    assert err.count("\n") == 1


def test_wrong_usage_has_a_status_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == 2
    assert "STORE_ROOT" in capsys.readouterr().err


class TestASource:
    @pytest.fixture
    @staticmethod
    def runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
        write_runs(tmp_path / "runs", 2)
        assert main(["convert", str(tmp_path / "runs"), str(tmp_path / "made"), "--workers", "1"]) == 0
        capsys.readouterr()
        return tmp_path / "runs"

    def test_that_the_store_came_from_is_said_to_agree(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["verify", str(runs.parent / "made"), "--source", str(runs)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert out.splitlines() == ["2 samples, 8 chunks: no problem", f"2 samples, 8,000 values: as in {runs}"]

    def test_that_has_changed_is_told_by_sample_field_row_and_both_values(
        self, runs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pressure = torch.load(runs / "run_1" / "surface_pressure.pt", weights_only=True)
        pressure[17] = 9.5
        torch.save(pressure, runs / "run_1" / "surface_pressure.pt")
        shutil.rmtree(runs / "run_0")
        torch.save(torch.zeros(700), runs / "run_1" / "volume_pressure.pt")
        assert main(["verify", str(runs.parent / "made"), "--source", str(runs)]) == 1
        out, err = capsys.readouterr()
        assert re.fullmatch(
            r"2 samples, 8 chunks: no problem\n"
            r"volume_pressure is in the source's file map, and not in the store\n"
            r"sample 'run_0' is in the store, and not in the source\n"
            r"surface_pressure of sample 'run_1' differs in 1 of 300 rows, the first is row 17 of the source: the "
            r"store has \S+, the source 9\.5 \(as float16\)\n",
            out,
        )
        assert err == (
            f"drawpoint verify: 3 differences from {runs}, in 2 of 2 samples; convert again what differs, or name the "
            "source and the file map that the store was converted from.\n"
        )

    def test_that_cannot_be_read_is_one_sentence_before_anything_is_verified(
        self, runs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["verify", str(runs.parent / "made"), "--source", str(runs / "gone")]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)

    def test_may_have_a_file_map(self, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (runs.parent / "map.toml").write_text('surface_position = "surface_position.pt"\n')
        words = [str(runs.parent / "positions"), "--filemap", str(runs.parent / "map.toml")]
        assert main(["convert", str(runs), *words]) == 0
        assert main(["verify", *words, "--source", str(runs)]) == 0
        assert main(["verify", words[0], "--source", str(runs)]) == 1
        assert "surface_pressure is in the source's file map, and not in the store" in capsys.readouterr().out

    def test_in_another_writers_order_is_a_remark(
        self, runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("drawpoint_store.inspecting.comparison.shuffle_order", lambda *name: np.arange(name[-1]))
        assert main(["verify", str(runs.parent / "made"), "--source", str(runs)]) == 0
        assert "remark: 2 of 2 samples in the order of another writer: rows were matched" in capsys.readouterr().out

    def test_needs_torch_and_names_the_extra(
        self, runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        assert main(["verify", str(runs.parent / "made"), "--source", str(runs)]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "torch, which reads the source's files, is not installed: run `pip install '.[convert]'`" in err
