"""Splits that a store ships, and files of ids that a user names."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import fsspec
import pytest

from drawpoint.errors import MetadataDamaged, SplitNotFound, StoreUnreadable
from drawpoint_store import read_split_ids
from drawpoint_store.reading.splits import list_splits, read_split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Put = Callable[[str, bytes], None]


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else f"memory://splits-{secrets.token_hex(8)}"


@pytest.fixture
def put(root: str) -> Put:
    def write(name: str, data: bytes) -> None:
        filesystem, path = fsspec.core.url_to_fs(f"{root}/{name}")
        filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        filesystem.pipe_file(path, data)

    return write


def test_splits_are_listed_by_name_from_the_folder_and_the_root(root: str, put: Put) -> None:
    assert list_splits(root) == []
    put("splits/tiny.txt", b"")  # an empty split is a split
    put("splits/train.txt", b"folder\n")
    put("splits/README.md", b"no split\n")
    put("splits/.txt", b"nameless\n")
    put("test_design_ids.txt", b"a\n")
    put("train_design_ids.txt", b"root\n")
    put("blacklist.txt", b"a\n")
    assert list_splits(root) == ["test", "tiny", "train"]
    assert read_split(root, "tiny") == []
    assert read_split(root, "train") == ["folder"]
    assert read_split(root, "train_design_ids") == ["root"]


LINES = b"\xef\xbb\xbfparam1/b\r\n\n  param0/a \t\nparam1/b\n   \nwith space/\xc3\xbc\xe2\x80\xa8x"
IDS = ["param1/b", "param0/a", "param1/b", "with space/ü\u2028x"]


def test_ids_keep_their_order_without_blank_lines_and_whitespace(root: str, put: Put) -> None:
    put("splits/train.txt", LINES)
    assert read_split(root, "train") == read_split_ids(root, "splits/train.txt") == IDS
    path = f"{root}/splits/train.txt"
    assert read_split_ids("memory://other", path) == read_split_ids(path) == IDS
    put("splits/train.txt", b"\xff\xfe\x00")
    with pytest.raises(MetadataDamaged, match=r"splits/train\.txt is not UTF-8"):
        read_split(root, "train")
    with pytest.raises(MetadataDamaged, match=r"splits/train\.txt is not UTF-8"):
        read_split_ids(root, "splits/train.txt")


def test_what_a_blacklist_names_is_in_no_split(root: str, put: Put) -> None:
    put("splits/mine.txt", b"param1/a\nF_1\nF_2\nF_3\nF_4\n")
    put("train_design_ids.txt", b"F_2\nF_4\n")
    put("blacklist.txt", b"F_1\r\n\n some/where/F_2.vtk \n")
    put("blacklist2.txt", b"param1/a\n")
    assert read_split(root, "mine") == ["F_3", "F_4"]
    assert read_split(root, "train") == ["F_4"]


NOT_LISTED = [
    "../secret",
    "/etc/passwd",
    "..",
    "",
    "a/b",
    "../splits/train",
    "train\n",
    "\0",
    "secret",
    "train.txt",
    "x" * 9999,
]


@pytest.mark.parametrize("name", NOT_LISTED)
def test_names_that_are_not_listed_are_not_found_wherever_they_would_lead(root: str, put: Put, name: str) -> None:
    put("secret.txt", b"hidden\n")
    put("splits/train.txt", b"a\n")
    put("splits/a/b.txt", b"a\n")
    with pytest.raises(SplitNotFound):
        read_split(root, name)
    with pytest.raises(SplitNotFound, match="near names: train") as caught:
        read_split(root, "trian")
    assert caught.value.near == ("train",)


def test_a_split_file_is_read_from_here_where_the_store_has_none_of_that_name(
    root: str, put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.txt").write_bytes(LINES)
    monkeypatch.chdir(tmp_path / "here")
    for name in ("mine.txt", "./mine.txt", "../here/mine.txt"):
        assert read_split_ids(root, name) == read_split_ids(name) == IDS
    put("mine.txt", b"of the store\n")
    assert read_split_ids(root, "mine.txt") == ["of the store"]
    assert read_split_ids(root, "./mine.txt") == IDS


def test_a_missing_split_file_is_named_with_all_places(root: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"no split file .*/gone\.txt nor gone\.txt; it lists one sample id"):
        read_split_ids(root, "gone.txt")
    with pytest.raises(FileNotFoundError, match=r"no split file /nowhere/gone\.txt; it"):
        read_split_ids(root, "/nowhere/gone.txt")


def test_a_split_file_of_the_user_may_be_a_link_or_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "ids.txt").write_bytes(LINES)
    (tmp_path / "here" / "link.txt").symlink_to(tmp_path / "ids.txt")
    assert read_split_ids("memory://other", tmp_path / "here" / "link.txt") == IDS
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "wb") as pipe:
        pipe.write(LINES)
        pipe.close()
        assert read_split_ids("memory://other", f"/dev/fd/{reading}") == IDS


def test_a_folder_is_no_missing_split(tmp_path: Path) -> None:
    (tmp_path / "splits" / "train.txt").mkdir(parents=True)
    (tmp_path / "train_design_ids.txt").mkdir()
    with pytest.raises(StoreUnreadable, match="cannot be read"):
        read_split(tmp_path, "train")
    with pytest.raises(StoreUnreadable, match="cannot be read"):
        read_split_ids(tmp_path, "splits")
    with pytest.raises(IsADirectoryError):
        read_split_ids(tmp_path / "splits")
