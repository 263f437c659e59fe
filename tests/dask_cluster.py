"""A real Dask cluster for the tests: a scheduler and workers on loopback, each a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distributed import Client

from waiting import wait_until


class Cluster:
    """A scheduler, whose `address` is in the file `scheduler_file`, with workers of one thread."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.scheduler_file = folder / "scheduler.json"
        self._environment = {**os.environ, "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "warning", **environment}
        self._processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--no-dashboard", "--host", "127.0.0.1", "--port", "0")
        wait_until(lambda: self.scheduler_file.exists() and self.scheduler_file.read_text().endswith("}"))
        self.address = str(json.loads(self.scheduler_file.read_text())["address"])

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker, with a nanny that starts it again unless there is --no-nanny."""
        place = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder), "--death-timeout", "60")
        return self._start("worker", *place, *options)

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """Give a client that is closed at the end."""
        connect: Any = Client
        with connect(self.address, set_as_default=False) as client:
            yield client

    def worker_pids(self) -> list[int]:
        """Return the process ids of the workers that the scheduler has."""
        with self.client() as client:
            return list(client.run(os.getpid).values())

    def stop(self) -> None:
        """End all processes, also those that workers have started."""
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *words, "--scheduler-file", str(self.scheduler_file)],
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        self._processes.append(process)
        return process


@contextlib.contextmanager
def running_cluster(folder: Path, workers: int, *options: str, **environment: str) -> Iterator[Cluster]:
    """Start a cluster in `folder`, wait for its workers, and end it; `options` are those of `dask worker`."""
    cluster = Cluster(folder, environment)
    try:
        for _ in range(workers):
            cluster.start_worker(*options)
        with cluster.client() as client:
            wait_until(lambda: len(client.scheduler_info()["workers"]) == workers)
        yield cluster
    finally:
        cluster.stop()
