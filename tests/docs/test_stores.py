"""The Python of docs/converting.md and docs/statistics.md runs where the README's commands have made stores/ahmed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import AHMED, REPOSITORY
from drawpoint_cli.__main__ import main
from drawpoint_store import StoreManifest


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the runs, and the store that the README converts them to."""
    folder: Path = tmp_path_factory.mktemp("checkout")
    runs = shutil.copytree(AHMED, folder / "examples" / "data" / "ahmed")
    assert main(["convert", str(runs), str(folder / "stores" / "ahmed"), "--workers", "1"]) == 0
    return folder


@pytest.mark.parametrize("name", ["converting", "statistics"])
def test_its_python_runs_more_than_once(name: str, checkout: Path) -> None:
    text = (REPOSITORY / "docs" / f"{name}.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    for _ in range(2):
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            cwd=checkout,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
    if name == "converting":
        assert result.stdout.startswith("['slant_0', 'slant_25'] {} ")
        manifest = StoreManifest.load(checkout / "stores" / "ahmed_pressure")
        assert list(manifest.fields) == ["surface_position", "surface_pressure"]
