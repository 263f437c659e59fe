"""Statistics that a conversion measures of what it writes: the bits of a second read, whatever converts and resumes."""

from __future__ import annotations

import itertools
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch

from drawpoint.errors import RevisionChanged
from drawpoint_store import StoreManifest, calculate_store_statistics
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.sharing.shares import Share, convert_share, publish_shares
from drawpoint_store.conversion.sources.pt_source import PtSource
from drawpoint_store.statistics.documents import statistics_json
from drawpoint_store.statistics.moments_table import MOMENTS_NAME
from trees import RUN_FILEMAP, SplitSource, run_tensors, write_run, write_runs, writer_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def source_at(runs: Path) -> SplitSource:
    source = SplitSource.scan(runs, RUN_FILEMAP)
    assert isinstance(source, SplitSource)
    return source


def measured_again(root: Path, split: str | None, ids: list[str] | None) -> bytes:
    """Return what `drawpoint stats` writes when it reads the samples of a store."""
    revision = StoreManifest.load(root).revision
    statistics = calculate_store_statistics(root, sample_ids=ids, reread=True)
    count = len(StoreManifest.load(root).samples if ids is None else ids)
    return statistics_json(statistics, revision=revision, split=split, n_samples=count)


def of_training(root: Path) -> bytes:
    return measured_again(root, "train", ["run_0", "run_2"])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_runs(tmp_path / "runs", 3)
    return tmp_path / "runs"


def lose_chunks(root: Path, *ids: str) -> None:
    """Remove the data of samples, so that a read of any of them is an error."""
    for sample_id in ids:
        for path in list((root / f"{sample_id}.zarr").rglob("c")):
            shutil.rmtree(path)


def by_workers(runs: Path, root: Path) -> None:
    convert(source_at(runs), writer_at(root), workers=2)


def by_executor(runs: Path, root: Path) -> None:
    with ThreadPoolExecutor(2) as executor:
        convert(source_at(runs), writer_at(root), executor=executor)


def by_shares(runs: Path, root: Path) -> None:
    for number in (2, 1):
        convert_share(source_at(runs), writer_at(root), Share(number, 2))
    publish_shares(source_at(runs), writer_at(root))


