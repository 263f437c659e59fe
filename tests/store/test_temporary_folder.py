"""Folders for temporary files end with their process, or soon after."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from drawpoint.errors import StoreUnreadable
from drawpoint_store.storage.temporary_folder import temporary_folder

_HOLD = """
import sys
from drawpoint_store.storage.temporary_folder import temporary_folder

with temporary_folder() as folder:
    (folder / "shard").write_bytes(b"rows")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_folder_of_a_killed_process_is_removed_by_the_next_one_and_that_of_a_living_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = tmp_path / ".drawpoint-cars"
    other.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD],
        env={"TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        held = Path(process.stdout.readline().strip())
        assert held.parent == tmp_path
        with temporary_folder() as own:
            assert (held / "shard").exists()
        assert not own.exists()
        process.kill()
    assert (held / "shard").exists()
    with temporary_folder() as own:
        assert sorted(tmp_path.iterdir()) == sorted([other, own])


def test_a_place_where_no_folder_can_be_made_is_a_sentence_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    remedy = r"^no folder for temporary files .*No such file.*; set TMPDIR"
    with pytest.raises(StoreUnreadable, match=remedy), temporary_folder():
        pass
