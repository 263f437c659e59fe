from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import FILEMAP, sample_arrays
from drawpoint_store import StoreManifest, ZarrStoreWriter
from drawpoint_store.inspecting.prune import find_leftovers

Command = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in (0, 1):
        writer = ZarrStoreWriter(tmp_path / "store", FILEMAP, "made")
        writer.write_sample("a", sample_arrays(seed))
        writer.save_manifest()
    return tmp_path / "store"


def leftovers(root: Path) -> list[str]:
    return find_leftovers(root, StoreManifest.load(root))


def test_without_delete_nothing_is_removed_and_the_next_step_is_named(root: Path, command: Command) -> None:
    ended = command("prune", root, "--older-than", "0")
    assert ended.status == 0
    assert re.fullmatch(
        r"old     a\.zarr, changed \d+ s ago\n1 path of 1 would be removed: repeat it with --delete\n", ended.out
    )
    assert leftovers(root) == ["a.zarr"]


def test_what_is_recent_stays_unless_told(root: Path, command: Command) -> None:
    ended = command("prune", root, "--delete")
    assert ended.status == 0
    assert ended.out.endswith("0 paths removed, 1 left\n")
    assert leftovers(root) == ["a.zarr"]
    assert command("prune", root, "--delete", "--older-than", "0").out.endswith("1 path removed, 0 left\n")
    assert leftovers(root) == []
    assert command("prune", root).out == "nothing that the manifest does not name\n"


@pytest.mark.parametrize("age", ["", "7", "-1d", "1y", "d", "1.5h", "9999999999d"])
def test_an_age_that_is_none_is_wrong_usage(root: Path, command: Command, age: str) -> None:
    ended = command("prune", root, f"--older-than={age}")
    assert ended.status == 2
    assert f"{age!r} is no age such as 12h or 7d" in ended.err


def test_a_root_without_a_store_is_a_sentence(tmp_path: Path, command: Command) -> None:
    ended = command("prune", tmp_path, "--delete")
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith("drawpoint prune: there is no store at")