def by_a_run_without_and_one_with_statistics(runs: Path, root: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drawpoint_store.conversion.convert.publish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            convert(source_at(runs), writer_at(root), stats=False)
    assert convert(source_at(runs), writer_at(root)).resumed == 3


def by_damaged_records(runs: Path, root: Path) -> None:
    convert_share(source_at(runs), writer_at(root), Share(1, 1))
    for place in (root / ".convert" / "samples").iterdir():
        record = json.loads(place.read_text())
        packed = record["moments"]["surface_pressure"]
        record["moments"]["surface_pressure"] = ("B" if packed[20] == "A" else "A").join([packed[:20], packed[21:]])
        record["moments"]["volume_position"] = "?"
        place.write_text(json.dumps(record))
    publish_shares(source_at(runs), writer_at(root))


def by_two_appends(runs: Path, root: Path) -> None:
    one = root.parent / "one"
    shutil.copytree(runs / "run_1", one / "run_1")
    convert(source_at(one), writer_at(root))
    lose = root / "run_1.zarr" / "volume" / "position" / "c"
    lose.rename(root.parent / "lost")  # what the store holds is not read
    convert(source_at(runs), writer_at(root), existing="append")
    (root.parent / "lost").rename(lose)


@pytest.mark.parametrize(
    "way",
    [
        by_workers,
        by_executor,
        by_shares,
        by_a_run_without_and_one_with_statistics,
        by_damaged_records,
        by_two_appends,
    ],
)
def test_statistics_of_the_training_split_are_those_of_a_second_read_to_the_last_bit(
    runs: Path, tmp_path: Path, way: Callable[[Path, Path], None]
) -> None:
    plain, root = tmp_path / "plain", tmp_path / "store"
    report = convert(source_at(runs), writer_at(plain))
    assert report.statistics is not None
    assert (report.statistics.split, report.statistics.n_samples, report.statistics.refusal) == ("train", 2, "")
    assert (plain / "statistics.json").read_bytes() == of_training(plain)
    way(runs, root)
    for name in ("manifest.json", "statistics.json", MOMENTS_NAME):
        assert (root / name).read_bytes() == (plain / name).read_bytes(), name
    again = calculate_store_statistics(root, sample_ids=["run_1"], reread=True)
    lose_chunks(root, "run_0", "run_1", "run_2")
    kept = calculate_store_statistics(root, sample_ids=["run_1"])
    assert {field: stats.to_dict() for field, stats in kept.items()} == {
        field: stats.to_dict() for field, stats in again.items()
    }


def test_arrays_that_are_taken_over_from_a_run_with_other_dtypes_keep_their_moments(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, fresh = tmp_path / "store", tmp_path / "fresh"
    write_run(runs / "run_2", 2, surface_pressure=run_tensors(2)["surface_pressure.pt"] * 1e5)
    assert convert(source_at(runs), writer_at(root), keep_finished=True).overflows
    dtypes = {"surface_pressure": "float32"}
    monkeypatch.setattr(
        "drawpoint_store.conversion.publishing.measured_samples.measure_samples", interrupt
    )  # nothing is read back
    report = convert(source_at(runs), writer_at(root, field_dtypes=dtypes), existing="overwrite")
    assert report.kept == 6
    convert(source_at(runs), writer_at(fresh, field_dtypes=dtypes))
    assert (root / MOMENTS_NAME).read_bytes() == (fresh / MOMENTS_NAME).read_bytes()
    assert (root / "statistics.json").read_bytes() == of_training(root)


@pytest.mark.parametrize("name", ["publish_statistics", "write_moments"])
def test_after_a_kill_around_the_manifest_the_same_call_writes_what_is_missing(
    runs: Path, tmp_path: Path, name: str
) -> None:
    root, plain = tmp_path / "store", tmp_path / "plain"
    convert(source_at(runs), writer_at(plain))
    write_runs(tmp_path / "older", 2)
    convert(source_at(tmp_path / "older"), writer_at(root, chunk_points=32))
    old = (root / "statistics.json").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"drawpoint_store.conversion.publishing.publication.{name}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            convert(source_at(runs), writer_at(root), existing="overwrite")
    assert (root / "statistics.json").read_bytes() == old  # of the old revision, and says so
    assert json.loads(old)["revision"] != StoreManifest.load(plain).revision
    report = convert(source_at(runs), writer_at(root), existing="overwrite")
    assert report.statistics is not None
    assert report.revision == StoreManifest.load(root).revision
    assert (root / "statistics.json").read_bytes() == of_training(root)
    assert not (root / ".convert" / "samples").exists()


def test_statistics_are_on_where_splits_are_known_and_as_they_are_asked_for_elsewhere(
    runs: Path, tmp_path: Path
) -> None:
    places = (tmp_path / str(number) for number in itertools.count())

    def written(source: PtSource, **options: Any) -> list[bool]:
        root = next(places)
        report = convert(source, writer_at(root), **options)
        found = [(root / name).exists() for name in ("statistics.json", MOMENTS_NAME)]
        assert (report.statistics is not None) == found[0]
        return found

    plain = PtSource.scan(runs, RUN_FILEMAP)
    assert written(plain) == [False, False]
    assert written(source_at(runs), stats=False) == [False, False]
    assert written(plain, stats=True) == [True, True]
    root = tmp_path / "with splits"
    convert(PtSource(plain.only("run_0").tree, RUN_FILEMAP), writer_at(root))
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("run_1\nrun_2\n")
    added = convert(plain, writer_at(root), existing="append")
    assert added.statistics is not None
    assert (added.statistics.split, added.statistics.n_samples) == ("train", 2)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"train": ["run_1"], "train_small": ["run_0"]}, ("train", 1)),
        ({"train_small": ["run_0"], "val": ["run_1"]}, ("train_small", 1)),
        ({"train_a": ["run_0"], "train_b": ["run_1"]}, (None, 3)),
        ({"val": ["run_1"]}, (None, 3)),
    ],
)
def test_the_training_split_is_told_by_its_name(
    runs: Path, tmp_path: Path, splits: dict[str, list[str]], expected: tuple[str | None, int]
) -> None:
    source = source_at(runs)
    source.__dict__["splits"] = splits
    report = convert(source, writer_at(tmp_path / "store"))
    assert report.statistics is not None
    assert (report.statistics.split, report.statistics.n_samples) == expected
    document = json.loads((tmp_path / "store" / "statistics.json").read_bytes())
    assert (document["split"], document["n_samples"]) == expected


def document(root: Path, split: str | None, **entry: object) -> bytes:
    values = {"revision": "older", "split": split, "n_samples": 1, "fields": {"surface_pressure": entry}}
    (root / "statistics.json").write_text(json.dumps(values))
    return (root / "statistics.json").read_bytes()


