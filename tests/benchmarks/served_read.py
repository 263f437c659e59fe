"""Served draws: client tensors over loopback against the local read and a static transfer of the same bytes.

    python tests/benchmarks/served_read.py [--rounds 200] [--seconds 4]

The service and nginx run in processes of their own, warm; one draw is surface 4096 + volume 16384 points with all
fields of a sample of 150k + 600k points. Throughput is measured with wrk (Debian's `wrk`), each request with a seed of
its own, from the same machine: the load takes its share of the cores.

What one worker could do at most is told from two things that it cannot do without: the read of the chunks themselves,
and an answer of a bare ASGI application on uvicorn that sends the same bytes from memory (bare_app.py). The worker has
one core for itself, and the load another.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import math
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
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from local_read import Floor
from made import write_store
from turns import print_times, time_in_turns

import drawpoint
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.plan import ReadPlan, plan_sample

COUNTS = {"surface": 4096, "volume": 16384}
SAMPLES = 8
BARE_APP = Path(__file__).with_name("bare_app.py")
CONNECTIONS, ROUNDS = 8, 5
FLOORS_ALLOWED = 4.2
"""Local floors in the bound: what a local draw took, over the floor, when the bound was set; it stays where it is."""

STAGES = """\
Where the 1,220 us of one served draw went (each process with a core for itself, timers in both, 2026-11, medians). One
request is under way at a time, so that each process wakes up with cold caches, and its Python takes about twice what it
does in a loop.

| stage | us |
|---|---|
| client: selection, address, head of the request | 50 |
| service: uvicorn's parser, middlewares, routing | 130 |
| service: query, which arrays, which rows of which chunks (70), ETag | 135 |
| service: layout, metadata, memory of the answer | 70 |
| service: reading the chunks into it | 250 |
| service: digest, heads, until the first bytes are sent | 90 |
| transfer, until the last byte has come | 165 |
| client: head of the answer, of which http.client's parser takes 65 | 75 |
| client: digest, header of the payload, checks | 85 |
| client: float32 of float16 | 80 |
| waking up, twice | 90 |

What stands in the way of the goal: two static transfers pay for 500 us, and HTTP adds 800, which are the transfer and
550 us of Python in the two processes. No part of that is large. The largest is the parser of mails that http.client
reads the answer's head with, a twentieth of the draw, and a parser of our own would be one more to trust.
"""
"""The profile of a served draw; measured by hand, since it takes timers inside the service."""

WRK_SCRIPT = """
local n = 0
request = function()
  n = n + 1
  local path = "/stores/bench/samples/run_" .. (n % 8) .. "?surface=4096&volume=16384&dtype=stored&seed="
  return wrk.format("GET", path .. math.random(1, 1000000000))
end
"""


def pinned(core: int | None) -> list[str]:
    """Return the words before a command that keep it on one core."""
    return [] if core is None else ["taskset", "-c", str(core)]


@contextlib.contextmanager
def started(command: list[str], core: int | None = None) -> Iterator[str]:
    """Run a server that prints its address, on one core if that is given, and give the address."""
    server = subprocess.Popen(
        [*pinned(core), sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found, "the server did not say where it is"
        yield found[0]
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def serving(root: Path, workers: int, *, ready: bool = True, core: int | None = None) -> Iterator[str]:
    """Run `drawpoint serve` and give its address, once it is ready to read unless that is not asked for."""
    command = ["-m", "drawpoint_cli", "serve", "--store", f"bench={root}", "--port", "0", "--workers", str(workers)]
    with started(command, core) as url:
        until_answered(f"{url}/{'readyz' if ready else 'healthz'}")
        yield url


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
        served = statistics.median(times["served to tensors"])
        print(f"| goal: local read + 2 x static | {allowed:.2f} | | |")
        print(f"\nserved over local read + 2 x static: {served / allowed:.2f} (goal: at most 1).")
    print()


def busy_seconds() -> float:
    """Return how long the cores have worked since the machine started, together."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


class Load(NamedTuple):
    """What wrk saw: answers a second, and response times in ms; and the share of all cores that was busy meanwhile."""

    rate: float
    p50: float
    p99: float
    busy: float


