"""Conversion by executors of others: the bytes are those of one process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import loky
import pytest

import drawpoint
from drawpoint.errors import DrawpointError
from drawpoint_store import ZarrStoreWriter
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.recipes.recipe_file import load_recipe
from lethal import OnceLethalSource
from row_runs import write_row_runs
from trees import files_below, write_runs, writer_at


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_executor_writes_the_bytes_of_one_process(
    kind: type[ThreadPoolExecutor | ProcessPoolExecutor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_runs(tmp_path / "runs", 5)
    convert(tmp_path / "runs", writer_at(tmp_path / "whole"))
    with kind(2) as executor:
        executor.submit(os.getpid).result()  # its processes begin here
        monkeypatch.chdir(tmp_path)  # and know nothing of this
        report = convert("runs", writer_at("store"), executor=executor)
    assert len(report.converted) == 5
    assert files_below(tmp_path / "store") == files_below(tmp_path / "whole")


def test_a_worker_of_an_executor_that_dies_ends_the_conversion_and_the_same_call_goes_on(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 4)
    convert(tmp_path / "runs", writer_at(tmp_path / "whole"))
    with ProcessPoolExecutor(1) as executor:
        pid = executor.submit(os.getpid).result()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(DrawpointError, match=r"the executor failed at sample 'run_.'.*run the same command again"):
            convert(tmp_path / "runs", writer_at(tmp_path / "store"), executor=executor)
    convert(tmp_path / "runs", writer_at(tmp_path / "store"))
    assert files_below(tmp_path / "store") == files_below(tmp_path / "whole")


def test_loky_writes_the_bytes_of_one_process_also_when_a_worker_of_it_is_killed(tmp_path: Path) -> None:
    recipe = load_recipe(write_row_runs(tmp_path / "runs", 8))
    source = OnceLethalSource.scan(tmp_path / "runs", recipe)

    def write_to(name: str, executor: Executor | None = None) -> dict[str, bytes]:
        convert(source, ZarrStoreWriter(str(tmp_path / name), **source.writer_settings), executor=executor)
        return files_below(tmp_path / name)

    whole = write_to("whole")
    source.arm()
    with pytest.raises(DrawpointError, match=r"the executor failed at sample 'run_.': Terminated.*the same command"):
        write_to("store", loky.get_reusable_executor(2))
    executor = loky.get_reusable_executor(2)
    try:
        assert write_to("store", executor) == whole
    finally:
        executor.shutdown(kill_workers=True)


def test_a_worker_with_another_version_of_what_decides_the_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_runs(tmp_path / "runs", 1)
    with ProcessPoolExecutor(1) as executor:
        executor.submit(os.getpid).result()  # its process has begun with the version that is installed
        monkeypatch.setattr(drawpoint, "__version__", "0.0.1")
        with pytest.raises(DrawpointError, match=r"has drawpoint .*, and the conversion 0\.0\.1, which may"):
            convert(tmp_path / "runs", writer_at(tmp_path / "store"), executor=executor)
    assert not (tmp_path / "store").exists()


class Elsewhere(Executor):
    """Runs each task at once, on a machine that has another file system at the path of the store."""

    def __init__(self, here: Path) -> None:
        self.here = here

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        self.here.rename(self.here.with_name("elsewhere"))
        return future


def test_a_store_that_the_workers_do_not_share_is_refused(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 1)
    with pytest.raises(DrawpointError, match="give a STORE_ROOT that all workers share"):
        convert(tmp_path / "runs", writer_at(tmp_path / "store"), executor=Elsewhere(tmp_path / "store"))
    assert not (tmp_path / "store" / "manifest.json").exists()
