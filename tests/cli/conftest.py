"""The command line, in the test's own process."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drawpoint_cli.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status and what it wrote."""

    status: int
    out: str
    err: str


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """`command("info", root)` runs `drawpoint info ROOT`."""

    def run(*words: object) -> Ended:
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ended(status, captured.out, captured.err)

    return run


@pytest.fixture
def root(store_root: Path, tmp_path: Path) -> Path:
    """A copy of the made store, to change."""
    return Path(shutil.copytree(store_root, tmp_path / "store"))
