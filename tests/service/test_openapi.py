"""schemathesis finds nothing: whatever the live document admits is accepted, whatever it does not is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drawpoint_cli.__main__ import main
from drawpoint_store import FileMap, ZarrStoreWriter
from live import LiveService
from small import small_arrays, small_writer

SAMPLE = "param0/run"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two small stores that have only a domain in common; one has all that a store can ship."""
    root = tmp_path_factory.mktemp("stores")
    writer = small_writer(root / "cars")
    for number, sample_id in enumerate((SAMPLE, "b c")):
        writer.write_sample(sample_id, small_arrays(seed=number))
    writer.save_manifest()
    assert main(["stats", str(root / "cars")]) == 0
    (root / "cars" / "splits").mkdir()
    (root / "cars" / "splits" / "train.txt").write_text(f"{SAMPLE}\n", encoding="utf-8")
    other = ZarrStoreWriter(root / "wings", FileMap(volume_position="p"), "wings", chunk_points=4)
    other.write_sample(SAMPLE, {"volume_position": np.zeros((21, 3), np.float32)})
    other.save_manifest()
    return {"cars": root / "cars", "wings": root / "wings"}


def test_whatever_the_document_admits_is_accepted_and_nothing_else(stores: dict[str, Path], tmp_path: Path) -> None:
    # Ids of samples are not in the document; with one that is there the rest of the request is what decides.
    (tmp_path / "schemathesis.toml").write_text(f'[parameters]\n"path.sample_id" = "{SAMPLE}"\n', encoding="utf-8")
    with LiveService(stores, token="secret") as service:
        program = [str(Path(sys.executable).with_name("st")), "run", f"{service.url}/openapi.json", "--checks", "all"]
        fixed = ["--seed", "1", "--generation-deterministic", "--max-examples", "5", "--request-timeout", "30"]
        result = subprocess.run(
            [*program, *fixed, "--header", "Authorization: Bearer secret"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr
