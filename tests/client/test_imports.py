"""A training job needs the client extra and nothing of the service, and is told so in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys

import drawpoint
from conftest import REPOSITORY
from live import LiveService

FORBIDDEN = ("drawpoint_store", "drawpoint_service", "zarr", "numcodecs", "obstore", "fsspec", "fastapi", "uvicorn")
BLOCK = f"""
import importlib.abc, json, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FORBIDDEN!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
sys.path.insert(0, {str(REPOSITORY / "client")!r})
import drawpoint
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", "-c", code], check=False, capture_output=True, text=True)


def test_a_draw_needs_nothing_of_the_service(service: LiveService) -> None:
    result = run(
        f"""{BLOCK}
reader = drawpoint.connect({service.url!r}).store("made")
drawn = reader.read_sample("param0/run", {{"surface": 5, "volume": 7}}, seed=1)
print(json.dumps([sorted(sys.modules), len(drawn), drawpoint.__file__]))
"""
    )
    assert result.returncode == 0, result.stderr
    loaded, fields, origin = json.loads(result.stdout)
    assert fields == 10
    assert origin.startswith(str(REPOSITORY / "client"))
    assert not {name.partition(".")[0] for name in loaded} & set(FORBIDDEN)


def test_without_the_client_extra_the_package_loads_and_connect_says_what_to_install() -> None:
    result = run(
        f"import sys; sys.modules['httpx'] = sys.modules['torch'] = None\n{BLOCK}\ndrawpoint.connect('http://h')"
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "drawpoint.errors.ExtraMissing: drawpoint.connect needs httpx and torch, not installed here: run "
        "`pip install '.[client]'` in a clone of drawpoint."
    )


def test_without_torch_alone_it_names_torch_alone() -> None:
    result = run(f"import sys; sys.modules['torch'] = None\n{BLOCK}\ndrawpoint.connect('http://h')")
    assert "drawpoint.connect needs torch, not installed" in result.stderr.splitlines()[-1]


def test_the_public_names_are_pinned_and_there() -> None:
    assert drawpoint.__all__ == [
        "ArrayLayout",
        "Connection",
        "DomainLayout",
        "DomainSample",
        "Estimate",
        "LoaderReport",
        "Normaliser",
        "Part",
        "RemoteReader",
        "ResumableSampler",
        "SampleDataset",
        "SampleEntry",
        "SampleLoader",
        "StoreManifest",
        "__version__",
        "connect",
        "errors",
        "estimate",
        "iter_parts",
        "prefetch",
        "save",
    ]
    assert all(name in dir(drawpoint) and getattr(drawpoint, name) is not None for name in drawpoint.__all__)
    assert not hasattr(drawpoint, "conect")
