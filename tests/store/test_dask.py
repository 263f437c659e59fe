"""Conversion on a Dask cluster of two worker processes: the bytes are those of one process, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dask_cluster import Cluster, running_cluster
from drawpoint_cli.__main__ import main
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.engines import dask_cluster
from drawpoint_store.conversion.engines.dask_workers import is_converting
from lethal import LETHAL, LethalSource
from trees import RUN_FILEMAP, files_below, write_runs, writer_at
from vtk_runs import write_vtk_runs
from waiting import wait_until

TESTS = Path(__file__).parents[1]
RUNS = 12
SETTINGS = {"chunk_points": 4096, "compression_level": 0, "dataset_name": "runs"}
"""What the command has."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # A task that has killed one worker is given back: what the conversion makes of it is what is tested.
    environment = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", "PYTHONPATH": str(TESTS)}
    with running_cluster(tmp_path_factory.mktemp("dask"), 2, **environment) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "runs"
    write_runs(folder, RUNS)
    return folder


@pytest.fixture(scope="module")
def whole(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    store = tmp_path_factory.mktemp("whole") / "store"
    assert main(["convert", str(runs), str(store), "--workers", "1"]) == 0
    return files_below(store)


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "drawpoint_cli", "convert", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until_one_is_finished(store: Path, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: process.poll() is not None or any(store.glob(".convert/samples/*.json")))
    assert process.poll() is None


def test_a_recipe_on_a_cluster_gives_the_bytes_of_one_process(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # which the workers know nothing of
    recipe = ("--recipe", str(write_vtk_runs(Path("meshes"), 3)))
    assert main(["convert", "meshes", "whole", *recipe, "--workers", "1"]) == 0
    assert main(["convert", "meshes", "store", *recipe, "--dask", str(cluster.scheduler_file)]) == 0
    assert files_below(tmp_path / "store") == files_below(tmp_path / "whole")


def test_a_worker_that_is_killed_changes_nothing(
    cluster: Cluster, runs: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    store = tmp_path / "store"

    def kill_a_worker() -> None:
        wait_until(lambda: any(store.glob(".convert/samples/*.json")))
        os.kill(cluster.worker_pids()[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    with cluster.client() as client:
        report = convert(runs, writer_at(store, **SETTINGS), executor=client.get_executor())
    killer.join()
    assert (len(report.converted), report.broken) == (RUNS, {})
    assert files_below(store) == whole


def test_a_sample_that_kills_its_workers_is_broken_and_the_others_are_converted(
    cluster: Cluster, runs: Path, tmp_path: Path
) -> None:
    source = LethalSource.scan(runs, RUN_FILEMAP)
    with cluster.client() as client:
        report = convert(source, writer_at(tmp_path / "store"), executor=client.get_executor())
    assert list(report.broken) == [LETHAL]
    assert "every worker that converted it died, perhaps for lack of memory" in report.broken[LETHAL]
    assert len(report.converted) == RUNS - 1


def test_after_ctrl_c_nothing_writes_any_more_and_the_same_command_goes_on(
    cluster: Cluster, runs: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    process = start(runs, store, "--dask", cluster.address)
    until_one_is_finished(store, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    with cluster.client() as client:
        assert not any(client.run(is_converting, "convert-").values())
    assert (process.returncode, err.count("\n")) == (130, 1)
    assert err.endswith("run the same command again to go on.\n")
    assert not list(store.glob(".convert/workers-*"))
    assert not (store / "manifest.json").exists()
    assert main(["convert", str(runs), str(store), "--workers", "1"]) == 0
    assert files_below(store) == whole


def test_a_command_that_is_killed_lets_its_workers_write_nothing_into_the_next_one(
    cluster: Cluster, runs: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    process = start(runs, store, "--dask", cluster.address)
    until_one_is_finished(store, process)
    process.kill()
    process.communicate()
    other = ("--shuffle-seed", "1", "--workers", "1")  # groups of the same names, and of other bytes
    assert main(["convert", str(runs), str(store), *other]) == 0
    assert main(["convert", str(runs), str(tmp_path / "whole"), *other]) == 0
    assert files_below(store) == files_below(tmp_path / "whole")


def test_a_command_waits_for_the_first_worker_and_ends_with_the_scheduler_and_the_same_one_goes_on(
    runs: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    (tmp_path / "dask").mkdir()
    with running_cluster(tmp_path / "dask", 0) as cluster:
        process = start(runs, store, "--dask", cluster.address)
        assert process.stderr is not None
        assert "has no workers: waiting for the first; Ctrl-C ends this.\n" in process.stderr.readline()
        cluster.start_worker("--no-nanny")
        until_one_is_finished(store, process)
        cluster.scheduler.kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the Dask scheduler has ended, or cannot be reached any more; samples that are finished are kept" in err
    assert err.count("\n") == 1
    assert main(["convert", str(runs), str(store), "--workers", "1"]) == 0
    assert files_below(store) == whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("store", "--dask", "tcp://127.0.0.1"), "is no Dask scheduler: give its address"),
        (("store", "--dask", "127.0.0.1:1", "--workers", "2"), "--dask and --workers exclude each other"),
        (("memory://store", "--dask", "127.0.0.1:1"), "which the workers of --dask do not share"),
    ],
)
def test_what_a_cluster_cannot_do_is_wrong_usage(
    runs: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(runs), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Dask scheduler answers at 127.0.0.1:1; start one with `dask scheduler`"),
        ("none.json", "none.json is no scheduler's file after 0.2 s; `dask scheduler --scheduler-file none.json`"),
    ],
)
def test_a_cluster_that_is_not_there_is_an_error_in_words(
    runs: Path,
    tmp_path: Path,
    address: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dask_cluster, "_CONNECT_SECONDS", 0.2)
    assert main(["convert", str(runs), str(tmp_path / "store"), "--dask", address]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_without_distributed_the_extra_is_named(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["convert", str(runs), str(tmp_path / "store"), "--dask", "127.0.0.1:1"]) == 1
    assert "--dask needs distributed, which is not installed: run `pip install '.[dask]'`" in capsys.readouterr().err
