"""Every block of the README, run in its order, in a copy of the project and against a real service."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import drawpoint
from conftest import REPOSITORY, need_programs

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SHOWN: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
# Python blocks that follow each other run in one process, in which torch is loaded once.
RUNS = [list(group) for _, group in itertools.groupby(SHOWN, key=lambda block: block[0] == "python")]
BLOCKS = [
    block
    for run in RUNS
    for block in ([("python", "\n".join(code for _, code in run))] if run[0][0] == "python" else run)
]
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
ALREADY_TAKEN = "8000"


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the blocks touch."""
    need_programs("README.md", "bash", "curl")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    return tmp_path


@pytest.fixture
def environment(checkout: Path) -> dict[str, str]:
    """The one where `drawpoint` is ours, make only says what it would do, and curl fails on errors."""
    (checkout / ".curlrc").write_text("fail-with-body\n", encoding="utf-8")
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CURL_HOME": str(checkout),
        "MAKEFLAGS": "n",
    }


@contextmanager
def running(command: str, checkout: Path, environment: dict[str, str], url: str) -> Iterator[None]:
    """A service that a block has started and that answers."""
    log = checkout / "service.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=checkout, env=environment, stdout=output, stderr=output
        ) as process,
    ):
        try:
            with drawpoint.connect(url) as connection:
                assert connection.stores(), log.read_text(encoding="utf-8")
            yield
        finally:
            process.terminate()


def test_every_block_works(checkout: Path, environment: dict[str, str]) -> None:
    port = free_port()
    said = ""
    with ExitStack() as services:
        for number, (kind, shown) in enumerate(BLOCKS):
            text = shown.replace(ALREADY_TAKEN, port)
            expects_an_error = BLOCKS[number + 1 : number + 2] and BLOCKS[number + 1][0] == "json"
            if kind == "json":
                # Byte for byte, but for the id of the request.
                assert said.replace(json.loads(said)["instance"], json.loads(text)["instance"]) == text.strip()
                continue
            if text.startswith("drawpoint serve"):
                services.enter_context(running(text, checkout, environment, f"http://127.0.0.1:{port}"))
                continue
            program = ["bash", "-euo", "pipefail", "-c"] if kind == "bash" else [sys.executable, "-W", "error", "-c"]
            result = subprocess.run(
                [*program, text],
                cwd=checkout,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            said = result.stdout
            assert (result.returncode == 0) != bool(expects_an_error), f"{shown}\n{said}{result.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.name))
def test_links_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_document_is_linked_from_the_readme() -> None:
    assert [path.name for path in DOCUMENTS if path.parent.name == "docs" and f"docs/{path.name}" not in README] == []
