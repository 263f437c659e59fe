"""examples/draw_from_two_stores.py, run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from conftest import FILEMAP, REPOSITORY, sample_arrays
from drawpoint_store import ZarrStoreWriter
from live import LiveService


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


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
