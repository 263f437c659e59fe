"""A service with far more clients than it can serve: what gets through, what is refused, and what a probe waits.

    python tests/benchmarks/overload.py [--seconds 6] [--connections 64 256 1024 4096] [--clients 1024]

`drawpoint serve` runs in a process of its own, one worker, and wrk (Debian's `wrk`) asks it for small draws as fast as
it may, on so many connections; it does not honour Retry-After. Meanwhile a probe asks for /healthz and for /readyz
every 50 ms on connections of their own, as a supervisor does. At the end so many clients of ours draw at once and must
all get what they asked for. Everything is on this machine and takes some 10 s a line.
"""

from __future__ import annotations

import argparse
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
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from made import write_store
from served_read import until_answered

import drawpoint

DRAW = "surface=64&volume=64&fields=surface_position,volume_pressure&seed="
WRK_SCRIPT = f"""
request = function()
  return wrk.format("GET", "/stores/bench/samples/run_" .. math.random(0, 3) .. "?{DRAW}" .. math.random(1, 1000000000))
end
"""
PROBES = ("/healthz", "/readyz")
PROBE_SECONDS = 0.05
DRAWS_EACH = 3


class Service:
    """A running `drawpoint serve`: where it is, and what it takes."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.address = urlsplit(url).hostname or "", urlsplit(url).port or 0
        self.log = log

    def rss_mib(self) -> float:
        """Return the memory that the process has in use."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20


@contextmanager
def serving(root: Path, folder: Path, *options: str) -> Iterator[Service]:
    """Run `drawpoint serve` on `root`."""
    command = [sys.executable, "-m", "drawpoint_cli", "serve", "--store", f"bench={root}", "--port", "0", *options]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found, (folder / "log").read_text()
            until_answered(f"{found[0]}/readyz")
            yield Service(process, found[0], folder / "log")
        finally:
            process.terminate()
            process.wait()


class Prober:
    """Asks for each of PROBES every PROBE_SECONDS while the `with` block lasts, and keeps what each took."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.seconds: dict[str, list[float]] = {path: [] for path in PROBES}
        self.failed = 0
        self._address = address
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._probe, args=(path,)) for path in PROBES]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def p99(self, path: str) -> float:
        """Return the time that 99 of 100 probes stayed below."""
        return sorted(self.seconds[path])[int(0.99 * len(self.seconds[path]))]

    def _probe(self, path: str) -> None:
        while not self._over.wait(PROBE_SECONDS):
            begun = time.perf_counter()
            try:
                with socket.create_connection(self._address, timeout=10) as connection:
                    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                    answer = b""
                    while piece := connection.recv(2**16):
                        answer += piece
                self.failed += not answer.startswith(b"HTTP/1.1 200 ")
            except OSError:
                self.failed += 1
            self.seconds[path].append(time.perf_counter() - begun)


def press(service: Service, connections: int, seconds: int, script: Path) -> str:
    """Return a line of the table: what came of so many connections."""
    lines = service.log.read_text().count("\n")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), service.url]
    with Prober(service.address) as prober:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    total = re.search(r"(\d+) requests in ([\d.]+)(m?s)", said)
    assert total, said
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = sum(int(count) for count in re.findall(r"(?:connect|read|write|timeout) (\d+)", said))
    took = float(total[2])
    bad = int(refused[1]) if refused else 0
    lines = service.log.read_text().count("\n") - lines
    return (
        f"{connections:11} | {(int(total[1]) - bad) / took:9.0f} | {bad / took:9.0f} | {broken:6} | "
        f"{prober.p99('/healthz'):9.3f} | {prober.p99('/readyz'):8.3f} | {max(prober.seconds['/healthz']):6.3f} | "
        f"{prober.failed:6} | {service.rss_mib():4.0f} | {lines / took:7.0f}"
    )


def draw_all(url: str, clients: int) -> str:
    """Return what came of so many clients of ours, each with connections of its own, that draw at the same time."""
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

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = time.perf_counter() - begun
    failed = f"{len(errors)} failed" + (f", such as: {errors[0]}" if errors else "")
    return (
        f"{clients} clients of ours, {DRAWS_EACH} draws each: {failed}; the slowest draw took {max(taken):.1f} s, "
        f"all of them {whole:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=6, help="how long each number of connections is tried")
    parser.add_argument("--connections", type=int, nargs="*", default=[64, 256, 1024, 4096])
    parser.add_argument("--clients", type=int, default=1024, help="clients of ours at the end; 0 for none")
    args = parser.parse_args()
    logging.getLogger("drawpoint").setLevel(logging.ERROR)  # each pause of each client is a line
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: `apt-get install wrk`.")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = write_store(folder / "store", 4, n_surface=4_000, n_volume=16_000)
        script = folder / "draws.lua"
        script.write_text(WRK_SCRIPT)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(
            "connections | answers/s | refused/s | broken | healthz p99 | readyz p99 | max s | probes failed | MiB | "
            "log lines/s"
        )
        for connections in args.connections:
            with serving(root, folder) as service:
                print(press(service, connections, args.seconds, script), flush=True)
        if args.clients:
            with serving(root, folder) as service:
                print(draw_all(service.url, args.clients), flush=True)


if __name__ == "__main__":
    main()
