"""Where a store lies: paths, URLs, buckets, and the small objects beside the arrays."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from drawpoint.errors import InvalidSettings, StoreUnreadable
from drawpoint_store import ZarrChunkReader, is_remote, make_store, read_split_ids
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.storage import BucketAccess, LocalStorage, open_storage
from drawpoint_store.storage.bucket_access import open_client
from drawpoint_store.storage.locations import join, split_path

URLS = ["s3://bucket/runs", "gs://bucket/runs", "az://container/runs", "memory://runs", "http://host/runs", "S3://b/r"]
PATHS = ["/data/runs", "runs", "./runs", "file:///data/runs", "FILE:///data/runs", "C:/runs", "odd:name/runs", ""]


@pytest.fixture
def memory() -> str:
    """An empty place in memory."""
    fsspec.filesystem("memory").store.clear()
    return "memory://place"


@pytest.mark.parametrize("url", URLS)
def test_urls_are_remote(url: str) -> None:
    assert is_remote(url)


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_not_remote(path: str) -> None:
    assert not is_remote(path)
    assert not is_remote(Path(path)) or "://" in str(Path(path))


@pytest.mark.parametrize("url", URLS[:3])
def test_buckets_are_read_through_obstore(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    store = make_store(url, read_only=True)
    assert isinstance(store, ObjectStore)
    assert store.read_only


def test_other_urls_are_read_through_fsspec(memory: str) -> None:
    assert isinstance(make_store(memory), FsspecStore)
    assert make_store(memory, read_only=True).read_only
    assert not make_store(memory).read_only


@pytest.mark.parametrize("form", [str, Path, lambda path: f"file://{path}", lambda path: f"FILE://{path}"])
def test_paths_are_read_as_files(tmp_path: Path, form: Callable[[Path], Any]) -> None:
    store = make_store(form(tmp_path))
    assert isinstance(store, LocalStore)
    assert store.root == tmp_path
    assert make_store(form(tmp_path), read_only=True).read_only


@pytest.mark.parametrize(
    ("root", "joined"),
    [
        ("/data/runs", "/data/runs/a/b"),
        ("/data/runs/", "/data/runs/a/b"),
        ("/", "/a/b"),
        ("runs", "runs/a/b"),
        ("", "a/b"),
        (".", "./a/b"),
        ("memory://", "memory://a/b"),
        ("memory://runs/", "memory://runs/a/b"),
        ("s3://bucket", "s3://bucket/a/b"),
        ("s3://bucket/", "s3://bucket/a/b"),
        ("file:///", "file:///a/b"),
        ("simplecache::s3://bucket/x//", "simplecache::s3://bucket/x/a/b"),
    ],
)
def test_names_are_joined_to_any_root(root: str, joined: str) -> None:
    assert join(root, "a/b") == joined


@pytest.mark.parametrize(
    ("location", "folder", "name"),
    [
        ("ids.txt", ".", "ids.txt"),
        ("/ids.txt", "/", "ids.txt"),
        ("a/b.txt", "a", "b.txt"),
        ("s3://bucket/a/b.txt", "s3://bucket/a", "b.txt"),
        ("memory://b.txt", "memory://", "b.txt"),
        ("file:///b.txt", "file:///", "b.txt"),
    ],
)
def test_a_file_is_split_into_its_folder_and_name(location: str, folder: str, name: str) -> None:
    assert split_path(location) == (folder, name)


def test_a_split_file_at_a_url_without_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="names no bucket; write s3://BUCKET/PATH"):
        read_split_ids(tmp_path, "s3://bucket")


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs", "Cc"]), min_size=1))
def test_what_a_name_in_a_bucket_says_is_taken_as_it_is(name: str) -> None:
    # Else `?` and `#` would end it, so that two samples could share a place, and `%2e%2e` would leave the root.
    if name not in (".", ".."):
        store = open_client(f"s3://bucket/top/{name}/b")
        assert getattr(store, "prefix") == f"top/{name}/b"  # noqa: B009  only some kinds of store have one


def test_a_quoted_parent_does_not_leave_the_root_of_a_bucket() -> None:
    store = open_client("s3://bucket/top/%2e%2e/%2E%2E/other.zarr")
    assert getattr(store, "prefix") == "top/%2e%2e/%2E%2E/other.zarr"  # noqa: B009  as above


@pytest.mark.parametrize("at", ["files", "memory"])
def test_small_objects_are_written_read_listed_and_deleted(tmp_path: Path, memory: str, at: str) -> None:
    storage = open_storage(tmp_path if at == "files" else memory)
    assert storage.read("manifest.json") is None
    assert storage.stamp("manifest.json") is None
    assert storage.last_change("splits") is None
    assert storage.list("splits") == ([], [])
    assert storage.write("manifest.json", b"one") == f"{storage}/manifest.json"
    storage.write("manifest.json", b"two")
    for name, data in {"val.txt": b"", "a.txt": b"x", "deeper/b.txt": b"yz"}.items():
        storage.write(f"splits/{name}", data, durable=False)
    assert storage.read("manifest.json") == b"two"
    assert storage.read("splits/val.txt") == b""
    assert storage.list("") == (["splits"], ["manifest.json"])
    assert storage.list("splits") == (["deeper"], ["a.txt", "val.txt"])
    assert storage.count_bytes("splits") == 3
    assert abs((storage.last_change("splits") or 0) - time.time()) < 60
    storage.delete(["splits/a.txt", "splits/gone.txt"])
    assert storage.list("splits") == (["deeper"], ["val.txt"])
    storage.delete_tree("splits")
    storage.delete_tree("manifest.json")
    storage.delete_tree("gone")
    assert storage.list("") == ([], [])


def test_an_object_is_replaced_only_if_it_is_as_it_was(tmp_path: Path, memory: str) -> None:
    for storage in (open_storage(tmp_path), open_storage(memory)):
        assert storage.replace("manifest.json", b"one", None)
        stamp = storage.stamp("manifest.json")
        assert not storage.replace("manifest.json", b"another", None)
        assert storage.replace("manifest.json", b"two!", stamp)
        assert not storage.replace("manifest.json", b"three", stamp)
        assert storage.read("manifest.json") == b"two!"


def test_a_storage_is_opened_once_and_pickles(tmp_path: Path) -> None:
    storage = open_storage(tmp_path, BucketAccess(document_bytes=2**27))
    assert open_storage(storage) is storage
    again = pickle.loads(pickle.dumps(storage))
    assert (type(again), again.root, again.access) == (LocalStorage, str(tmp_path), storage.access)


def test_the_root_of_a_storage_can_be_a_store(memory: str) -> None:
    storage = open_storage(memory.removesuffix("place"))
    storage.write("manifest.json", b"one")
    assert storage.read("manifest.json") == b"one"
    assert storage.list("")[1] == ["manifest.json"]


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


@pytest.mark.parametrize("url", ["s3:///made", "s3:/cars/made", ""])
def test_a_malformed_url_is_named_with_what_to_write(url: str) -> None:
    with pytest.raises(InvalidSettings, match=f"^{url!r} (names no bucket; write s3://made|is neither|names no dir)"):
        ZarrChunkReader(url)


def test_a_folder_in_place_of_an_object_is_not_taken_for_missing(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(StoreUnreadable, match=r"manifest\.json cannot be read"):
        StoreManifest.load(tmp_path)


def test_a_storage_that_does_not_answer_is_not_taken_for_missing() -> None:
    with pytest.raises(StoreUnreadable, match=r"http://127\.0\.0\.1:1/runs/manifest\.json cannot be read"):
        StoreManifest.load("http://127.0.0.1:1/runs")


def test_an_unknown_kind_of_storage_is_named() -> None:
    with pytest.raises(StoreUnreadable, match=r"(?i)nosuch://runs/manifest\.json cannot be read: .*nosuch"):
        StoreManifest.load("nosuch://runs")


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"])
def test_plain_http_is_spoken_only_where_the_endpoint_says_so(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for each in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert _client_options(open_client("s3://bucket/top")).get("allow_http") is not None
    monkeypatch.setenv(name, "https://127.0.0.1:1")
    assert _client_options(open_client("s3://bucket/top")).get("allow_http") is None


def _client_options(store: Any) -> dict[str, Any]:
    return dict(store.client_options or {})
