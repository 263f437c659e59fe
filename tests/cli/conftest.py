"""The command line, in the test's own process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest

from drawpoint_cli.__main__ import main


class Ended(NamedTuple):
    """How a command ended: its exit status and what it wrote."""

    status: int
    out: str
    err: str


Command: TypeAlias = Callable[..., Ended]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """`command("info", root)` runs `drawpoint info ROOT`."""
    return lambda *words: Ended(main([str(word) for word in words]), *capsys.readouterr())


@pytest.fixture
def root(store_root: Path, tmp_path: Path) -> Path:
    """A copy of the made store, to change."""
    return Path(shutil.copytree(store_root, tmp_path / "store"))
