"""The examples of docs/*.md and of examples/ run as they stand, against a served store."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from conftest import AHMED, AHMED_VTK, FILEMAP, REPOSITORY, need_programs, sample_arrays
from drawpoint import errors
from drawpoint_cli.__main__ import main
from drawpoint_service.problems import Problem, status_of
from drawpoint_store import ZarrStoreWriter
from live import LiveService

DOCS = REPOSITORY / "docs"
# What the pages print, besides that they run.
PRINTED = {
    "client": ["store 'ahmed' has no sample 'slant_52'"],
    "converting": [
        "['slant_0', 'slant_25'] {} ",
        "\nm\n",
        "{'Cd': 0.285, 'U_inf': 40.0}",
        "0.285, in 1 sample\n",
        "as in examples/data/ahmed_vtk",
        "slant_25  drag                       0.3176  0.318 +- 0.0016    -0.00044  holds\n",
        "slant_25  inflow                         40        40 +- 0.8           0  holds\n",
        "\nfails: slant_25, drag: 0.283 by pressure and -0.03453 by friction is not 0.318\n",
        "    it would be 0.3176 with friction of the other sign (friction_sign = -1)\n",
        "exit status 1\n",
    ],
    "http": ["'0/coords/surface_position'", "sample-not-found"],
    "training": ["2 samples, 7168 points, 1 requests, 0.184 MB, about "],
}
PAGES = [*PRINTED, "adapters", "format", "statistics"]
PYTHON = [sys.executable, "-W", "error"]
# DataLoader forks a process with threads, of which Python 3.12 and later warn. The others are Lightning's own.
PYTHON += ["-W", "ignore:This process:DeprecationWarning", "-W", "ignore::FutureWarning"]
PYTHON += ["-W", "ignore::UserWarning:lightning", "-c"]
QUIET = "import logging; logging.disable(logging.INFO)\n"  # Lightning logs its devices


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the README's commands leave it, with a split besides."""
    folder: Path = tmp_path_factory.mktemp("checkout")
    runs, root = folder / "examples" / "data" / "ahmed", folder / "stores" / "ahmed"
    shutil.copytree(AHMED, runs)
    shutil.copytree(AHMED_VTK, runs.with_name(AHMED_VTK.name))
    shutil.copy(AHMED.parents[1] / "ahmed.toml", runs.parents[1])
    assert main(["convert", str(runs), str(root), "--workers", "1"]) == 0
    assert main(["stats", str(root)]) == 0
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("slant_0\n", encoding="utf-8")
    (folder / ".curlrc").write_text("fail\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def service(checkout: Path) -> Iterator[LiveService]:
    with LiveService({"ahmed": checkout / "stores" / "ahmed"}) as service:
        yield service


def run(kind: str, code: str, folder: Path) -> str:
    program = PYTHON if kind == "python" else ["bash", "-euo", "pipefail", "-c"]
    result = subprocess.run(
        [*program, QUIET + code if kind == "python" else code],
        cwd=folder,
        env={**os.environ, "CURL_HOME": str(folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, f"{code}\n{result.stderr}"
    assert kind == "bash" or not result.stderr
    return result.stdout


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run_in_order(page: str, checkout: Path, service: LiveService) -> None:
    need_programs(f"docs/{page}.md", "bash", "curl")
    if page == "adapters" and importlib.util.find_spec("pyvista") is None:
        pytest.skip("docs/adapters.md IS NOT TESTED: pyvista is not installed; pip install '.[viz]'")
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8").replace("http://127.0.0.1:8000", service.url)
    blocks = re.findall(r"^```(bash|python)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    blocks = [(kind, code) for kind, code in blocks if not re.search("http://host:8000|pip install", code)]
    assert blocks
    printed = ""
    for kind, group in itertools.groupby(blocks, key=lambda block: block[0]):
        code = "\n".join(code for _, code in group)
        printed += run(kind, code * 2 if page == "converting" else code, checkout)  # a conversion may be repeated
    assert [text for text in PRINTED.get(page, []) if text not in printed] == []


def test_the_page_on_http_names_each_path_parameter_and_problem(service: LiveService) -> None:
    text = (DOCS / "http.md").read_text(encoding="utf-8")
    paths = httpx.get(f"{service.url}/openapi.json").json()["paths"]
    operations = [operation for path in paths.values() for operation in path.values()]
    parameters = [each for operation in operations for each in operation.get("parameters", [])]
    in_url = {each["name"] for each in parameters if each["in"] == "query"} - {"surface", "volume"}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and not kind.__subclasses__()]
    sent = [kind for kind in kinds if issubclass(kind, errors.DrawpointError) and status_of(kind("")) != 500]
    sent.remove(errors.UnknownScalar)  # of whoever trains; no request names a scalar
    problems = {re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower() for kind in sent}
    names = {*paths, *problems, *Problem.model_fields, *in_url}
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_the_example_of_two_stores_tells_which_tensors_differ(store_root: Path, tmp_path: Path) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "made", shuffle_seed=7, chunk_points=256)
    other = sample_arrays(0)
    other["volume_pressure"][:] += 1
    writer.write_sample("param0/run", other)
    writer.save_manifest()
    script = str(REPOSITORY / "examples" / "draw_from_two_stores.py")
    with LiveService({"directory": store_root, "bucket": tmp_path}) as service:
        command = [sys.executable, "-W", "error", script, service.url, "directory", "bucket"]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1, result.stderr
    assert result.stdout.count("equal") == 9
    assert re.findall(r"^(\w+) .*DIFFERS$", result.stdout, flags=re.MULTILINE) == ["volume_pressure"]


def run_estimate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(REPOSITORY / "examples" / "estimate_drag.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_example_of_an_estimate_finds_the_drag_within_its_standard_error() -> None:
    result = run_estimate("--draws", "50")
    assert result.returncode == 0, result.stderr
    full, one, many = result.stdout.splitlines()
    assert full == "drag coefficient of slant_25, all 9858 faces: 0.3176"  # examples/data/ahmed/README.md: 0.318
    assert one == "one draw of 4096 faces: 0.2716 +- 0.0309"
    mean, deviation, error, within = (float(number) for number in re.findall(r"0\.\d{4}|\d+(?=%)", many))
    assert abs(mean - 0.3176) < 3 * error / 50**0.5
    assert abs(deviation / error - 1) < 0.3
    assert within >= 85


def test_the_example_of_an_estimate_names_a_count_that_is_not_valid() -> None:
    result = run_estimate("--num-points", "0")
    assert result.returncode == 1
    assert result.stderr.startswith("the point count of 'surface' must be an integer in 1..")


def test_every_test_file_that_a_page_names_exists() -> None:
    tests = REPOSITORY / "tests"
    for page in (*DOCS.glob("*.md"), *REPOSITORY.glob("*.md")):
        if page.name == "CHANGELOG.md":  # which tells of what was
            continue
        for name in re.findall(r"tests/[\w/]+\.py|test_\w+\.py", page.read_text(encoding="utf-8")):
            found = (REPOSITORY / name).exists() if "/" in name else any(tests.rglob(name))
            assert found, f"{page.name} names {name}"
