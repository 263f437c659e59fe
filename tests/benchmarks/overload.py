"""A service with far more clients than it can serve: what gets through, what is refused, and what a probe waits.

    python tests/benchmarks/overload.py

`drawpoint serve` runs in a process of its own, one worker, and wrk (Debian's `wrk`) asks it for small draws as fast as
it may, on so many connections; it does not honour Retry-After. Meanwhile a probe asks for /healthz and for /readyz
every 50 ms on connections of their own, as a supervisor does. At the end so many clients of ours draw at once and must
all get what they asked for. Everything is on this machine and takes some 10 s a line.
"""

from __future__ import annotations

import logging
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from made import write_store
from served_read import until_answered

import drawpoint

CONNECTIONS = (64, 256, 1024, 4096)
SECONDS = 6
CLIENTS = 1024
DRAWS_EACH = 3
PROBE_SECONDS = 0.05
DRAW = "surface=64&volume=64&fields=surface_position,volume_pressure&seed="
WRK_SCRIPT = f"""
request = function()
  return wrk.format("GET", "/stores/bench/samples/run_" .. math.random(0, 3) .. "?{DRAW}" .. math.random(1, 1000000000))
end
"""


class Service(NamedTuple):
    """A running `drawpoint serve`."""

    process: subprocess.Popen[str]
    url: str
    log: Path


@contextmanager
def serving(root: Path, log: Path) -> Iterator[Service]:
    """Run `drawpoint serve` on `root`."""
    command = [sys.executable, "-m", "drawpoint_cli", "serve", "--store", f"bench={root}", "--port", "0"]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, log.read_text()
        until_answered(f"{found[0]}/readyz")
        yield Service(process, found[0], log)
    finally:
        process.terminate()
        process.wait()


class Probe(threading.Thread):
    """Asks for a page every PROBE_SECONDS until it is joined, and keeps what each answer took."""

    def __init__(self, url: str, path: str) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.failed = 0
        self._url, self._path = urlsplit(url), path
        self._over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(PROBE_SECONDS):
            begun = time.perf_counter()
            try:
                with socket.create_connection((self._url.hostname, self._url.port or 80), timeout=10) as connection:
                    connection.sendall(f"GET {self._path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                    answer = b""
                    while piece := connection.recv(2**16):
                        answer += piece
                self.failed += not answer.startswith(b"HTTP/1.1 200 ")
            except OSError:
                self.failed += 1
            self.seconds.append(time.perf_counter() - begun)

    def end(self) -> float:
        """Return the time that 99 of 100 probes stayed below."""
        self._over.set()
        self.join()
        return sorted(self.seconds)[int(0.99 * len(self.seconds))]


def press(service: Service, connections: int, script: Path) -> str:
    """Return a line of the table: what came of so many connections."""
    lines = service.log.read_text().count("\n")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--timeout", "30s", "-s", str(script), service.url]
    healthz, readyz = Probe(service.url, "/healthz"), Probe(service.url, "/readyz")
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    healthz_p99, readyz_p99 = healthz.end(), readyz.end()
    total = re.search(r"(\d+) requests in ([\d.]+)(m?s)", said)
    assert total, said
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = sum(int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", said))
    took = float(total[2])
    bad = int(refused[1]) if refused else 0
    pages = int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1])
    lines = service.log.read_text().count("\n") - lines
    return (
        f"{connections:11} | {(int(total[1]) - bad) / took:9.0f} | {bad / took:9.0f} | {broken:6} | "
        f"{healthz_p99:9.3f} | {readyz_p99:8.3f} | {max(healthz.seconds):6.3f} | {healthz.failed + readyz.failed:6} | "
        f"{pages * resource.getpagesize() / 2**20:4.0f} | {lines / took:7.0f}"
    )


def draw_all(url: str) -> str:
    """Return what came of CLIENTS of ours, each with connections of its own, that draw at the same time."""
    taken: list[float] = []
    errors: list[str] = []

    def draw(number: int) -> None:
        reader = drawpoint.connect(url, deadline=120).store("bench")
        for turn in range(DRAWS_EACH):
            begun = time.perf_counter()
            try:
                reader.read_sample(f"run_{number % 4}", {"surface": 64, "volume": 64}, seed=turn)
            except drawpoint.errors.DrawpointError as error:
                errors.append(str(error))
            taken.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(draw, range(CLIENTS)))
    failed = f"{len(errors)} failed" + (f", such as: {errors[0]}" if errors else "")
    return (
        f"{CLIENTS} clients of ours, {DRAWS_EACH} draws each: {failed}; the slowest draw took {max(taken):.1f} s, "
        f"all of them {time.perf_counter() - begun:.1f} s"
    )


def main() -> None:
    logging.getLogger("drawpoint").setLevel(logging.ERROR)  # each pause of each client is a line
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: `apt-get install wrk`.")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as name:
        root, script, log = (Path(name, each) for each in ("store", "draws.lua", "log"))
        write_store(root, 4, n_surface=4_000, n_volume=16_000)
        script.write_text(WRK_SCRIPT)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(
            "connections | answers/s | refused/s | broken | healthz p99 | readyz p99 | max s | probes failed | MiB | "
            "log lines/s"
        )
        for connections in CONNECTIONS:
            with serving(root, log) as service:
                print(press(service, connections, script), flush=True)
        with serving(root, log) as service:
            print(draw_all(service.url), flush=True)


if __name__ == "__main__":
    main()
