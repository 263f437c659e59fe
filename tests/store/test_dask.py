"""Conversion on a Dask cluster of two worker processes: the bytes are those of one process, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dask_cluster import Cluster, running_cluster
from drawpoint_cli.__main__ import main
from drawpoint_store import ZarrStoreWriter, calculate_store_statistics
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.engines import dask_cluster
from drawpoint_store.conversion.engines.dask_workers import is_converting
from drawpoint_store.conversion.recipes.recipe_file import load_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.statistics.documents import statistics_to_dict
from lethal import LETHAL, LethalSource, OnceLethalSource
from row_runs import write_row_runs
from trees import files_below
from vtk_runs import write_vtk_runs
from waiting import wait_until

TESTS = Path(__file__).parents[1]
RUNS = 24


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # A task that has killed one worker is given back: what the conversion makes of it is what is tested.
    environment = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", "PYTHONPATH": str(TESTS)}
    with running_cluster(tmp_path_factory.mktemp("dask"), 2, **environment) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "runs"
    write_row_runs(folder, RUNS)
    return folder


def recipe_of(runs: Path) -> tuple[str, str]:
    return "--recipe", str(runs.with_suffix(".toml"))


def convert_here(runs: Path, store: Path, *options: str) -> dict[str, bytes]:
    """Convert in this process, and return the files of the store."""
    assert main(["convert", str(runs), str(store), *recipe_of(runs), "--workers", "1", *options]) == 0
    return files_below(store)


def writer_for(source: RecipeSource, store: Path) -> ZarrStoreWriter:
    """Return the writer that the command has."""
    return ZarrStoreWriter(str(store), **{"compression_level": 0, **source.writer_settings})


@pytest.fixture(scope="module")
def whole(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return convert_here(runs, tmp_path_factory.mktemp("whole") / "store")


def start(runs: Path, store: Path, cluster: Cluster) -> subprocess.Popen[str]:
    words = ("convert", str(runs), str(store), *recipe_of(runs), "--dask", cluster.address)
    return subprocess.Popen(
        [sys.executable, "-m", "drawpoint_cli", *words],
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


def test_statistics_on_a_cluster_are_those_of_this_process_bit_for_bit(
    cluster: Cluster, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_here(runs, tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    here = calculate_store_statistics("store", reread=True)
    with cluster.client() as client:
        there = calculate_store_statistics("store", reread=True, executor=client.get_executor())
    assert len(here) == 3
    assert statistics_to_dict(there) == statistics_to_dict(here)


def test_a_worker_that_is_killed_changes_nothing(
    cluster: Cluster, runs: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    source = OnceLethalSource.scan(runs, load_recipe(runs.with_suffix(".toml")))
    source.arm()
    before = set(cluster.worker_pids())
    with cluster.client() as client:
        report = convert(source, writer_for(source, tmp_path / "store"), executor=client.get_executor())
    assert set(cluster.worker_pids()) != before
    assert (len(report.converted), report.broken) == (RUNS, {})
    assert files_below(tmp_path / "store") == whole


def test_a_sample_that_kills_its_workers_is_broken_and_the_others_are_converted(
    cluster: Cluster, runs: Path, tmp_path: Path
) -> None:
    source = LethalSource.scan(runs, load_recipe(runs.with_suffix(".toml")))
    with cluster.client() as client:
        report = convert(source, writer_for(source, tmp_path / "store"), executor=client.get_executor())
    assert list(report.broken) == [LETHAL]
    assert "every worker that converted it died, perhaps for lack of memory" in report.broken[LETHAL]
    assert len(report.converted) == RUNS - 1


def test_after_ctrl_c_nothing_writes_any_more_and_the_same_command_goes_on(
    cluster: Cluster, runs: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    process = start(runs, store, cluster)
    until_one_is_finished(store, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    with cluster.client() as client:
        assert not any(client.run(is_converting, "convert-").values())
    assert process.returncode == 130, err
    assert err.endswith("run the same command again to go on.\n")
    assert not list(store.glob(".convert/workers-*"))
    assert not (store / "manifest.json").exists()
    assert convert_here(runs, store) == whole


def test_a_command_that_is_killed_lets_its_workers_write_nothing_into_the_next_one(
    cluster: Cluster, runs: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    process = start(runs, store, cluster)
    until_one_is_finished(store, process)
    process.kill()
    process.communicate()
    other = ("--shuffle-seed", "1")  # groups of the same names, and of other bytes
    assert convert_here(runs, store, *other) == convert_here(runs, tmp_path / "whole", *other)


def test_a_command_waits_for_the_first_worker_and_ends_with_the_scheduler_and_the_same_one_goes_on(
    runs: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    (tmp_path / "dask").mkdir()
    with running_cluster(tmp_path / "dask", 0) as cluster:
        process = start(runs, store, cluster)
        assert process.stderr is not None
        assert "has no workers: waiting for the first; Ctrl-C ends this.\n" in process.stderr.readline()
        cluster.start_worker("--no-nanny")
        until_one_is_finished(store, process)
        cluster.scheduler.kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the Dask scheduler has ended, or cannot be reached any more; samples that are finished are kept" in err
    assert err.count("\n") == 1
    assert convert_here(runs, store) == whole


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
    assert main(["convert", str(runs), *words, *recipe_of(runs)]) == 2
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
    assert main(["convert", str(runs), str(tmp_path / "store"), *recipe_of(runs), "--dask", address]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_without_distributed_the_extra_is_named(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["convert", str(runs), str(tmp_path / "store"), *recipe_of(runs), "--dask", "127.0.0.1:1"]) == 1
    assert "--dask needs distributed, which is not installed: run `pip install '.[dask]'`" in capsys.readouterr().err
