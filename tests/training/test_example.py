"""The shipped example trains the same by each way, and from a served store with nothing of the server."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from children import HIDE_SERVER
from conftest import AHMED, FILEMAP, REPOSITORY
from drawpoint_store import ZarrStoreWriter, calculate_store_statistics
from drawpoint_store.statistics.documents import statistics_json
from live import LiveService

SCRIPT = REPOSITORY / "examples" / "train_surrogate.py"
SHORT = ("--epochs", "2", "--seeds", "1")
WITHOUT_SERVER = f"""{HIDE_SERVER}
import runpy
sys.path.insert(0, {str(SCRIPT.parent)!r})
sys.argv[0] = {str(SCRIPT)!r}
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=120, cwd=cwd
    )


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    writer = ZarrStoreWriter(tmp_path / "ahmed", FILEMAP, "ahmed", chunk_points=256)
    for place in sorted(path for path in AHMED.iterdir() if path.is_dir()):
        arrays = {path.stem: torch.load(path).numpy() for path in place.glob("surface_*.pt")}
        writer.write_sample(place.name, arrays)
    writer.save_manifest()
    measured = calculate_store_statistics(tmp_path / "ahmed")
    document = statistics_json(measured, revision=writer.manifest.revision, split=None, n_samples=2)
    (tmp_path / "ahmed" / "statistics.json").write_bytes(document)
    with LiveService({"ahmed": tmp_path / "ahmed"}) as service:
        yield service.url


def test_local_and_served_trainings_are_equal_and_the_files_are_close(tmp_path: Path) -> None:
    result = run("-W", "error", str(SCRIPT), *SHORT, "--folder", str(tmp_path), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    assert "local and served loss curves are equal, step by step" in result.stdout
    assert "all 9858 points of slant_25, in tiles" in result.stdout
    table = re.findall(r"^(whole \.pt files|local store|served store) +(\S+).* (\S+)$", result.stdout, re.MULTILINE)
    losses, kilobytes = ({row[0]: float(row[column]) for row in table} for column in (1, 2))
    assert abs(losses["whole .pt files"] - losses["served store"]) < 0.2
    # An epoch takes 1024 + 512 points of each run, of 10,000: what is read follows what is drawn.
    assert kilobytes["served store"] < kilobytes["whole .pt files"] / 8
    assert kilobytes["local store"] < kilobytes["whole .pt files"] / 8


def test_a_training_on_a_served_store_needs_no_server_packages(url: str, tmp_path: Path) -> None:
    figure = tmp_path / "images" / "figure.png"
    drawn = ["--figure", str(figure)] if importlib.util.find_spec("matplotlib") else []
    result = run("-I", "-c", WITHOUT_SERVER, "--url", url, *SHORT, *drawn, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "served store" in result.stdout
    assert "whole .pt files" not in result.stdout
    if not drawn:
        pytest.skip("THE FIGURE OF docs/training.md IS NOT TESTED: matplotlib is not installed")
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_an_unknown_sample_is_an_error_before_any_training(url: str, tmp_path: Path) -> None:
    result = run(str(SCRIPT), "--url", url, "--sample", "slant_52", cwd=tmp_path)
    told = "--sample: store 'ahmed' has no sample 'slant_52'; near names: slant_25, slant_0.\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", told)
