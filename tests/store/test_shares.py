"""Conversions that several processes share: the store is that of an undivided one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drawpoint.errors import ConversionUnfinished, StoreExists, StoreUnreadable, ValueOverflow
from drawpoint_store import StoreManifest
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.journal import Journal
from drawpoint_store.conversion.publishing.report import ConversionReport
from drawpoint_store.conversion.sample_conversion import Task
from drawpoint_store.conversion.sharing.shares import Share, convert_share, publish_shares
from drawpoint_store.maintenance.prune import prune_store
from drawpoint_store.storage import LocalStorage, open_storage
from drawpoint_store.writing.lock import lock_share, lock_store
from small import small_arrays, small_writer
from trees import SURFACE, files_below, write_run, write_runs, writer_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from drawpoint_store.conversion.planning.target import Existing

DAY = 86_400.0


def without_times(report: ConversionReport) -> ConversionReport:
    return report.model_copy(update={"seconds": 0.0, "resumed": 0})


def interrupted_after(moment: int) -> Callable[..., None]:
    """Return a `move_in` that is interrupted when so many groups have been moved."""
    move_in, left = LocalStorage.move_in, iter(range(moment))

    def move_some(storage: LocalStorage, folder: Path, path: str, last: str) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        move_in(storage, folder, path, last)

    return move_some


def no_flock(*_: object) -> None:
    raise OSError(errno.ENOLCK, "no locks here")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Seven runs, of which one is broken and one not finite."""
    write_runs(tmp_path / "runs", 5)
    write_run(tmp_path / "runs" / "broken", surface_pressure=None)
    write_run(tmp_path / "runs" / "odd", surface_pressure=[float("nan")])
    return tmp_path / "runs"


@given(st.integers(1, 40), st.integers(0, 60))
def test_each_sample_is_in_one_share(total: int, count: int) -> None:
    tasks = [Task(str(number), "", "") for number in range(count)]
    shares = [Share(number, total).of(tasks) for number in range(1, total + 1)]
    assert sorted((task for share in shares for task in share), key=tasks.index) == tasks
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("total", "existing"), [(1, "append"), (3, "refuse"), (3, "overwrite"), (9, "append")])
def test_shares_in_any_order_killed_and_repeated_give_the_store_of_one_conversion(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, existing: Existing
) -> None:
    chance, whole, shared = random.Random(f"{total} {existing}"), tmp_path / "whole", tmp_path / "shared"
    if existing != "refuse":
        write_runs(tmp_path / "before", 2)
        for root in (whole, shared):
            convert(tmp_path / "before", writer_at(root))
    published = files_below(shared)
    expected = convert(runs, writer_at(whole), existing=existing)
    # Another division before, and some shares twice; moments are numbers of groups.
    schedule = [Share(2, 2), *(Share(number, total) for number in range(1, total + 1)), Share(1, total)]
    for share in chance.sample(schedule, len(schedule)):
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(LocalStorage, "move_in", interrupted_after(chance.randrange(3)))
            convert_share(runs, writer_at(shared), share, existing=existing)
        report = convert_share(runs, writer_at(shared), share, existing=existing)
        assert report.revision is None
        assert {name: data for name, data in files_below(shared).items() if name in published} == published
    report = publish_shares(runs, writer_at(shared), existing=existing)
    assert without_times(report) == without_times(expected)
    assert files_below(shared) == files_below(whole)


def test_shares_run_beside_each_other(runs: Path, tmp_path: Path) -> None:
    convert(runs, writer_at(tmp_path / "whole"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: convert_share(runs, writer_at(tmp_path / "shared"), Share(n, 4)), range(1, 5)))
    publish_shares(runs, writer_at(tmp_path / "shared"))
    assert files_below(tmp_path / "shared") == files_below(tmp_path / "whole")


