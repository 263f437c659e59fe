"""Client cost of one response: CPU and median time, our two engines against bare http.client and httpx.

A static server in a process of its own sends the same draw (surface 4096 + volume 16384 points, about 530 kB as
stored) again and again over loopback; the ways take turns within each round, so that drift of the machine hits all
of them alike. CPU is this process's, all threads. Run it with `python tests/benchmarks/client_cpu.py [ROUNDS]`.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import re
import socket
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

import httpx
import torch

import drawpoint
from drawpoint.format.payload import TensorSpec, allocate, content_digest, parse
from drawpoint.format.tensors import as_float32_each
from drawpoint_store import FileMap, SampleEntry, StoreManifest, ZarrStoreWriter

SAMPLE = "run_0"
SEED = 1
COUNTS = {"surface": 4096, "volume": 16_384}
FIELDS = (
    *("surface_position", "surface_pressure", "surface_friction", "surface_normals"),
    *("volume_position", "volume_pressure", "volume_velocity", "volume_vorticity"),
)
REPEATS = 20


def make_manifest() -> StoreManifest:
    """Make the manifest of a store with one sample of 150,000 surface and 600,000 volume points."""
    writer = ZarrStoreWriter("memory://static", FileMap(**{field: f"{field}.pt" for field in FIELDS}), "static")
    grids = {"surface": writer.grid(150_000), "volume": writer.grid(600_000)}
    writer.manifest.samples[SAMPLE] = SampleEntry(relpath=f"{SAMPLE}.zarr", domains=grids)
    return writer.manifest


def make_body(manifest: StoreManifest) -> bytes:
    """Make the body of one draw, filled with small numbers."""
    specs = [
        TensorSpec(name, layout.dtype, (COUNTS[domain],) if layout.dim == 1 else (COUNTS[domain], layout.dim))
        for domain, group in manifest.domains.items()
        for name, layout in group.arrays.items()
    ]
    metadata = {"store": "static", "revision": manifest.revision, "sample": SAMPLE, "seed": str(SEED)}
    payload = allocate(specs, metadata)
    for tensor in payload.tensors.values():
        tensor[...] = 0.5
    return bytes(payload.body)


def serve(report: Connection, manifest_json: bytes, body: bytes, revision: str) -> None:
    """Serve the manifest and the body on one connection after another, each in a forked child."""
    listener = socket.create_server(("127.0.0.1", 0))
    report.send(listener.getsockname()[1])
    heads = {
        content: (
            "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
            f"content-length: {len(content)}\r\ncontent-digest: {content_digest(content)}\r\n"
            f"x-drawpoint-revision: {revision}\r\nx-drawpoint-seed: {SEED}\r\nserver: static\r\n"
            'etag: "0123456789abcdef0123456789abcdef"\r\ncache-control: public, max-age=3600\r\n'
        ).encode()
        for content in (manifest_json, body)
    }
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if os.fork():
            connection.close()
            continue
        head = b""
        while received := connection.recv(65_536):
            head += received
            if head.endswith(b"\r\n\r\n"):
                content = manifest_json if head.split(b" ", 2)[1].endswith(b"/manifest") else body
                found = re.search(rb"\r\nx-request-id:([^\r]*)", head, re.IGNORECASE)
                request_id = found[1] if found else b"none"
                connection.sendall(heads[content] + b"x-request-id:" + request_id + b"\r\n\r\n" + content)
                head = b""
        os._exit(0)


def list_ways(url: str) -> dict[str, Callable[[], Any]]:
    """Return the ways to get the draw, the baseline first; each returns its tensors."""
    plain = drawpoint.connect(url).store("static")
    through = drawpoint.connect(url, http2=False).store("static")  # told something: no longer plain
    target = f"/stores/static/samples/{SAMPLE}?surface=4096&volume=16384&seed={SEED}&dtype=stored"
    bare = http.client.HTTPConnection(urlsplit(url).netloc)
    client = httpx.Client()

    def get_bare() -> bytearray:
        bare.request("GET", target)
        response = bare.getresponse()
        body = bytearray(response.length or 0)
        view, filled = memoryview(body), 0
        while filled < len(body):
            filled += response.readinto(view[filled:])
        response.close()
        return body

    def as_views(body: bytearray) -> Any:
        return {name: torch.from_numpy(array) for name, array in parse(body)[0].items()}

    def read_and_use() -> Any:
        body = get_bare()
        content_digest(body)
        return as_float32_each(parse(body)[0])

    return {
        "http.client + zero-copy views (no checks, no float32)": lambda: as_views(get_bare()),
        "the same + crc32c + one cast to float32": read_and_use,
        "drawpoint": lambda: plain.read_sample(SAMPLE, COUNTS, seed=SEED),
        "drawpoint through httpx": lambda: through.read_sample(SAMPLE, COUNTS, seed=SEED),
        "httpx.Client.get + views (no checks, no float32)": lambda: as_views(
            bytearray(client.get(url + target).content)
        ),
    }


def measure(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return CPU and median wall time of one response, in ms, round by round and by way."""
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for read in ways.values():
        read()
    for _ in range(rounds):
        for name, read in ways.items():
            times = []
            begun = time.process_time()
            for _ in range(REPEATS):
                before = time.perf_counter()
                read()
                times.append(time.perf_counter() - before)
            cpu = (time.process_time() - begun) / REPEATS
            results[name].append((1e3 * cpu, 1e3 * statistics.median(times)))
    return results


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    manifest = make_manifest()
    body = make_body(manifest)
    mine, theirs = multiprocessing.Pipe()
    arguments = (theirs, manifest.to_json(), body, manifest.revision)
    server = multiprocessing.get_context("fork").Process(target=serve, args=arguments, daemon=True)
    server.start()
    try:
        results = measure(list_ways(f"http://127.0.0.1:{mine.recv()}"), rounds)
    finally:
        server.terminate()
        server.join()
    baseline = next(iter(results.values()))
    print(f"One response of {len(body):,} bytes; medians of {rounds} rounds of {REPEATS}, of ratios too.\n")
    print("| way | CPU ms | of the baseline | p50 ms | of the baseline |\n|---|---|---|---|---|")
    for name, figures in results.items():
        cells = []
        for column in (0, 1):
            cells.append(statistics.median(figure[column] for figure in figures))
            pairs = zip(figures, baseline, strict=True)
            cells.append(statistics.median(figure[column] / base[column] for figure, base in pairs))
        print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")


if __name__ == "__main__":
    main()
