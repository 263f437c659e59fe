"""What holds for every command: help, version, and errors that are sentences."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import drawpoint
from drawpoint_cli.__main__ import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command


def test_help_lists_and_explains_every_command(command: Command) -> None:
    ended = command("--help")
    assert ended.status == 0
    listed = [line.split()[0] for line in ended.out.splitlines() if line.startswith("    ") and line.strip()]
    assert [name for name in listed if name in COMMANDS] == list(COMMANDS)
    for name in COMMANDS:
        ended = command(name, "--help")
        assert ended.status == 0
        assert ended.out.startswith(f"usage: drawpoint {name}")
    assert command("--version").out == f"drawpoint {drawpoint.__version__}\n"


@pytest.mark.parametrize(
    "words",
    ["", "nonsense", "convert", "convert a b --nonsense", "upgrade a --workers 0", "demo --port 65536"],
)
def test_wrong_usage_ends_with_2(command: Command, words: str) -> None:
    ended = command(*words.split())
    assert ended.status == 2
    assert "usage: drawpoint" in ended.err


@pytest.mark.parametrize("name", ["info", "verify", "stats", "upgrade", "prune"])
def test_a_store_that_is_not_there_is_one_sentence(tmp_path: Path, command: Command, name: str) -> None:
    ended = command(name, tmp_path / "gone")
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith(f"drawpoint {name}: there is no store at {tmp_path}/gone")
    assert list(tmp_path.iterdir()) == []


def test_convert_without_torch_names_the_extra_and_loads_nothing_of_http(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from drawpoint_cli.__main__ import main; status = main(); "
        "print({'fastapi', 'uvicorn'} & sys.modules.keys()); sys.exit(status)"
    )
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / "run" / "surface_position.pt").touch()
    ended = subprocess.run(
        [sys.executable, "-c", code, "convert", str(tmp_path / "runs"), str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "set()\n")
    assert ended.stderr == (
        "drawpoint convert: torch, which reads the source's files, is not installed: "
        "run `pip install '.[convert]'` in a clone of drawpoint.\n"
    )


def test_a_reader_of_the_output_that_leaves_early_is_no_error() -> None:
    code = "import sys; from drawpoint_cli.__main__ import main; sys.stdin.read(); sys.exit(main(['--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(b"")
    assert errors == b""


def test_operating_system_errors_are_sentences(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "runs" / "run").mkdir(parents=True)
    ended = command("convert", tmp_path / "runs", tmp_path / "file" / "store")
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith("drawpoint convert: ")
