"""Draws out of a bucket under injected latency: ours, and zarr-python over obstore and over fsspec at their best.

    python tests/benchmarks/bucket_read.py

A real S3 server (SeaweedFS) stands behind a proxy of our own that adds a round trip to each request. One draw is
surface 4096 + volume 16384 points with all fields of a sample of 150k + 600k points. Cold: the first draw from a sample
by a reader that has read another one before; warm: a later one from the same sample, other points. The work itself is
what the same draws take at latency 0. zarr-python opens a group once, reads fields in so many threads, with its own
concurrency raised to 128; over s3fs where that is installed.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from made import write_store
from zarr.storage import FsspecStore

from drawpoint.draw.rows import row_indices
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.plan import ReadPlan, plan_sample
from drawpoint_store.storage import BucketAccess, Storage, open_storage
from drawpoint_store.storage.bucket_access import open_client

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from s3 import ACCESS_KEY, SECRET_KEY, run_s3

COUNTS = {"surface": 4096, "volume": 16384}
LATENCIES = (0, 5, 30, 100)  # ms
SAMPLES = 4  # of which one is for warming up
THREADS = {"obstore": (1, 8), "s3fs": (8,)}
"""One is how noether reads, and takes as long over s3fs; with 8 fields more than 8 have nothing to do."""
ROOT = "s3://cars/made"
Read = Callable[[ReadPlan], Any]


@contextmanager
def delayed(endpoint: str, latency: float) -> Iterator[str]:
    """Run the proxy in a process of its own, so that it takes no time from the readers' interpreter."""
    command = [sys.executable, str(Path(__file__).parents[1] / "proxy.py"), endpoint.rpartition(":")[2], str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            yield f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
        finally:
            proxy.kill()


def storage_at(endpoint: str) -> Storage:
    access = {"endpoint": endpoint, "region": "us-east-1", "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}
    return open_storage(ROOT, BucketAccess.model_validate(access))


def ours(endpoint: str, store: ZarrChunkReader) -> Read:
    opened = ZarrChunkReader(storage_at(endpoint), manifest=store.manifest)
    return lambda plan: opened.read_into(
        plan, {field: np.empty(array.shape, np.float32) for field, array in plan.arrays.items()}
    )


def through_zarr(kind: str, endpoint: str, threads: int) -> Read:
    """Read as zarr's users do: `oindex` of each field, fields in threads; a group is opened once."""
    pool = ThreadPoolExecutor(threads)
    groups: dict[str, Any] = {}

    def open_group(relpath: str) -> Any:
        if kind == "obstore":
            return storage_at(endpoint).open_zarr(relpath)
        options = {"key": ACCESS_KEY, "secret": SECRET_KEY, "endpoint_url": endpoint}
        return FsspecStore.from_url(f"{ROOT}/{relpath}", storage_options=options, read_only=True)

    def read(plan: ReadPlan) -> None:
        if plan.relpath not in groups:
            groups[plan.relpath] = zarr.open_group(open_group(plan.relpath), mode="r", use_consolidated=True)
        group = groups[plan.relpath]

        def read_field(field: str) -> Any:
            draw = plan.arrays[field]
            return group[draw.layout.array_name].oindex[row_indices(draw.draw.rows, draw.draw.grid.chunk_points)]

        list(pool.map(read_field, plan.arrays))

    return read


def measure(read: Read, store: ZarrChunkReader) -> tuple[float, float]:
    """Return the median milliseconds of cold and of warm draws."""
    cold: list[float] = []
    warm: list[float] = []
    first, *others = store.manifest.samples
    read(plan_sample(store.manifest, first, COUNTS, seed=0))
    for sample in others:
        for times, seed in ((cold, 0), (warm, 1), (warm, 2)):
            plan = plan_sample(store.manifest, sample, COUNTS, seed=seed)
            began = time.perf_counter()
            read(plan)
            times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(cold), statistics.median(warm)


def main() -> None:
    zarr.config.set({"async.concurrency": 128})
    kinds = ("obstore", "s3fs") if importlib.util.find_spec("s3fs") else ("obstore",)
    others = {f"zarr-python, {kind}, {threads} threads": (kind, threads) for kind in kinds for threads in THREADS[kind]}
    times: dict[str, dict[int, tuple[float, float]]] = {way: {} for way in ("drawpoint", *others)}
    with tempfile.TemporaryDirectory() as folder, run_s3("cars") as bucket:
        os.environ.update(bucket.environment)
        root = write_store(Path(folder, "store"), SAMPLES)
        client = open_client(ROOT)
        for path in sorted(root.rglob("*")):
            if path.is_file():
                client.put(str(path.relative_to(root)), path.read_bytes())
        store = ZarrChunkReader(root)
        for latency in reversed(LATENCIES):  # the work itself last, when the server is warm
            with delayed(bucket.endpoint, latency / 1e3) as endpoint:
                times["drawpoint"][latency] = measure(ours(endpoint, store), store)
                for way, (kind, threads) in others.items():
                    times[way][latency] = measure(through_zarr(kind, endpoint, threads), store)
    print("| way, ms cold / warm |", " | ".join(f"L = {latency} ms" for latency in LATENCIES), "|")
    print("|---|" + "---|" * len(LATENCIES))
    for way, found in times.items():
        print(f"| {way} |", " | ".join("{:.0f} / {:.0f}".format(*found[latency]) for latency in LATENCIES), "|")
    print("\n| round trips of drawpoint beyond the work itself | cold (goal 3) | warm (goal 1.3) |\n|---|---|---|")
    ours_at = times["drawpoint"]
    for latency in LATENCIES[1:]:
        over = [(ours_at[latency][kind] - ours_at[0][kind]) / latency for kind in (0, 1)]
        print(f"| L = {latency} ms | {over[0]:.2f} | {over[1]:.2f} |")


if __name__ == "__main__":
    main()
