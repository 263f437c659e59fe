from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store of drawpoint 0.1, byte for byte."""
    with zipfile.ZipFile(REPOSITORY / "tests/store/data/stores_of_0.1.zip") as stored:
        stored.extractall(tmp_path)
    return tmp_path / "level0"


def test_info_and_verify_name_upgrade_as_the_remedy_and_it_is(old: Path, command: Callable[..., Any]) -> None:
    remedy = f"`drawpoint upgrade {old}` adds them"
    assert f"samples     2, 2 without tables of checksums: {remedy}\n" in command("info", old).out
    verified = command("verify", old)
    assert (verified.status, verified.err) == (0, "")
    assert verified.out.startswith("remark: 2 of 2 samples without tables of checksums, so that reads take a chunk")
    assert remedy in verified.out
    assert command("stats", old).status == 0
    first = command("upgrade", old, "--workers", 2)
    assert (first.status, first.err) == (0, "")
    assert first.out.startswith("2 samples upgraded; the store is at revision ")
    assert command("verify", old).out == "2 samples, 32 chunks: no problem\n"
    info = command("info", old).out
    assert "samples     2\n" in info
    assert "statistics  fresh, of 2 samples\n" in info
    second = command("upgrade", old)
    assert second.out == first.out.replace("2 samples upgraded;", "0 samples upgraded, 2 had been before;")


def test_damage_is_named_and_the_status_is_1(old: Path, command: Callable[..., Any]) -> None:
    (old / "param0/run.zarr/volume/velocity/c/1/0").unlink()
    ended = command("upgrade", old)
    assert ended.status == 1
    assert ended.out.startswith("1 sample upgraded; ")
    first, last = ended.err.splitlines()
    assert first.startswith("damaged: chunk 2 of volume_velocity in sample 'param0/run' is missing")
    assert last.startswith("drawpoint upgrade: 1 sample damaged and left as it was; restore")