def test_an_undivided_conversion_goes_on_where_the_shares_were(runs: Path, tmp_path: Path) -> None:
    expected = convert(runs, writer_at(tmp_path / "whole"))
    convert_share(runs, writer_at(tmp_path / "shared"), Share(2, 3))
    report = convert(runs, writer_at(tmp_path / "shared"))
    assert report.resumed == 2
    assert without_times(report) == without_times(expected)
    assert files_below(tmp_path / "shared") == files_below(tmp_path / "whole")


def test_shares_that_lack_are_named_and_nothing_is_published(runs: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    with pytest.raises(ConversionUnfinished, match=r"6 of 6 samples .* run the shares \(--task 1/N to N/N\), then"):
        publish_shares(runs, writer_at(shared))
    for number in (1, 3):
        convert_share(runs, writer_at(shared), Share(number, 4))
    with pytest.raises(
        ConversionUnfinished, match=r"^3 of 6 samples have not been converted yet: .* \(--task 2/4, 4/4\), then publish"
    ):
        publish_shares(runs, writer_at(shared))
    assert not (shared / "manifest.json").exists()
    for number in (2, 4):
        convert_share(runs, writer_at(shared), Share(number, 4))
    assert len(publish_shares(runs, writer_at(shared)).converted) == 5


def test_options_that_shares_and_publication_do_not_have_in_common_are_named(runs: Path, tmp_path: Path) -> None:
    shared, scalars = tmp_path / "shared", {"run_0": {"Cd": 0.3}}
    convert_share(runs, writer_at(shared, field_dtypes={"surface_pressure": "float32"}), Share(1, 1), scalars=scalars)
    differ = (
        r"no share was run with these options, and share 1/1 was run with other options: "
        r"--append or --overwrite \(refuse there, append here\), "
        r"--field-dtype \(surface_pressure=float32 there, none here\), --scalars \(\w+ there, none here\), "
        r"--shuffle-seed \(0 there, 1 here\); publish with those of the shares"
    )
    with pytest.raises(ConversionUnfinished, match=differ):
        publish_shares(runs, writer_at(shared, shuffle_seed=1), existing="append")


def test_a_sample_that_was_mended_is_converted_by_the_next_run_of_its_share(runs: Path, tmp_path: Path) -> None:
    assert list(convert_share(runs, writer_at(tmp_path / "shared"), Share(1, 1)).broken) == ["broken", "odd"]
    shutil.rmtree(runs / "odd")
    write_run(runs / "odd")
    with pytest.raises(ConversionUnfinished, match="odd"):  # what was found of its old files does not count
        publish_shares(runs, writer_at(tmp_path / "shared"))
    assert convert_share(runs, writer_at(tmp_path / "shared"), Share(1, 1)).resumed == 5
    assert "odd" in publish_shares(runs, writer_at(tmp_path / "shared")).converted


def test_a_share_of_no_sample_ends_at_once_and_leaves_no_mark(runs: Path, tmp_path: Path) -> None:
    report = convert_share(runs, writer_at(tmp_path / "shared"), Share(8, 8))
    assert (report.converted, report.broken, report.skipped) == ([], {}, [])
    assert set(files_below(tmp_path / "shared")) == {".convert/lock"}


def test_a_share_is_refused_by_its_own_probes_and_one_of_few_samples_has_none(tmp_path: Path) -> None:
    for number in range(20):
        write_run(tmp_path / "runs" / f"run_{number:02}", surface_pressure=torch.full((SURFACE,), 1e6))
    with pytest.raises(ValueOverflow, match=r"sample 'run_10' .*; nothing is written"):
        convert_share(tmp_path / "runs", writer_at(tmp_path / "shared"), Share(1, 2), n_probes=3)
    report = convert_share(tmp_path / "runs", writer_at(tmp_path / "shared"), Share(1, 4), n_probes=3)
    assert (len(report.broken), list(report.overflows)) == (5, ["surface_pressure=float32"])


def test_a_late_share_is_told_that_all_is_published(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    shared = tmp_path / "shared"
    convert_share(runs, writer_at(shared), Share(1, 1))
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "clear", die)
        with pytest.raises(KeyboardInterrupt):
            publish_shares(runs, writer_at(shared))
    with pytest.raises(StoreExists, match=r"is published at .*; --publish once more ends it"):
        convert_share(runs, writer_at(shared), Share(1, 1))
    published = files_below(shared)["manifest.json"]
    assert len(publish_shares(runs, writer_at(shared)).converted) == 5
    with pytest.raises(StoreExists, match=r"\(5 samples\): if it is that of this conversion, all is published"):
        convert_share(runs, writer_at(shared), Share(1, 1))
    with pytest.raises(StoreExists, match="all is published"):
        publish_shares(runs, writer_at(shared))
    assert files_below(shared)["manifest.json"] == published
    assert not (shared / ".convert").exists()


def test_a_share_is_kept_out_by_a_whole_conversion_and_keeps_it_out(runs: Path, tmp_path: Path) -> None:
    with lock_share(tmp_path / "store", "1/2"):
        for convert_all in (convert, publish_shares):
            with pytest.raises(StoreExists, match="another conversion is writing to"):
                convert_all(runs, writer_at(tmp_path / "store"))
        with pytest.raises(StoreExists, match="another process converts share 1/2 into"):
            convert_share(runs, writer_at(tmp_path / "store"), Share(1, 2))
        convert_share(runs, writer_at(tmp_path / "store"), Share(2, 2))
    with lock_store(tmp_path / "store"), pytest.raises(StoreExists, match="a conversion that is no share"):
        convert_share(runs, writer_at(tmp_path / "store"), Share(1, 2))


@pytest.mark.parametrize(("number", "total"), [(0, 2), (3, 2), (1, 0)])
def test_a_share_that_is_none_is_refused(number: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"not {number}/{total}"):
        Share(number, total)


_MAKES_A_GROUP_AND_WAITS = """
import sys
from drawpoint_store.storage import open_storage
from drawpoint_store.writing.lock import UNFINISHED_FOLDER, lock_share

with lock_share(sys.argv[1], "1/2"), open_storage(sys.argv[1]).new_folder(UNFINISHED_FOLDER) as folder:
    (folder / "shard").write_bytes(b"half of it")
    print(folder, flush=True)
    sys.stdin.readline()
"""


def test_what_a_killed_share_was_writing_is_removed_by_the_next_one_and_what_a_living_one_writes_is_not(
    runs: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    with subprocess.Popen(
        [sys.executable, "-c", _MAKES_A_GROUP_AND_WAITS, str(shared)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as killed:
        assert killed.stdout is not None
        left = Path(killed.stdout.readline().rstrip())
        convert_share(runs, writer_at(shared), Share(2, 2))
        assert (left / "shard").is_file()
        killed.kill()
    assert (left / "shard").is_file()
    convert_share(runs, writer_at(shared), Share(2, 2))
    assert not list((shared / ".convert/groups").iterdir())
    assert (shared / ".convert/lock-1-of-2").is_file()  # by which the publication is not disturbed
    convert_share(runs, writer_at(shared), Share(1, 3))
    convert_share(runs, writer_at(shared), Share(1, 2))
    publish_shares(runs, writer_at(shared))
    assert not (shared / ".convert").exists()


def test_without_locks_the_same_share_several_times_at_once_harms_nothing(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frequent_switches: None
) -> None:
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    expected = convert(runs, writer_at(whole))
    monkeypatch.setattr(fcntl, "flock", no_flock)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(convert_share, runs, writer_at(shared), Share(1, 1)) for _ in range(4)]:
            assert done.result().converted == expected.converted
    convert_share(runs, writer_at(shared), Share(1, 1))  # a size may have been taken while a group was replaced
    assert without_times(publish_shares(runs, writer_at(shared))) == without_times(expected)
    assert files_below(shared) == files_below(whole)


def test_groups_are_made_while_others_remove_the_folder_of_all_since_it_is_empty(
    tmp_path: Path, frequent_switches: None
) -> None:
    storage = open_storage(str(tmp_path / "store"))

    def make_groups(_: int) -> None:
        for _ in range(100):
            with storage.new_folder(".convert/groups") as folder:
                assert folder.is_dir()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make_groups, range(4)))
    assert not (tmp_path / "store/.convert").exists()


def test_a_group_that_another_process_has_put_there_meanwhile_stays_if_it_is_the_same(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "store"))
    assert isinstance(storage, LocalStorage)
    place = storage.path("a.zarr")
    for content, is_same in ((b"1", False), (b"1", True), (b"2", False)):
        before = place.stat().st_ino if place.exists() else None
        with storage.new_folder(".convert/groups") as folder:
            (folder / "c").mkdir()
            (folder / "c" / "0").write_bytes(content)
            storage.move_in(folder, "a.zarr", "zarr.json")
        assert (place.stat().st_ino == before) == is_same
        assert files_below(tmp_path / "store") == {"a.zarr/c/0": content}


