from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import FILEMAP, sample_arrays
from drawpoint_store import ZarrStoreWriter

Command = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with one group of a replaced revision, `a.zarr`."""
    for seed in (0, 1):
        writer = ZarrStoreWriter(tmp_path / "store", FILEMAP, "made")
        writer.write_sample("a", sample_arrays(seed))
        writer.save_manifest()
    return tmp_path / "store"


def test_leftovers_are_listed_then_removed_with_delete_once_they_are_old_enough(root: Path, command: Command) -> None:
    ended = command("prune", root, "--older-than", "0")
    assert ended.status == 0
    assert re.fullmatch(
        r"old     a\.zarr, changed \d+ s ago\n1 path of 1 would be removed: repeat it with --delete\n", ended.out
    )
    ended = command("prune", root, "--delete")
    assert ended.status == 0
    assert ended.out.endswith("0 paths removed, 1 left\n")
    assert (root / "a.zarr").exists()
    assert command("prune", root, "--delete", "--older-than", "0").out.endswith("1 path removed, 0 left\n")
    assert not (root / "a.zarr").exists()
    assert command("prune", root).out == "nothing that the manifest does not name\n"


@pytest.mark.parametrize("age", ["", "7", "-1d", "1y", "d", "1.5h", "9999999999d"])
def test_an_invalid_age_is_wrong_usage(root: Path, command: Command, age: str) -> None:
    ended = command("prune", root, f"--older-than={age}")
    assert ended.status == 2
    assert f"{age!r} is no age such as 12h or 7d" in ended.err
