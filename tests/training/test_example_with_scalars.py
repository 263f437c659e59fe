"""The example that compares trainings without and with scalars tells apart what differs in a scalar alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conftest import AHMED, FILEMAP, REPOSITORY
from drawpoint_store import ZarrStoreWriter

SCRIPT = REPOSITORY / "examples" / "train_with_scalars.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One shipped run at 40 m/s, and what it would be at 60 m/s with the same pressure coefficients."""
    writer = ZarrStoreWriter(tmp_path / "speeds", FILEMAP, "speeds", chunk_points=1024)
    arrays = {path.stem: torch.load(path).numpy() for path in (AHMED / "slant_25").glob("surface_*.pt")}
    for speed in (40.0, 60.0):
        faster = {**arrays, "surface_pressure": arrays["surface_pressure"] * (speed / 40) ** 2}
        writer.write_sample(f"run_{speed:.0f}", faster, scalars={"U_inf": speed})
    writer.save_manifest()
    return tmp_path / "speeds"


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=cwd)


def test_errors_are_smaller_where_the_scalar_is_given_or_scales(root: Path, tmp_path: Path) -> None:
    result = run(root, "--scalars", "U_inf", "--scale", "U_inf**2 / 2", "--epochs", "6", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["run_40", "run_60"]
    names = ("without scalars", "given U_inf", "pressure / (U_inf**2 / 2)")
    without, given, scaled = (
        [float(each) for each in row.removeprefix(name).split()[:2]] for name, row in zip(names, rows, strict=True)
    )
    assert max(sum(given), sum(scaled)) < 0.8 * sum(without)
    assert scaled[0] == pytest.approx(scaled[1], rel=0.1)  # nothing is left that tells them apart


def test_a_scalar_that_is_not_there_is_named_before_any_training(root: Path, tmp_path: Path) -> None:
    unknown = run(root, "--scalars", "U_in", cwd=tmp_path)
    told = f"2 of 2 samples of store '{root}' lack the scalar 'U_in': run_40, run_60; near names: U_inf.\n"
    assert (unknown.returncode, unknown.stdout, unknown.stderr) == (1, "", told)