def test_statistics_that_exist_are_renewed_of_their_own_split_unless_they_are_scaled(
    runs: Path, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    convert(source_at(runs), writer_at(root))

    def again() -> Any:
        return convert(source_at(runs), writer_at(root), existing="overwrite").statistics

    document(root, "val")
    assert (again().split, json.loads((root / "statistics.json").read_bytes())["split"]) == ("val", "val")
    assert (root / "statistics.json").read_bytes() == measured_again(root, "val", ["run_1"])
    document(root, None)
    assert (again().split, again().n_samples) == (None, 3)
    document(root, "gone")
    assert again().split == "train"
    (root / "statistics.json").write_text("damaged")
    assert again().split == "train"
    scaled = document(root, "val", scale="U_inf")
    assert again() is None
    assert (root / "statistics.json").read_bytes() == scaled


@pytest.mark.parametrize(
    ("ids", "before", "is_marked"),
    [
        (["run_1"], None, True),
        (["run_2", "run_0", "run_7"], None, False),
        (["run_0", "run_2"], b"\xff", True),
    ],
)
def test_a_conversion_that_is_killed_after_it_changed_a_split_leaves_no_statistics_of_the_earlier_one(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ids: list[str],
    before: bytes | None,
    *,
    is_marked: bool,
) -> None:
    root = tmp_path / "store"
    revision = convert(source_at(runs), writer_at(root)).revision
    if before is not None:
        (root / "splits" / "train.txt").write_bytes(before)
    source = source_at(runs)
    source.__dict__["splits"] = {"train": ids}
    monkeypatch.setattr("drawpoint_store.conversion.publishing.publication.gather_moments", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert(source, writer_at(root), existing="overwrite")
    assert StoreManifest.load(root).revision == revision
    expected = "none, since split train was changed" if is_marked else revision
    assert json.loads((root / "statistics.json").read_bytes())["revision"] == expected


def test_a_conversion_that_comes_after_another_one_leaves_its_splits_and_statistics_as_they_are(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    convert(source_at(runs), writer_at(root))
    names = ["splits/train.txt", "splits/val.txt", "statistics.json", MOMENTS_NAME]
    before = [(root / name).read_bytes() for name in names]
    other = StoreManifest.load(root).model_copy(update={"dataset_name": "other"})
    monkeypatch.setattr("drawpoint_store.conversion.convert.check_precision", lambda *_: other.save(root))
    source = source_at(runs)
    source.__dict__["splits"] = {"train": ["run_1"]}
    write_run(runs / "run_1", 7)
    with pytest.raises(RevisionChanged, match="nothing of it was changed"):
        convert(source, writer_at(root), existing="overwrite")
    assert [(root / name).read_bytes() for name in names] == before


def test_what_the_store_held_unmeasured_is_not_read_and_the_report_says_so(runs: Path, tmp_path: Path) -> None:
    root, one = tmp_path / "store", tmp_path / "one"
    shutil.copytree(runs / "run_0", one / "run_0")
    convert(source_at(one), writer_at(root), stats=False)
    lose_chunks(root, "run_0")
    report = convert(source_at(runs), writer_at(root), existing="append")
    assert report.statistics is not None
    assert report.statistics.refusal.startswith("1 sample of 2 could not be, or were not, measured on the way: run_0")
    assert not (root / "statistics.json").exists()
    kept = calculate_store_statistics(root, sample_ids=["run_1", "run_2"])
    lose_chunks(root, "run_1", "run_2")
    assert calculate_store_statistics(root, sample_ids=["run_1", "run_2"]).keys() == kept.keys()


def test_a_split_without_a_sample_and_a_field_too_large_to_square_are_refused_and_the_store_is_published(
    runs: Path, tmp_path: Path
) -> None:
    source = source_at(runs)
    source.__dict__["splits"] = {"train": ["run_9"]}
    found = convert(source, writer_at(tmp_path / "none")).statistics
    assert found is not None
    assert (found.split, found.refusal) == ("train", "the store holds no sample of split train")
    write_run(runs / "run_2", 2, surface_pressure=torch.linspace(-1e300, 1e300, 300, dtype=torch.float64))
    writer = writer_at(tmp_path / "large", field_dtypes={"surface_pressure": "float64"})
    report = convert(source_at(runs), writer)
    assert report.statistics is not None
    assert "1 sample of 2 could not be, or were not, measured on the way: run_2" in report.statistics.refusal
    assert report.converted == ["run_0", "run_1", "run_2"]
