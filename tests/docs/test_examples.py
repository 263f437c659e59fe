"""The Python of docs/format.md and the scripts of examples/, run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import AHMED, FILEMAP, REPOSITORY, sample_arrays
from drawpoint_cli.__main__ import main
from drawpoint_store import ZarrStoreWriter
from live import LiveService

FORMAT = (REPOSITORY / "docs" / "format.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", FORMAT, flags=re.MULTILINE | re.DOTALL)


def run(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments], capture_output=True, text=True, check=False, timeout=60, cwd=folder
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store that the documents speak of."""
    folder = tmp_path_factory.mktemp("docs")
    assert main(["convert", str(AHMED), str(folder / "stores/ahmed")]) == 0
    return folder


@pytest.mark.parametrize("block", BLOCKS)
def test_the_python_of_the_format_holds(block: str, folder: Path) -> None:
    result = run("-c", block, folder=folder)
    assert result.returncode == 0, result.stderr


class TestDrawFromTwoStores:
    script = str(REPOSITORY / "examples" / "draw_from_two_stores.py")

    def test_equal_stores_give_equal_tensors(self, store_root: Path) -> None:
        with LiveService({"directory": store_root, "bucket": store_root}) as service:
            result = run(self.script, service.url, "directory", "bucket")
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("equal") == 10

    def test_without_arguments_it_says_what_it_wants(self) -> None:
        result = run(self.script)
        assert result.returncode == 2
        assert result.stderr.startswith("usage: draw_from_two_stores.py [-h] url first second\n")

    def test_a_tensor_that_differs_is_told(self, store_root: Path, tmp_path: Path) -> None:
        writer = ZarrStoreWriter(tmp_path, FILEMAP, "made", shuffle_seed=7, chunk_points=256)
        other = sample_arrays(0)
        other["volume_pressure"][:] += 1
        writer.write_sample("param0/run", other)
        writer.save_manifest()
        with LiveService({"directory": store_root, "bucket": tmp_path}) as service:
            result = run(self.script, service.url, "directory", "bucket")
        assert result.returncode == 1
        assert re.findall(r"^(\w+) .*DIFFERS$", result.stdout, flags=re.MULTILINE) == ["volume_pressure"]
