"""The Python of docs/client.md runs as it stands, and its tables name what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch

from conftest import FILEMAP, REPOSITORY, sample_arrays
from drawpoint import errors
from drawpoint.remote.httpx_engine import PLAIN_OPTIONS
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


def test_it_has_blocks() -> None:
    assert len(BLOCKS) == 6


@pytest.mark.parametrize("block", BLOCKS, ids=["first", "client", "workers", "batch", "prefetch", "async"])
def test_a_block_runs(block: str, url: str) -> None:
    code = block.replace("http://127.0.0.1:8000", url)
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


def test_the_options_of_the_lean_engine_are_named() -> None:
    section = TEXT.split("## Two engines")[1].split("## ")[0]
    listed = section.split("plain:")[1].split(".")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == PLAIN_OPTIONS


def test_the_errors_named_are_those_that_the_client_raises() -> None:
    section = TEXT.split("## Errors")[1].split("## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", section, flags=re.MULTILINE)
    named = {name: bases for names, bases in rows for name in re.findall(r"`(\w+)`", names)}
    for name, bases in named.items():
        kind = getattr(errors, name)
        assert issubclass(kind, errors.DrawpointError)
        builtins = {base.__name__ for base in kind.__mro__}
        assert set(re.findall(r"\w+", bases)) <= builtins
    leaves = {*errors.RequestFailed.__subclasses__(), *errors.DataDamaged.__subclasses__()}
    assert {kind.__name__ for kind in leaves} <= set(named)