def test_a_group_of_which_a_part_was_removed_while_it_was_written_is_not_finished(tmp_path: Path) -> None:
    class Removing(dict[str, torch.Tensor]):
        def __getitem__(self, field: str) -> torch.Tensor:
            if field == "volume_velocity":
                next(tmp_path.glob(".convert/groups/*/group.zarr/*/*/c/0/0")).unlink()
            return super().__getitem__(field)

    writer = small_writer(tmp_path)
    with pytest.raises(StoreUnreadable, match=r"group\.zarr cannot be written: .*No such file"):
        writer.write_group("run", Removing(small_arrays()))
    assert list(tmp_path.iterdir()) == []


def test_groups_of_shares_that_are_not_published_are_as_young_as_the_last_of_them(runs: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    write_runs(tmp_path / "before", 1)
    convert(tmp_path / "before", writer_at(shared))
    convert_share(runs, writer_at(shared), Share(1, 1), existing="append")
    (shared / "replaced.zarr").mkdir()
    (shared / "replaced.zarr" / "zarr.json").touch()
    for path in (shared, *shared.rglob("*")):
        os.utime(path, (time.time() - 9 * DAY,) * 2)
    (record, *_) = (shared / ".convert/samples").iterdir()
    os.utime(record, (time.time() - 2 * DAY,) * 2)
    found = {each.path: each.is_old for each in prune_store(shared, older_than_seconds=7 * DAY, delete=True)}
    assert found.pop("replaced.zarr")
    assert found == {f"run_{number}.zarr": False for number in range(1, 5)}
    assert len(publish_shares(runs, writer_at(shared), existing="append").converted) == 4


def test_shares_and_publication_of_a_bucket_give_the_store_of_one_conversion(
    runs: Path, bucket_environment: None, tmp_path: Path
) -> None:
    whole, shared = f"s3://cars/{tmp_path.name}/whole", f"s3://cars/{tmp_path.name}/shared"
    expected = convert(runs, writer_at(whole))
    convert_share(runs, writer_at(shared, shuffle_seed=1), Share(1, 2))  # of another conversion, given up
    convert_share(runs, writer_at(shared), Share(2, 2))
    with pytest.raises(ConversionUnfinished, match=r"\(--task 1/2\)"):
        publish_shares(runs, writer_at(shared))
    with ThreadPoolExecutor(2) as pool:  # the same share twice at a time
        list(pool.map(lambda _: convert_share(runs, writer_at(shared), Share(1, 2)), range(2)))
    assert without_times(publish_shares(runs, writer_at(shared))) == without_times(expected)
    manifest = StoreManifest.load(shared)
    assert manifest.to_json() == StoreManifest.load(whole).to_json()
    there = {found.path for found in open_storage(shared).find("")}
    assert {path for path in there if path.startswith(".convert/shares")} == {
        path for path in there if re.fullmatch(r"\.convert/shares/[0-9a-f]{12}-1-of-2\.json", path)
    }
    for entry in manifest.samples.values():
        for found in open_storage(whole).find(entry.relpath):
            assert open_storage(shared).read(found.path) == open_storage(whole).read(found.path)
