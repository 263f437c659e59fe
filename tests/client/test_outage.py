"""A service that is killed, restarted, stopped or overloaded: no sample comes wrong, goes missing or comes twice."""

from __future__ import annotations

import itertools
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
import pytest
import torch

import drawpoint
from drawpoint.remote import retry
from drawpoint.remote.engine import TimedOut, TransportFailure
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.plan import ReadPlan
from live import LiveService
from waiting import wait_until

from .conftest import assert_equal

COUNTS = {"surface": 200, "volume": 300}
PATIENCE = 60.0
"""Seconds after which a test that waits for something fails."""

Drawn = dict[str, torch.Tensor]
Draws = Iterator[Drawn]
Client = Callable[[str], Draws]


class ServeProcess:
    """`drawpoint serve` on a port that stays the same when it is started again."""

    def __init__(self, root: Path, log: Path) -> None:
        self._root = root
        self._log = log.open("w")
        self.port = choose_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "drawpoint_cli", "serve", "--port", str(self.port)]
        process = subprocess.Popen(
            [*command, "--store", f"made={self._root}"], stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith("drawpoint serves"), Path(self._log.name).read_text()
        return process

    def kill(self) -> None:
        """End it as a crash or the kernel does, in the middle of whatever it does."""
        self.process.kill()
        self.process.wait(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def start_again(self) -> None:
        self.process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._log.close()


def choose_port() -> int:
    """Return a free port that no outgoing connection is given: one could meet itself while the service is down."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def name_sample(seed: int) -> str:
    return f"param{seed % 2}/run"


def draw_one_by_one(url: str, **options: Any) -> Draws:
    with drawpoint.connect(url, timeout=1.0, **options) as connection:
        reader = connection.store("made")
        for seed in itertools.count():
            yield reader.read_sample(name_sample(seed), COUNTS, seed=seed)


def draw_through_httpx(url: str) -> Draws:
    return draw_one_by_one(url, http2=False)


def draw_batches(url: str) -> Draws:
    with drawpoint.connect(url, timeout=1.0) as connection:
        reader = connection.store("made")
        for first in itertools.count(0, 3):
            items = [{"id": name_sample(seed), "seed": seed} for seed in range(first, first + 3)]
            for outcome in reader.read_batch(items, COUNTS):
                assert isinstance(outcome, dict), outcome
                yield outcome


def draw_ahead(url: str) -> Draws:
    with drawpoint.connect(url, timeout=1.0) as connection:
        reader = connection.store("made")
        yield from drawpoint.prefetch(
            lambda seed: reader.read_sample(name_sample(seed), COUNTS, seed=seed), itertools.count(), in_flight=2
        )


CLIENTS: tuple[Client, ...] = (draw_one_by_one, draw_through_httpx, draw_batches, draw_ahead)


def test_epochs_through_restart_and_outage_hold_every_sample_once_and_right(
    store_root: Path, local: ZarrChunkReader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(retry, "BACKOFF_CAP_SECONDS", 0.2)
    begun = threading.Barrier(len(CLIENTS) + 1, timeout=PATIENCE)
    over = threading.Event()
    waited_in_vain: set[retry.Transport] = set()
    patience = retry.Transport._patience  # noqa: SLF001  nothing public is called for each failure

    def note(transport: retry.Transport, failure: TransportFailure) -> float:
        if isinstance(failure, TimedOut):
            waited_in_vain.add(transport)
        return patience(transport, failure)

    monkeypatch.setattr(retry.Transport, "_patience", note)

    def train(client: Client) -> None:
        last = None
        for seed, drawn in enumerate(client(served.url)):
            assert_equal(drawn, local.read_sample(name_sample(seed), COUNTS, seed=seed))
            if seed == 5:
                begun.wait()
            if over.is_set():
                last = last or seed + 5
            if seed == last:
                return

    with ServeProcess(store_root, tmp_path / "log") as served, ThreadPoolExecutor(len(CLIENTS)) as pool:
        trained = [pool.submit(train, client) for client in CLIENTS]
        try:
            begun.wait()
            served.kill()
            served.start_again()
            served.process.send_signal(signal.SIGSTOP)
            wait_until(lambda: len(waited_in_vain) == len(CLIENTS) or any(each.done() for each in trained))
        finally:
            served.process.send_signal(signal.SIGCONT)
            over.set()
        for each in trained:
            each.result(PATIENCE)


class Counting(ZarrChunkReader):
    """A store that counts how many reads go on at once; the first ones wait until somebody was refused."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.refused = threading.Event()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def read_into(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        assert self.refused.wait(PATIENCE)
        super().read_into(plan, out)
        with self._lock:
            self._now -= 1


def test_four_times_as_many_clients_as_are_taken_on_all_get_what_they_ask_for(
    store_root: Path, local: ZarrChunkReader
) -> None:
    store = Counting(store_root)
    refusals = []

    def note(response: httpx.Response) -> None:
        if response.status_code == 503:
            assert response.headers["Retry-After"] == "1"
            refusals.append(response)
            store.refused.set()

    def train(client: int) -> list[Drawn]:
        reader = readers[client]
        return [reader.read_sample(name_sample(seed), COUNTS, seed=seed) for seed in range(client, 24, 8)]

    with LiveService({"made": store}, max_requests=2, read_threads=8) as service, ThreadPoolExecutor(8) as pool:
        connections = [drawpoint.connect(service.url, event_hooks={"response": [note]}) for _ in range(8)]
        readers = [connection.store("made") for connection in connections]
        trained = list(pool.map(train, range(8)))
        for connection in connections:
            connection.close()
    assert refusals
    assert store.most == 2
    for client, drawn in enumerate(trained):
        for seed, sample in zip(range(client, 24, 8), drawn, strict=True):
            assert_equal(sample, local.read_sample(name_sample(seed), COUNTS, seed=seed))
