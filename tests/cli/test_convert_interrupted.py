"""Conversions that end too early: real processes, killed or interrupted, and run again."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from drawpoint.errors import DrawpointError, StoreExists
from drawpoint_cli.__main__ import main
from drawpoint_store import StoreManifest, ZarrStoreWriter
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.journal import Journal
from drawpoint_store.conversion.sample_conversion import Task
from drawpoint_store.conversion.sources.filemaps import detect_filemap
from drawpoint_store.writing.lock import lock_store
from trees import files_below, run_tensors, write_run, write_runs
from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command, Ended

RUNS = 6
DEADLINE = 60


def start(*words: object) -> subprocess.Popen[bytes]:
    # A session of its own: signals go to it alone, and what it leaves behind can be seen.
    return subprocess.Popen(
        [sys.executable, "-m", "drawpoint_cli", "convert", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def session_is_empty(process: subprocess.Popen[bytes]) -> bool:
    # What an ended process has left is ours to wait for: see orphans.py.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-process.pid, os.WNOHANG)
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_runs(folder, RUNS)
    return folder


@pytest.fixture(scope="module")
def whole(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a conversion that nothing interrupted."""
    store = tmp_path_factory.mktemp("whole") / "store"
    assert main(["convert", str(runs), str(store), "--workers", "1"]) == 0
    return files_below(store)


@pytest.mark.parametrize(("workers", "kills"), [(1, 2), (2, 1)])
def test_killed_at_any_moment_and_run_again_gives_the_same_bytes(
    runs: Path, whole: dict[str, bytes], tmp_path: Path, workers: int, kills: int
) -> None:
    store = tmp_path / "store"
    # Moments are numbers of files written: they fall into groups, between them, and near the publication.
    for moment in sorted(random.Random(workers).sample(range(2, len(whole)), kills)):
        process = start(runs, store, "--workers", workers)
        wait_until(lambda: process.poll() is not None or count_files(store) >= moment)  # noqa: B023  called at once
        process.kill()
        process.communicate()
        wait_until(lambda: session_is_empty(process))  # noqa: B023  called at once
        if (store / "manifest.json").exists():  # it was quicker than we: what it published is whole
            assert files_below(store)["manifest.json"] == whole["manifest.json"]
            shutil.rmtree(store)
    process = start(runs, store, "--workers", workers)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (0, b"")
    assert b"converted 6 samples" in out
    assert files_below(store) == whole


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    write_runs(tmp_path / "runs", 2)
    return tmp_path / "runs"


def interrupt(*_: object) -> str:
    raise KeyboardInterrupt


