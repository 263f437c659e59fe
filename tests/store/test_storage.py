"""Where a store lies: paths and URLs as people write them, buckets, and the small objects beside the arrays."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from drawpoint.errors import InvalidSettings, StoreUnreadable
from drawpoint_store import ZarrChunkReader, is_remote, make_store
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.sources.file_tree import FileTree
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.storage import open_storage
from drawpoint_store.storage.bucket_access import open_client
from drawpoint_store.storage.locations import check_location, contains, join, local_path
from trees import files_below, write_run, write_runs, writer_at

URLS = ["s3://bucket/runs", "gs://bucket/runs", "az://container/runs", "memory://runs", "http://host/runs", "S3://b/r"]
PATHS = ["/data/runs", "runs", "./runs", "file:///data/runs", "FILE:///data/runs", "C:/runs", "odd:name/runs", ""]


@pytest.fixture
def memory() -> str:
    """An empty place in memory."""
    fsspec.filesystem("memory").store.clear()
    return "memory://place"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a folder `home` that is the user's."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_urls_are_remote_and_paths_are_not() -> None:
    assert [url for url in URLS if not is_remote(url)] == []
    assert [path for path in PATHS if is_remote(path)] == []


@pytest.mark.parametrize("url", URLS[:4])
def test_buckets_are_read_through_obstore_and_other_urls_through_fsspec(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    store = make_store(url, read_only=True)
    assert isinstance(store, FsspecStore if url.startswith("memory") else ObjectStore)
    assert store.read_only
    assert not make_store(url).read_only


@pytest.mark.parametrize("form", [str, Path, lambda path: f"file://{path}", lambda path: f"FILE://{path}"])
def test_paths_are_read_as_files(tmp_path: Path, form: Callable[[Path], Any]) -> None:
    store = make_store(form(tmp_path), read_only=True)
    assert isinstance(store, LocalStore)
    assert store.root == tmp_path
    assert store.read_only


def test_names_are_joined_to_any_root(memory: str) -> None:
    for root, joined in {
        "/data/runs/": "/data/runs/a/b",
        "/": "/a/b",
        "": "a/b",
        "memory://": "memory://a/b",
        "s3://bucket": "s3://bucket/a/b",
        "simplecache::s3://bucket/x//": "simplecache::s3://bucket/x/a/b",
    }.items():
        assert join(root, "a/b") == joined
    storage = open_storage(memory.removesuffix("place"))
    storage.write("manifest.json", b"one")
    assert storage.list("")[1] == ["manifest.json"]


@settings(max_examples=25)
@example("%2e%2e")
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs", "Cc"]), min_size=1))
def test_what_a_name_in_a_bucket_says_is_taken_as_it_is(name: str) -> None:
    # Else `?` and `#` would end it, so that two samples could share a place, and `%2e%2e` would leave the root.
    if name not in (".", ".."):
        store = open_client(f"s3://bucket/top/{name}/b")
        assert getattr(store, "prefix") == f"top/{name}/b"  # noqa: B009  only some kinds of store have one


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"])
def test_plain_http_is_spoken_only_where_the_endpoint_says_so(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for each in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.delenv(each, raising=False)
    for scheme, allowed in (("http", True), ("https", False)):
        monkeypatch.setenv(name, f"{scheme}://127.0.0.1:1")
        client: Any = open_client("s3://bucket/top")
        assert ("allow_http" in (client.client_options or {})) is allowed


@pytest.mark.parametrize("at", ["files", "memory"])
def test_small_objects_are_written_read_listed_replaced_and_deleted(tmp_path: Path, memory: str, at: str) -> None:
    storage = open_storage(tmp_path if at == "files" else memory)
    assert storage.read("manifest.json") is None
    assert storage.stamp("manifest.json") is None
    assert storage.last_change("splits") is None
    assert storage.list("splits") == ([], [])
    assert storage.write("manifest.json", b"one") == f"{storage}/manifest.json"
    stamp = storage.stamp("manifest.json")
    assert not storage.replace("manifest.json", b"another", None)
    assert storage.replace("manifest.json", b"two!", stamp)  # it is as it was
    assert not storage.replace("manifest.json", b"three", stamp)
    assert storage.read("manifest.json") == b"two!"
    assert storage.replace("splits/val.txt", b"", None)
    for name, data in {"a.txt": b"x", "deeper/b.txt": b"yz"}.items():
        storage.write(f"splits/{name}", data, durable=False)
    assert storage.read("splits/val.txt") == b""
    assert storage.list("") == (["splits"], ["manifest.json"])
    assert storage.list("splits") == (["deeper"], ["a.txt", "val.txt"])
    assert storage.count_bytes("splits") == 3
    assert abs((storage.last_change("splits") or 0) - time.time()) < 60
    storage.delete(["splits/a.txt", "splits/gone.txt"])
    assert storage.list("splits") == (["deeper"], ["val.txt"])
    for name in ("splits", "manifest.json", "gone"):
        storage.delete_tree(name)
    assert storage.list("") == ([], [])


def test_an_object_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(tmp_path)
    storage.write("manifest.json", b"old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)  # no real disk can be filled here
    with pytest.raises(StoreUnreadable, match=r"manifest\.json cannot be written: .*No space left"):
        storage.write("manifest.json", b"new")
    assert storage.list("") == ([], ["manifest.json"])
    assert storage.read("manifest.json") == b"old"


@pytest.mark.parametrize(
    ("root", "reason"), [("http://127.0.0.1:1/runs", ""), ("nosuch://runs", "(?i).*nosuch")], ids=["silent", "unknown"]
)
def test_a_storage_that_does_not_answer_is_not_taken_for_missing(root: str, reason: str) -> None:
    with pytest.raises(StoreUnreadable, match=rf"{reason}.*manifest\.json cannot be read"):
        StoreManifest.load(root)


@pytest.mark.parametrize(
    ("half", "url"),
    [
        ("s3:/bucket/cars", "s3://bucket/cars"),
        ("s3//bucket/cars", "s3://bucket/cars"),
        ("S3:bucket", "S3://bucket"),
        ("https:host/x", "https://host/x"),
        ("file:/data/x", "file:///data/x"),
        ("nosuch:", "nosuch://"),
    ],
)
def test_half_a_url_is_refused_with_the_whole_one_wherever_a_path_is_taken(half: str, url: str, here: Path) -> None:
    write_runs(here / "runs", 1)
    manifest = writer_at("store").manifest
    for use in (
        lambda: ZarrChunkReader(half),
        lambda: FileTree.scan(half),
        lambda: convert("runs", writer_at(half)),
        lambda: convert(half, writer_at("store")),
        lambda: manifest.save(half),
    ):
        with pytest.raises(InvalidSettings, match=re.escape(f"is neither path nor URL; the URL is {url}")):
            use()
    assert sorted(path.name for path in here.iterdir()) == ["home", "runs"]


def test_a_url_without_a_bucket_and_an_empty_location_are_refused() -> None:
    for location in ("s3://", "s3:///bucket/cars", "gs:///x", "az://"):
        with pytest.raises(InvalidSettings, match=r"names no bucket; write \w+://(bucket/cars|x|BUCKET/PATH)"):
            ZarrChunkReader(location)
    with pytest.raises(InvalidSettings, match=r"^'' names no dir"):
        ZarrChunkReader("")


@pytest.mark.parametrize("name", ["./s3:/bucket", "odd:name/runs", "C:/runs", "./a//b"])
def test_folders_with_colons_are_reached_by_paths(name: str, here: Path) -> None:
    write_runs(here / "runs", 1)
    convert(here / "runs", writer_at(name))
    assert (here / name / "manifest.json").is_file()
    assert ZarrChunkReader(name).manifest.samples.keys() == {"run_0"}


def test_home_directories_are_expanded_in_paths_and_in_no_url(here: Path) -> None:
    assert local_path("~") == here / "home"
    assert local_path("~root/x") == Path("~root").expanduser() / "x"
    assert local_path("x/~/y") == Path("x/~/y")
    check_location("s3://bucket/~/x")
    with pytest.raises(InvalidSettings, match=r"user who is not known here; a folder called ~nobody-here is \./"):
        local_path("~nobody-here/x")
    write_runs(here / "home" / "runs", 1)
    convert("~/runs", writer_at("~/store"))
    assert (here / "home" / "store" / "manifest.json").is_file()
    assert ZarrChunkReader("~/store").read_sample("run_0")["surface_position"].shape == (300, 3)
    assert not (here / "~").exists()


@pytest.mark.parametrize(
    ("source", "root"),
    [
        ("runs", "runs/"),
        ("runs", "./runs/../runs/run_0/store"),
        ("runs", "file://{here}/runs/store"),
        ("link", "runs/store"),
        ("runs", "link/store"),
        ("link/run_0", "{here}/runs"),
        ("~/runs", "home/runs/store"),
        ("s3://bucket/runs/", "s3a://bucket/runs"),
        ("s3://bucket/store/runs", "S3://bucket/store"),
        ("memory://runs", "memory://runs/store"),
    ],
)
def test_neither_source_nor_store_lies_in_the_other(source: str, root: str, here: Path) -> None:
    write_run(here / "runs" / "run_0")
    (here / "link").symlink_to("runs")
    before = files_below(here)
    with pytest.raises(ValueError, match=r"(would lie inside its source|lies inside the store)"):
        convert(source, writer_at(root.format(here=here)))
    assert files_below(here) == before


def test_neighbours_do_not_lie_in_each_other() -> None:
    for one, other in (
        ("runs", "runs_store"),
        ("s3://bucket/runs", "s3://bucket/runs2"),
        ("s3://bucket/runs", "gs://bucket/runs"),
        ("s3://bucket/runs", "bucket/runs"),
    ):
        assert not contains(one, other)
        assert not contains(other, one)
