"""The Python of docs/training.md and docs/adapters.md runs as it stands, and names what there is."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import drawpoint
from conftest import AHMED, FILEMAP, REPOSITORY
from drawpoint_store import ZarrStoreWriter, calculate_store_statistics
from drawpoint_store.inspecting.statistics import statistics_json
from live import LiveService

TEXTS = {name: (REPOSITORY / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("training", "adapters")}
LIGHTNING = ["-W", "ignore::FutureWarning", "-W", "ignore::UserWarning:lightning"]
"""Its own warnings: of torch's newest names, and of a batch size and workers that suit a documentation."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root: Path = tmp_path_factory.mktemp("ahmed")
    writer = ZarrStoreWriter(root, FILEMAP, "ahmed")
    for place in sorted(path for path in AHMED.iterdir() if path.is_dir()):
        arrays = {path.stem: torch.load(path).numpy() for path in place.glob("*.pt")}
        arrays["volume_sdf"] = arrays.pop("volume_distance_to_surface")
        writer.write_sample(place.name, arrays)
    writer.save_manifest()
    measured = calculate_store_statistics(root)
    document = statistics_json(measured, revision=writer.manifest.revision, split=None, n_samples=2)
    (root / "statistics.json").write_bytes(document)
    with LiveService({"ahmed": root}) as service:
        yield service.url


@pytest.mark.parametrize(("name", "count"), [("training", 8), ("adapters", 1)])
def test_its_blocks_run_one_after_the_other(name: str, count: int, url: str, tmp_path: Path) -> None:
    if name == "adapters" and importlib.util.find_spec("pyvista") is None:
        pytest.skip("docs/adapters.md IS NOT TESTED: pyvista is not installed; pip install '.[viz]'")
    blocks = re.findall(r"^```python\n(.*?)^```$", TEXTS[name], flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == count
    quiet = "import logging; logging.disable(logging.INFO)"  # Lightning says on stderr what it runs on
    code = "\n".join([quiet, *blocks]).replace("http://127.0.0.1:8000", url)
    result = subprocess.run(
        [sys.executable, "-W", "error", *LIGHTNING, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    for told in re.findall(r"print\(estimate\)  # (.*?), about", TEXTS[name]):
        assert told in result.stdout


@pytest.mark.parametrize("name", TEXTS)
def test_what_it_imports_of_ours_is_there(name: str) -> None:
    for module, members in re.findall(r"^from (drawpoint[\w.]*) import (.*)$", TEXTS[name], flags=re.MULTILINE):
        found = importlib.util.find_spec(module)
        assert found is not None
        assert found.origin is not None
        source = Path(found.origin).read_text(encoding="utf-8")
        assert all(re.search(rf"^(class|def) {member}\b", source, flags=re.MULTILINE) for member in members.split(", "))
    for member in re.findall(r"drawpoint\.([a-zA-Z]\w+)\(", TEXTS[name]):
        assert member in drawpoint.__all__
