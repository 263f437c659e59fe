"""Two conversions into one root of a real bucket at once: one is published whole, and the other says so."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drawpoint.errors import RevisionChanged
from drawpoint_store import StoreManifest, ZarrChunkReader
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.journal import Journal
from drawpoint_store.conversion.publishing.report import ConversionReport
from drawpoint_store.conversion.sources.pt_source import PtSource
from drawpoint_store.inspecting.comparison import compare_samples
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.maintenance.prune import find_leftovers
from drawpoint_store.storage import open_storage
from s3 import Bucket
from small import same
from trees import RUN_FILEMAP, write_run, writer_at

RUNS = ("a", "b", "c")
Interpose = Callable[[Callable[[], object]], list[object]]
MOMENTS = [(Journal, "add", 1), (Journal, "add", 3), (Journal, "write_report", 1), (StoreManifest, "save", 1)]
"""Where the second conversion runs from its beginning to its end: within the first, at the given call of these."""


@pytest.fixture
def root(bucket: Bucket, tmp_path: Path, bucket_environment: None) -> str:
    return f"s3://{bucket.name}/{tmp_path.name}"


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    """Return two sources of the same samples with other values."""
    for source, first_seed in (("one", 0), ("two", 10)):
        for number, name in enumerate(RUNS):
            write_run(tmp_path / source / name, first_seed + number)
    return tmp_path / "one", tmp_path / "two"


@pytest.fixture(params=MOMENTS, ids=lambda moment: f"{moment[1]}-{moment[2]}")
def interpose(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Interpose:
    """Return what has work done within the conversion that comes, and returns the list that its result comes into."""
    owner, name, call = request.param
    original, calls, returned = getattr(owner, name), itertools.count(1), []

    def during(work: Callable[[], object]) -> list[object]:
        def interposed(*arguments: Any) -> Any:
            if next(calls) == call:
                monkeypatch.setattr(owner, name, original)
                returned.append(work())
            return original(*arguments)

        monkeypatch.setattr(owner, name, interposed)
        return returned

    return during


def assert_holds(root: str, source: Path, ids: tuple[str, ...] = RUNS) -> None:
    """Assert that the store is undamaged and holds the values of `source`, and nothing else."""
    assert sorted(StoreManifest.load(root).samples) == sorted(ids)
    assert [problem for check in verify_store(root) for problem in check.problems] == []
    compared = list(compare_samples(root, PtSource.scan(source, RUN_FILEMAP)))
    assert [each.differences for each in compared] == [()] * len(ids)


def records(root: str) -> list[str]:
    names = [name for folder in (".convert", ".convert/samples") for name in open_storage(root).list(folder)[1]]
    return [name for name in names if name.endswith(".json")]


def test_conversions_that_overlap_and_differ_in_their_sources_publish_one_and_refuse_the_other(
    root: str, sources: tuple[Path, Path], interpose: Interpose
) -> None:
    one, two = sources
    interpose(lambda: convert(two, writer_at(root)))
    with pytest.raises(RevisionChanged, match=r"another process published .* run the same command again"):
        convert(one, writer_at(root))
    assert_holds(root, two)


def test_conversions_that_overlap_and_differ_in_their_settings_publish_one_and_refuse_the_other(
    root: str, sources: tuple[Path, Path], interpose: Interpose
) -> None:
    one, _ = sources
    interpose(lambda: convert(one, writer_at(root, shuffle_seed=1, chunk_points=32)))
    with pytest.raises(RevisionChanged):
        convert(one, writer_at(root))
    assert_holds(root, one)
    assert StoreManifest.load(root).shuffle_seed == 1
    assert convert(one, writer_at(root), existing="overwrite").resumed == 3  # its own work was not lost
    assert_holds(root, one)
    assert StoreManifest.load(root).shuffle_seed == 0
    assert len(find_leftovers(root, StoreManifest.load(root))) == 3


def test_equal_conversions_that_overlap_agree(root: str, sources: tuple[Path, Path], interpose: Interpose) -> None:
    one, _ = sources
    inner = interpose(lambda: convert(one, writer_at(root)))
    outer = convert(one, writer_at(root))
    (report,) = inner
    assert isinstance(report, ConversionReport)
    assert report.revision == outer.revision == StoreManifest.load(root).revision
    assert_holds(root, one)
    assert find_leftovers(root, StoreManifest.load(root)) == []
    assert records(root) == []


def test_appends_that_overlap_lose_neither_s_samples(
    root: str, sources: tuple[Path, Path], tmp_path: Path, interpose: Interpose
) -> None:
    one, _ = sources
    convert(one, writer_at(root))
    for number, name in enumerate(("x1", "x2", "x3", "y")):
        write_run(tmp_path / name[0] / name, 20 + number)
    interpose(lambda: convert(tmp_path / "y", writer_at(root), existing="append"))
    with pytest.raises(RevisionChanged):
        convert(tmp_path / "x", writer_at(root), existing="append")
    assert sorted(StoreManifest.load(root).samples) == [*RUNS, "y"]
    again = convert(tmp_path / "x", writer_at(root), existing="append")
    assert again.resumed == 3
    assert sorted(StoreManifest.load(root).samples) == [*RUNS, "x1", "x2", "x3", "y"]


def test_a_reader_of_a_store_that_is_written_again_with_the_same_values_reads_on(
    root: str, sources: tuple[Path, Path]
) -> None:
    one, two = sources
    convert(one, writer_at(root))
    reader = ZarrChunkReader(root)
    before = reader.read_sample("a", {"surface": 50}, seed=1)
    convert(two, writer_at(root), existing="overwrite")
    convert(one, writer_at(root), existing="overwrite")
    assert_holds(root, one)
    assert StoreManifest.load(root).samples == reader.manifest.samples
    again = reader.read_sample("a", {"surface": 50}, seed=1)
    assert same(again, before)
