"""Paths and URLs as people write them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drawpoint.errors import InvalidSettings
from drawpoint_store import ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.file_tree import FileTree
from drawpoint_store.conversion.filemaps import detect_filemap
from drawpoint_store.storage.locations import check_location, contains, local_path
from trees import files_below, run_tensors, write_run, write_runs


def writer_at(root: object) -> ZarrStoreWriter:
    return ZarrStoreWriter(str(root), detect_filemap(run_tensors()), "made")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("half", "url"),
    [
        ("s3:/bucket/cars", "s3://bucket/cars"),
        ("s3:bucket/cars", "s3://bucket/cars"),
        ("s3//bucket/cars", "s3://bucket/cars"),
        ("S3:/bucket", "S3://bucket"),
        ("gs:/", "gs://"),
        ("memory:/x", "memory://x"),
        ("http:/host/x", "http://host/x"),
        ("https:host/x", "https://host/x"),
        ("file:/data/x", "file:///data/x"),
        ("nosuch:/x", "nosuch://x"),
        ("nosuch:", "nosuch://"),
    ],
)
def test_half_a_url_is_refused_with_the_whole_one_wherever_a_path_is_taken(half: str, url: str, here: Path) -> None:
    write_runs(here / "runs", 1)
    manifest = writer_at("store").manifest
    for use in (
        lambda: check_location(half),
        lambda: ZarrChunkReader(half),
        lambda: FileTree.scan(half),
        lambda: convert("runs", writer_at(half)),
        lambda: convert(half, writer_at("store")),
        lambda: manifest.save(half),
    ):
        with pytest.raises(InvalidSettings, match=re.escape(f"is neither path nor URL; the URL is {url}")):
            use()
    assert sorted(path.name for path in here.iterdir()) == ["home", "runs"]


@pytest.mark.parametrize("name", ["./s3:/bucket", "a:b", "odd:name/runs", "C:/runs", "./a//b", "x/s3:/y"])
def test_folders_with_colons_are_reached_by_paths(name: str, here: Path) -> None:
    write_runs(here / "runs", 1)
    convert(here / "runs", writer_at(name))
    assert (here / name / "manifest.json").is_file()
    assert ZarrChunkReader(name).manifest.samples.keys() == {"run_0"}


@pytest.mark.parametrize("location", ["s3://", "s3:///bucket/cars", "gs:///x", "az://"])
def test_a_url_without_a_bucket_is_refused(location: str) -> None:
    with pytest.raises(InvalidSettings, match=r"names no bucket; write \w+://(bucket/cars|x|BUCKET/PATH)"):
        check_location(location)


def test_home_directories_are_expanded_in_paths_and_in_no_url(here: Path) -> None:
    assert local_path("~/x") == here / "home" / "x"
    assert local_path("~") == here / "home"
    assert local_path("~root/x") == Path("~root").expanduser() / "x"
    assert local_path("x/~/y") == Path("x/~/y")
    check_location("s3://bucket/~/x")
    with pytest.raises(InvalidSettings, match=r"user who is not known here; a folder called ~nobody-here is \./"):
        local_path("~nobody-here/x")


def test_runs_and_stores_below_home_are_found(here: Path) -> None:
    write_runs(here / "home" / "runs", 1)
    convert("~/runs", writer_at("~/store"))
    assert (here / "home" / "store" / "manifest.json").is_file()
    assert ZarrChunkReader("~/store").read_sample("run_0")["surface_position"].shape == (300, 3)
    assert not (here / "~").exists()


@pytest.mark.parametrize(
    ("source", "root"),
    [
        ("runs", "runs"),
        ("runs", "runs/"),
        ("runs", "runs/store"),
        ("runs", "./runs/../runs/run_0/store"),
        ("runs", "file://{here}/runs/store"),
        ("link", "runs/store"),
        ("runs", "link/store"),
        ("runs/run_0", "runs"),
        ("link/run_0", "{here}/runs"),
        ("~/runs", "home/runs/store"),
        ("s3://bucket/runs", "s3://bucket/runs/store"),
        ("s3://bucket/runs/", "s3a://bucket/runs"),
        ("s3://bucket", "s3://bucket/store"),
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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("runs", "runs_store"),
        ("runs", "store"),
        ("s3://bucket/runs", "s3://bucket/runs2"),
        ("s3://bucket/runs", "gs://bucket/runs"),
        ("s3://bucket/runs", "bucket/runs"),
    ],
)
def test_neighbours_do_not_lie_in_each_other(one: str, other: str) -> None:
    assert not contains(one, other)
    assert not contains(other, one)
