from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from drawpoint_service.__main__ import main


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
        "drawpoint verify: 2 problems in 2 of 2 samples; restore what is damaged from a copy or convert it anew.\n"
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
