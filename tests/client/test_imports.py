"""A training job needs the client extra and nothing of the service, and is told so in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys

import drawpoint
from children import HIDE_SERVER, SERVER
from conftest import REPOSITORY
from live import LiveService


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", "-c", code], check=False, capture_output=True, text=True)


def test_a_draw_needs_nothing_of_the_service(service: LiveService) -> None:
    result = run(
        f"""{HIDE_SERVER}
import drawpoint, json
reader = drawpoint.connect({service.url!r}).store("made")
drawn = reader.read_sample("param0/run", {{"surface": 5, "volume": 7}}, seed=1)
print(json.dumps([sorted(sys.modules), len(drawn), drawpoint.__file__]))
"""
    )
    assert result.returncode == 0, result.stderr
    loaded, fields, origin = json.loads(result.stdout)
    assert fields == 10
    assert origin.startswith(str(REPOSITORY / "client"))
    assert not {name.partition(".")[0] for name in loaded} & set(SERVER)


def test_without_torch_alone_it_names_torch_alone() -> None:
    result = run(f"{HIDE_SERVER}\nsys.modules['torch'] = None\nimport drawpoint; drawpoint.connect('http://h')")
    assert result.stderr.splitlines()[-1] == (
        "drawpoint.errors.ExtraMissing: drawpoint.connect needs torch, not installed here: run "
        "`pip install '.[client]'` in a clone of drawpoint."
    )


def test_the_public_names_are_pinned_and_there() -> None:
    # Written out again on purpose: to drop or rename one breaks the programs that import it.
    assert drawpoint.__all__ == [
        "ArrayLayout",
        "ConcatSampleDataset",
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
        "source_rows",
        "transforms",
    ]
    assert all(name in dir(drawpoint) and getattr(drawpoint, name) is not None for name in drawpoint.__all__)
    assert not hasattr(drawpoint, "conect")
