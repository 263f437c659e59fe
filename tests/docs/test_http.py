"""docs/http.md names every request, parameter, header, key and problem that there is, and its examples run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from conftest import AHMED, REPOSITORY, need_programs
from drawpoint import errors
from drawpoint.format.payload import parse
from drawpoint_cli.__main__ import main
from drawpoint_service.problems import Problem, plain, status_of
from drawpoint_service.requests import query
from drawpoint_service.requests.batch_body import BatchBody
from live import LiveService

TEXT = (REPOSITORY / "docs" / "http.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
BY_HTTP_ITSELF = (400, 401, 403, 404, 405, 408, 415, 431, 500, 503)


def rows(section: str) -> list[list[str]]:
    """The cells of the tables of a section, without their heads."""
    text = TEXT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[1:]]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    root: Path = tmp_path_factory.mktemp("stores") / "ahmed"
    assert main(["convert", str(AHMED), str(root), "--workers", "1"]) == 0
    assert main(["stats", str(root)]) == 0
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("slant_0\n", encoding="utf-8")
    with LiveService({"ahmed": root}) as service:
        yield service


def test_its_blocks_run_one_after_the_other(service: LiveService, tmp_path: Path) -> None:
    need_programs("docs/http.md", "bash", "curl")
    (tmp_path / ".curlrc").write_text("fail\n", encoding="utf-8")
    printed = ""
    for kind, text in BLOCKS:
        program = ["bash", "-euo", "pipefail", "-c"] if kind == "bash" else [sys.executable, "-W", "error", "-c"]
        result = subprocess.run(
            [*program, text.replace("http://127.0.0.1:8000", service.url)],
            cwd=tmp_path,
            env={**os.environ, "CURL_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert result.returncode == 0, f"{text}\n{result.stderr}"
        printed += result.stdout if kind == "python" else ""
    assert "'0/coords/surface_position'" in printed
    assert "sample-not-found" in printed


def test_every_request_is_named_and_shown(service: LiveService) -> None:
    named = {path.strip("`") for path, _ in rows("Requests")}
    assert named == set(httpx.get(f"{service.url}/openapi.json").json()["paths"])
    shown = set(re.findall(r"http://127\.0\.0\.1:8000([^\s'?]*)", TEXT))
    for path in named:
        assert any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), each) for each in shown), path


def test_every_parameter_is_named_with_what_takes_it() -> None:
    taken = {name.strip("`"): set(re.findall(r"`(\w+)`", of)) for name, of, _ in rows("Query parameters")}
    parameters = {
        "samples": query.parameters_of(query.SampleQuery),
        "coords": query.parameters_of(query.DrawQuery),
        "batch": query.parameters_of(query.RevisionQuery),
    }
    for kind, names in parameters.items():
        assert {name for name, of in taken.items() if kind in of} - {"a domain's name"} == set(names)
    assert {name for name, of in taken.items() if not of} == set(query.parameters_of(query.PageQuery))
    members = {name for names, _ in rows("Batches") for name in re.findall(r"`(\w+)`", names)}
    assert members == set(BatchBody.model_fields)


def test_the_keys_of_the_metadata_are_those_that_are_sent(service: LiveService) -> None:
    named = {
        kind: {
            name for cells in rows("The file and its metadata") if cells[place] for name in cells[0].split("`")[1::2]
        }
        for place, kind in ((1, "draw"), (2, "batch"))
    }
    store = f"{service.url}/stores/ahmed"
    draw = httpx.get(f"{store}/samples/slant_0?surface=4&volume=4&seed=1&part=0")
    batch = httpx.post(
        f"{store}/batch", json={"samples": [{"id": "slant_0"}], "num_points": {"surface": 4, "volume": 4}}
    )
    assert parse(bytearray(draw.content))[1].keys() == named["draw"]
    assert parse(bytearray(batch.content))[1].keys() == named["batch"]
    headers = {name.lower() for names, _ in rows("Headers") for name in re.findall(r"`([\w-]+)[`:]", names)}
    assert draw.headers.keys() - {"date", "server", "content-length", "content-type"} <= headers


def test_every_problem_is_named_with_its_status() -> None:
    named = {
        (int(status), name)
        for statuses, names in rows("Statuses and problems")
        for status in statuses.split(", ")
        for name in re.findall(r"`([a-z-]+)`", names)
    }
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DrawpointError)
    ]
    leaves = [kind for kind in kinds if not kind.__subclasses__() and status_of(kind("")) != 500]
    sent = {(status_of(kind("")), re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__).lower()) for kind in leaves}
    sent |= {(status, plain(status, "", "").type.removeprefix("urn:drawpoint:")) for status in BY_HTTP_ITSELF}
    assert sent <= named
    assert {name for _, name in named} == {name for _, name in sent}
    section = TEXT.split("## Statuses and problems")[1]
    assert all(f"`{member}`" in section for member in Problem.model_fields)
