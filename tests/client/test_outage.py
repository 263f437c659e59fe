"""A service that is killed, restarted, stopped or overloaded: no sample comes wrong, goes missing or comes twice."""

from __future__ import annotations

import itertools
import logging
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
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.plan import ReadPlan
from live import LiveService

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


CLIENTS: dict[str, Client] = {
    "http.client": draw_one_by_one,
    "httpx": draw_through_httpx,
    "batch": draw_batches,
    "prefetch": draw_ahead,
}


class Epochs(logging.Handler):
    """Runs all CLIENTS at once, a thread each, and knows what each has drawn and when it met trouble."""

    def __init__(self, url: str) -> None:
        super().__init__(logging.INFO)
        self.drawn: dict[str, list[Drawn]] = {name: [] for name in CLIENTS}
        self.troubled: set[str] = set()
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(len(CLIENTS))
        self.ends = {name: self._pool.submit(self._run, name, draws(url)) for name, draws in CLIENTS.items()}

    def emit(self, record: logging.LogRecord) -> None:
        if "trying again" not in record.getMessage():
            return
        # Reading ahead has threads of its own.
        name = "prefetch" if "prefetch" in str(record.threadName) else str(record.threadName)
        with self._changed:
            self.troubled.add(name)
            self._changed.notify_all()

    def wait_for_draws(self, more: int) -> None:
        """Wait until every client has drawn `more` samples than now."""
        wanted = {name: len(drawn) + more for name, drawn in self.drawn.items()}
        self._wait(lambda: all(len(self.drawn[name]) >= count for name, count in wanted.items()))

    def wait_for_trouble(self) -> None:
        """Wait until every client has met a failure since it was last waited for."""
        self._wait(lambda: self.troubled >= CLIENTS.keys())
        self.troubled.clear()

    def end(self) -> None:
        self._over.set()
        self._pool.shutdown()

    def _wait(self, condition: Callable[[], bool]) -> None:
        def may_go_on() -> bool:
            return condition() or any(end.done() for end in self.ends.values())

        with self._changed:
            assert self._changed.wait_for(may_go_on, PATIENCE), (
                self.troubled,
                {k: len(v) for k, v in self.drawn.items()},
            )

    def _run(self, name: str, draws: Draws) -> None:
        threading.current_thread().name = name
        try:
            for drawn in draws:
                with self._changed:
                    self.drawn[name].append(drawn)
                    self._changed.notify_all()
                if self._over.is_set():
                    return
        finally:
            with self._changed:
                self._changed.notify_all()


@pytest.fixture(scope="module")
def epochs(store_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Epochs:
    """Epochs of all clients during which the service was killed and started again, stopped and continued."""
    log = logging.getLogger("drawpoint")
    level = log.level
    with (
        pytest.MonkeyPatch.context() as patch,
        ServeProcess(store_root, tmp_path_factory.mktemp("serve") / "log") as service,
    ):
        patch.setattr(retry, "BACKOFF_CAP_SECONDS", 0.2)
        epochs = Epochs(service.url)
        log.addHandler(epochs)
        log.setLevel(logging.INFO)
        try:
            epochs.wait_for_draws(5)
            service.kill()
            epochs.wait_for_trouble()
            service.start_again()
            epochs.wait_for_draws(5)
            service.process.send_signal(signal.SIGSTOP)
            epochs.troubled.clear()
            epochs.wait_for_trouble()
            service.process.send_signal(signal.SIGCONT)
            epochs.wait_for_draws(5)
        finally:
            epochs.end()
            log.removeHandler(epochs)
            log.setLevel(level)
    return epochs


@pytest.mark.parametrize("client", CLIENTS)
def test_an_epoch_through_restart_and_outage_holds_every_sample_once_and_right(
    client: str, epochs: Epochs, local: ZarrChunkReader
) -> None:
    epochs.ends[client].result()  # raises what the client has raised
    assert len(epochs.drawn[client]) >= 15
    for seed, drawn in enumerate(epochs.drawn[client]):
        expected = local.read_sample(name_sample(seed), COUNTS, seed=seed)
        assert list(drawn) == list(expected)
        assert all(drawn[field].equal(tensor) for field, tensor in expected.items()), (client, seed)


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
            expected = local.read_sample(name_sample(seed), COUNTS, seed=seed)
            assert all(sample[field].equal(tensor) for field, tensor in expected.items())