def load(wrk: str, script: Path, url: str, connections: int, seconds: int, core: int | None = None) -> Load:
    """Put a service under wrk's load, from one core if that is given."""
    threads = 1 if core is not None else min(2, connections)
    command = [
        *pinned(core),
        wrk,
        f"-t{threads}",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(script),
        url,
    ]
    busy, begin = busy_seconds(), time.perf_counter()
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    share = (busy_seconds() - busy) / (time.perf_counter() - begin) / (os.cpu_count() or 1)
    assert "Non-2xx" not in text, text
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate, text
    tails = dict(re.findall(r"(50|99)%\s+([\d.]+[mu]?s)", text))
    return Load(float(rate[1]), in_ms(tails["50"]), in_ms(tails["99"]), share)


def in_ms(text: str) -> float:
    """Return the milliseconds of a time that wrk prints."""
    number = float(text.rstrip("mus"))
    return number * {"us": 1e-3, "ms": 1.0}.get(text[-2:], 1e3)


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
            first = load(wrk, script, one, connections, seconds)
            second = load(wrk, script, two, connections, seconds)
            print(
                f"| {connections} | {first.rate:.0f} | {first.p99:.1f} | {second.rate:.0f} | {second.p99:.1f} "
                f"| {second.busy:.0%} | {second.rate / first.rate:.2f} |"
            )
    print()


def compare_with_bound(root: Path, seconds: int) -> None:
    """Print what one worker on one core does over what it could do at most, and how even its response times are."""
    wrk, cores = shutil.which("wrk"), sorted(os.sched_getaffinity(0))
    if wrk is None or len(cores) < 2:
        print("no comparison with the bound: it takes wrk and two cores\n")
        return
    script = root / "draws.lua"
    script.write_text(WRK_SCRIPT)
    reader = ZarrChunkReader(root)
    plans = [plan_sample(reader.manifest, f"run_{number % SAMPLES}", COUNTS, seed=number) for number in range(64)]
    floor = Floor(reader)
    chunks = [floor.chunks(plan) for plan in plans]
    with serving(root, 1, core=cores[0]) as ours, started([str(BARE_APP), str(size_of(plans[0]))], cores[0]) as bare:
        for url in (ours, bare):
            load(wrk, script, url, CONNECTIONS, 1, cores[1])
        rounds = []
        for _ in range(ROUNDS):
            os.sched_setaffinity(0, cores[:1])
            floors = time_in_turns(
                {"": lambda number: floor.copied(chunks[number % len(chunks)], fresh=True)}, 100, warm=10
            )[""]
            os.sched_setaffinity(0, cores)
            served, from_memory = (load(wrk, script, url, CONNECTIONS, seconds, cores[1]) for url in (ours, bare))
            bound = 1e3 / (FLOORS_ALLOWED * statistics.median(floors) + 1e3 / from_memory.rate)
            rounds.append(Round(statistics.median(floors), served, from_memory, bound))
    print(f"{CONNECTIONS} connections, one worker on one core; medians of {ROUNDS} rounds, of ratios too.\n")
    print("| what | draws/s | p50 ms | p99 ms | p99 over p50 |\n|---|---|---|---|---|")
    print_load("drawpoint serve", [each.served for each in rounds])
    print_load("bare ASGI app, the same bytes from memory", [each.from_memory for each in rounds])
    floor_ms, bound, reached = (
        statistics.median(column)
        for column in zip(*((each.floor, each.bound, each.served.rate / each.bound) for each in rounds), strict=True)
    )
    print(f"| bound: 1 / ({FLOORS_ALLOWED} local floors of {floor_ms:.3f} ms + one bare answer) | {bound:.0f} | | | |")
    print(f"| drawpoint over the bound (goal: 0.7, and p99 at most 3 x p50) | {reached:.2f} | | | |\n")


class Round(NamedTuple):
    """The local floor in ms, the two loads, and the bound that follows in draws a second."""

    floor: float
    served: Load
    from_memory: Load
    bound: float


def print_load(name: str, loads: list[Load]) -> None:
    """Print a row of medians."""
    rate, p50, p99, ratio = (
        statistics.median(column)
        for column in zip(*((each.rate, each.p50, each.p99, each.p99 / each.p50) for each in loads), strict=True)
    )
    print(f"| {name} | {rate:.0f} | {p50:.1f} | {p99:.1f} | {ratio:.1f} |")


def size_of(plan: ReadPlan) -> int:
    """Return the bytes of a plan's tensors, as stored."""
    return sum(np.dtype(array.layout.dtype).itemsize * math.prod(array.shape) for array in plan.arrays.values())


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
            if level == 0:
                print(STAGES)
            compare_throughput(root, args.seconds, concurrencies)
            if level == 0:
                compare_with_bound(root, args.seconds)


if __name__ == "__main__":
    main()
