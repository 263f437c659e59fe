"""Served draws: client tensors over loopback against the local read and a static transfer of the same bytes.

    python tests/benchmarks/served_read.py [--rounds 200] [--seconds 4]

The service and nginx run in processes of their own, warm; one draw is surface 4096 + volume 16384 points with all
fields of a sample of 150k + 600k points. Throughput is measured with wrk (Debian's `wrk`), each request with a seed of
its own, from the same machine: the load takes its share of the cores.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from made import write_store
from turns import print_times, time_in_turns

import drawpoint
from drawpoint_store import ZarrChunkReader

COUNTS = {"surface": 4096, "volume": 16384}
SAMPLES = 8
WRK_SCRIPT = """
local n = 0
request = function()
  n = n + 1
  local path = "/stores/bench/samples/run_" .. (n % 8) .. "?surface=4096&volume=16384&dtype=stored&seed="
  return wrk.format("GET", path .. math.random(1, 1000000000))
end
"""


@contextlib.contextmanager
def serving(root: Path, workers: int, *, ready: bool = True) -> Iterator[str]:
    """Run `drawpoint serve` and give its address, once it is ready to read unless that is not asked for."""
    command = [sys.executable, "-m", "drawpoint_cli", "serve", "--store", f"bench={root}", "--port", "0"]
    service = subprocess.Popen(
        [*command, "--workers", str(workers)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert service.stdout is not None
        found = re.search(r"http://\S+", service.stdout.readline())
        assert found, "the service did not say where it is"
        until_answered(f"{found[0]}/{'readyz' if ready else 'healthz'}")
        yield found[0]
    finally:
        service.terminate()
        service.wait()


def fetch(url: str) -> bytes:
    """Return the body of a page; raises OSError unless it is there."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        body: bytes = answer.read()
    return body


def until_answered(url: str) -> None:
    """Wait until the service answers."""
    for _ in range(600):
        with contextlib.suppress(OSError):
            fetch(url)
            return
        time.sleep(0.05)  # only an answer tells that it is there
    raise SystemExit(f"{url} was not answered within 30 s")


@contextlib.contextmanager
def static(folder: Path) -> Iterator[str | None]:
    """Serve a folder with nginx and give its address, or None where nginx is not installed."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        yield None
        return
    port = 18_080
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; user root;\n"
        "events {} http { access_log off; sendfile on; keepalive_requests 1000000;\n"
        f"client_body_temp_path {folder};\n"
        f"proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}; }} }}"
    )
    server = subprocess.Popen([nginx, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        until_answered(f"http://127.0.0.1:{port}/nginx.conf")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def static_get(connection: http.client.HTTPConnection, buffer: bytearray) -> None:
    """Transfer the static body once, into a buffer."""
    connection.request("GET", "/body")
    response = connection.getresponse()
    view = memoryview(buffer)
    while view:
        view = view[response.readinto(view) :]
    response.read()


def compare_latency(root: Path, rounds: int) -> None:
    """Print p50 and p95 of one draw, local, served, and as a static transfer, interleaved."""
    local = ZarrChunkReader(root)
    with serving(root, 1) as url, tempfile.TemporaryDirectory() as folder, static(Path(folder)) as static_url:
        remote = drawpoint.connect(url).store("bench")
        tensors = remote.read_sample("run_0", COUNTS, seed=0)
        layout = local.manifest.fields
        nbytes = sum(tensor.numel() * (2 if layout[f].dtype == "float16" else 4) for f, tensor in tensors.items())
        ways: dict[str, Callable[[int], object]] = {
            "local read": lambda number: local.read_sample(f"run_{number % SAMPLES}", COUNTS, seed=number),
            "served to tensors": lambda number: remote.read_sample(f"run_{number % SAMPLES}", COUNTS, seed=number),
        }
        if static_url:
            Path(folder, "body").write_bytes(os.urandom(nbytes))
            Path(folder).chmod(0o755)  # nginx reads as a user of its own
            connection = http.client.HTTPConnection(urlsplit(static_url).netloc)
            buffer = bytearray(nbytes)
            ways["static transfer (nginx)"] = lambda _: static_get(connection, buffer)
        times = time_in_turns(ways, rounds, warm=20)
    print(f"One draw of {nbytes / 1e3:.0f} kB\n")
    print_times(times, "a draw", "local read")
    if static_url:
        allowed = statistics.median(times["local read"]) + 2 * statistics.median(times["static transfer (nginx)"])
        print(f"| goal: local read + 2 x static | {allowed:.2f} | | |")
    print()


def busy_seconds() -> float:
    """Return how long the cores have worked since the machine started, together."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def load(wrk: str, script: Path, url: str, connections: int, seconds: int) -> tuple[float, float, float]:
    """Return requests a second, p99 in ms and the share of all cores that was busy, under wrk's load."""
    threads = min(2, connections)
    options = [f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    busy, begin = busy_seconds(), time.perf_counter()
    text = subprocess.run([wrk, *options, url], capture_output=True, text=True, check=True).stdout
    share = (busy_seconds() - busy) / (time.perf_counter() - begin) / (os.cpu_count() or 1)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    assert rate, text
    assert tail, text
    assert "Non-2xx" not in text, text
    return float(rate[1]), float(tail[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[tail[2]], share


def compare_throughput(root: Path, seconds: int, concurrencies: tuple[int, ...]) -> None:
    """Print requests a second over concurrency, for one and two workers."""
    wrk = shutil.which("wrk")
    if wrk is None:
        print("wrk is not installed: no throughput table (apt-get install wrk)")
        return
    script = root / "draws.lua"
    script.write_text(WRK_SCRIPT)
    print("| connections | 1 worker, requests/s | p99 ms | 2 workers, requests/s | p99 ms | cores busy | ratio |")
    print("|---|---|---|---|---|---|---|")
    with serving(root, 1) as one, serving(root, 2) as two:
        for connections in concurrencies:
            rate, tail, _ = load(wrk, script, one, connections, seconds)
            rate_two, tail_two, busy = load(wrk, script, two, connections, seconds)
            print(
                f"| {connections} | {rate:.0f} | {tail:.1f} | {rate_two:.0f} | {tail_two:.1f} | {busy:.0%} "
                f"| {rate_two / rate:.2f} |"
            )
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=4, help="of load a cell of the throughput table")
    args = parser.parse_args()
    for level, concurrencies in ((5, (1, 2, 4, 8, 16, 32, 64)), (0, (1, 8))):
        print(f"Chunks at blosc-zstd level {level}{' (what `drawpoint convert` writes)' if level == 0 else ''}.\n")
        with tempfile.TemporaryDirectory() as folder:
            root = write_store(Path(folder), SAMPLES, level)
            compare_latency(root, args.rounds)
            compare_throughput(root, args.seconds, concurrencies)


if __name__ == "__main__":
    main()
