"""What docs/client.md shows runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch

from conftest import FILEMAP, REPOSITORY, sample_arrays
from drawpoint_store import ZarrStoreWriter
from live import LiveService

TEXT = (REPOSITORY / "docs" / "client.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root: Path = tmp_path_factory.mktemp("ahmed")
    writer = ZarrStoreWriter(root, FILEMAP, "ahmed")
    for sample_id in ("slant_0", "slant_25"):
        arrays = sample_arrays()
        writer.write_sample(sample_id, {field: array.repeat(3, axis=0) for field, array in arrays.items()})
    writer.save_manifest()
    with LiveService({"ahmed": root}) as service:
        yield service.url


def test_each_block_of_python_runs(url: str) -> None:
    blocks = [block.replace("http://127.0.0.1:8000", url) for block in BLOCKS]
    assert len(blocks) == 6
    # One process, which loads torch once; names of its own for each block, which last until the end as in a script.
    run_each = "    names.append({'__name__': '__main__'})\n    exec(block, names[-1])"
    code = f"names = []\nfor block in {blocks!r}:\n{run_each}"
    # DataLoader forks a process with threads, of which Python 3.12 and later warn; torch's business.
    arguments = ["-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", code]
    result = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert not result.stderr


def test_the_batch_of_curl_is_what_it_is_said_to_hold(url: str, tmp_path: Path) -> None:
    (command,) = re.findall(r"^```bash\n(curl .*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    code = command.replace("http://127.0.0.1:8000", url)
    subprocess.run(code, shell=True, check=True, cwd=tmp_path, timeout=60)
    tensors = safetensors.torch.load_file(tmp_path / "batch.safetensors")
    assert len(tensors) == 22
    assert {"0/surface_pressure", "0/coords/surface_position", "1/surface_pressure"} <= tensors.keys()
    assert len(tensors["1/volume_sdf"]) == 2048