@pytest.fixture
def unpublished(sources: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store whose samples are finished and in the journal, by a conversion that could not publish."""

    with monkeypatch.context() as patch:
        patch.setattr(StoreManifest, "save", interrupt)
        assert command("convert", sources, tmp_path / "store").status == 130
    return tmp_path / "store"


def is_resumed(ended: Ended) -> bool:
    assert ended.status == 0
    return "(2 of them finished by an interrupted run)" in ended.out


def test_the_same_command_goes_on_with_what_is_finished(sources: Path, unpublished: Path, command: Command) -> None:
    assert is_resumed(command("convert", sources, unpublished))
    assert not (unpublished / ".convert").exists()


@pytest.mark.parametrize(
    "option", ["", "--shuffle-seed=1", "--chunk-points=64", "--values-dtype=float32", "--compression-level=1"]
)
def test_a_change_of_source_or_settings_starts_again(
    sources: Path, unpublished: Path, tmp_path: Path, command: Command, option: str
) -> None:
    if not option:
        for number in range(2):
            write_run(sources / f"run_{number}", 10 + number)
    assert not is_resumed(command("convert", sources, unpublished, *option.split()))
    assert command("convert", sources, tmp_path / "whole", *option.split()).status == 0
    assert files_below(unpublished) == files_below(tmp_path / "whole")


def test_a_finished_sample_that_an_interrupted_run_with_other_settings_has_written_over_is_converted_again(
    sources: Path, unpublished: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(StoreManifest, "save", interrupt)
        # Another order of the same values: groups of the same size.
        assert command("convert", sources, unpublished, "--shuffle-seed=1").status == 130
    assert not is_resumed(command("convert", sources, unpublished))
    assert command("convert", sources, tmp_path / "whole").status == 0
    assert files_below(unpublished) == files_below(tmp_path / "whole")


def test_groups_that_readers_read_are_not_taken_for_finished_ones(
    sources: Path, unpublished: Path, command: Command
) -> None:
    store = unpublished
    journal = files_below(store / ".convert")
    assert command("convert", sources, store).status == 0
    for name, data in journal.items():
        (store / ".convert" / name).parent.mkdir(parents=True, exist_ok=True)
        (store / ".convert" / name).write_bytes(data)
    (report,) = (store / ".convert").glob("report-*.json")
    report.unlink()
    assert not is_resumed(command("convert", sources, store, "--overwrite"))
    relpaths = {entry.relpath for entry in StoreManifest.load(store).samples.values()}
    assert relpaths.isdisjoint({"run_0.zarr", "run_1.zarr"})


@pytest.mark.parametrize("mode", [(), ("--overwrite",), ("--append",)])
def test_killed_just_after_publishing_the_same_command_says_so(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, mode: tuple[str, ...]
) -> None:
    write_runs(tmp_path / "runs", 1)
    if mode:
        assert command("convert", tmp_path / "runs", tmp_path / "store").status == 0
        write_runs(tmp_path / "runs", 2)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "clear", die)
        assert command("convert", tmp_path / "runs", tmp_path / "store", *mode).status == 130
    published = (tmp_path / "store" / "manifest.json").read_bytes()
    ended = command("convert", tmp_path / "runs", tmp_path / "store", *mode)
    assert ended.status == 0
    assert "converted " in ended.out
    assert (tmp_path / "store" / "manifest.json").read_bytes() == published
    assert not (tmp_path / "store" / ".convert").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_all_processes_with_a_word_on_what_is_kept(tmp_path: Path, workers: int) -> None:
    write_runs(tmp_path / "runs", 40)  # so many that the signal comes before the end
    store = tmp_path / "store"
    process = start(tmp_path / "runs", store, "--workers", workers)
    wait_until(lambda: process.poll() is not None or any(store.glob(".convert/samples/*.json")))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the parent and its workers
    _, err = process.communicate(timeout=DEADLINE)
    wait_until(lambda: session_is_empty(process))
    assert process.returncode == 130
    assert err.decode().startswith("drawpoint convert: interrupted at ")
    assert err.decode().endswith("run the same command again to go on.\n")
    assert err.count(b"\n") == 1


def test_a_worker_that_is_killed_is_an_error_not_a_hang(runs: Path, tmp_path: Path) -> None:
    before = set(multiprocessing.active_children())

    def kill_a_worker() -> None:
        wait_until(lambda: bool(set(multiprocessing.active_children()) - before))
        (set(multiprocessing.active_children()) - before).pop().kill()

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    writer = ZarrStoreWriter(tmp_path / "store", detect_filemap(run_tensors()), "made")
    with pytest.raises(DrawpointError, match=r"a worker process died.*run the same command again"):
        convert(runs, writer, workers=2)
    killer.join()
    assert not (tmp_path / "store" / "manifest.json").exists()
    assert convert(runs, writer).revision is not None


_OPENS_THE_LOCK_AND_WAITS = """
import fcntl, sys
from drawpoint_store.writing.lock import lock_store

flock = fcntl.flock

def flock_when_told(file, operation):
    fcntl.flock = flock
    print("opened", flush=True)
    sys.stdin.readline()
    flock(file, operation)

fcntl.flock = flock_when_told
with lock_store(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_file_that_its_holder_removed_after_it_was_opened_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with subprocess.Popen(
        [sys.executable, "-c", _OPENS_THE_LOCK_AND_WAITS, str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        with lock_store(str(store)):
            assert other.stdout.readline() == "opened\n"
        assert not (store / ".convert").exists()
        other.stdin.write("\n")
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreExists, match="another conversion is writing"), lock_store(str(store)):
            pass
        other.stdin.write("\n")
    assert other.returncode == 0
    assert not (store / ".convert").exists()


def test_a_conversion_that_ends_leaves_the_lock_of_the_next_one_alone(
    tmp_path: Path, runs: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clear_and_be_followed(journal: Journal, conversion: str, tasks: list[Task], **keep: bool) -> None:
        clear(journal, conversion, tasks, **keep)
        with pytest.raises(StoreExists), lock_store(journal.storage):
            pass

    clear = Journal.clear
    monkeypatch.setattr(Journal, "clear", clear_and_be_followed)
    assert command("convert", runs, tmp_path / "store").status == 0
    assert not (tmp_path / "store" / ".convert").exists()


@pytest.mark.parametrize("error", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_a_file_system_without_locks_is_converted_to_all_the_same(
    tmp_path: Path, runs: Path, command: Command, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    def flock(*_: object) -> None:
        raise OSError(getattr(errno, error), "no such thing here")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert command("convert", runs, tmp_path / "store").status == 0
