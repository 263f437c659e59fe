"""Conversion of VTK files by a recipe, from local files and from a bucket behind a line with latency and a throttle.

    python tests/benchmarks/remote_conversion.py

A real S3 server (SeaweedFS) stands behind a proxy of our own that adds a round trip to each request and shares a line
between all bodies. Server, proxy and converter share the machine's cores. One worker converts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pyvista
from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

from drawpoint_store import ZarrStoreWriter
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.conversion.scratch.scratch import Scratch
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.convert import convert
from drawpoint_store.data_files import needed_parts

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from s3 import run_s3, upload

SAMPLES, SIDE, ARRAYS = 5, 64, 60
LATENCY, LINE = 0.025, 30e6
"""Seconds a round trip, and bytes a second."""

ROUNDS = 3
RECIPE = """
name = "made"
sample = "run_{n}"
[volume]
file = "volume.vtu"
place = "cell"
[volume.fields]
pressure = "scalar_7"
velocity = "velocity"
"""


def write_samples(folder: Path) -> int:
    """Write the samples, a cube of hexahedra with many arrays each, and return the bytes of one."""
    grid = pyvista.ImageData(dimensions=(SIDE + 1,) * 3).cast_to_unstructured_grid()
    for run in range(1, SAMPLES + 1):
        rng = np.random.default_rng(run)
        for number in range(ARRAYS):
            grid.cell_data[f"scalar_{number}"] = rng.random(grid.n_cells, dtype=np.float32)
        grid.cell_data["velocity"] = rng.random((grid.n_cells, 3), dtype=np.float32)
        path = folder / f"run_{run}" / "volume.vtu"
        path.parent.mkdir(parents=True)
        writer = vtkXMLUnstructuredGridWriter()
        writer.SetInputData(grid)
        writer.SetFileName(str(path))
        writer.SetDataModeToAppended()
        writer.SetEncodeAppendedData(False)
        writer.SetCompressorTypeToNone()
        writer.SetHeaderTypeToUInt64()
        writer.Write()
    return path.stat().st_size


@contextlib.contextmanager
def throttled(endpoint: str) -> Iterator[str]:
    """Run the proxy in a process of its own, so that it takes no time from the converter's interpreter."""
    command = [sys.executable, str(Path(__file__).parents[1] / "proxy.py"), endpoint.rpartition(":")[2]]
    with subprocess.Popen([*command, str(LATENCY), str(LINE)], stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            yield f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
        finally:
            proxy.kill()


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Callable[[], int]]:
    """Look at the blocks that files below a folder take on the disk, and give their peak in bytes."""
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            total = 0
            for above, _, names in os.walk(folder):  # which passes over what is removed meanwhile
                for name in names:
                    with contextlib.suppress(FileNotFoundError):
                        total += Path(above, name).stat().st_blocks * 512
            peak = max(peak, total)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: peak
    finally:
        done.set()
        thread.join()


def measure(location: str, folder: Path, executor: Executor | None) -> tuple[float, int, bytes]:
    """Convert once, and return seconds, the scratch's peak on the disk, and the manifest, which digests all bytes."""
    store, scratch = folder / "store", folder / "scratch"
    scratch.mkdir()
    with watched(scratch) as peak:
        began = time.perf_counter()
        source = RecipeSource.scan(location, parse_recipe(RECIPE, "the recipe"), Scratch(scratch))
        report = convert(
            source, ZarrStoreWriter(store, **source.writer_settings, compression_level=0), executor=executor
        )
        seconds = time.perf_counter() - began
        assert len(report.converted) == SAMPLES, report.broken
        found = seconds, peak(), (store / "manifest.json").read_bytes()
    del source
    shutil.rmtree(store)
    shutil.rmtree(scratch)
    return found


def main() -> None:
    whole = mock.patch.object(needed_parts, "ROUND_TRIP_BYTES", 1 << 60)
    with (
        tempfile.TemporaryDirectory() as name,
        run_s3("raw") as bucket,
        throttled(bucket.endpoint) as endpoint,
        ThreadPoolExecutor(1) as one,
    ):
        folder = Path(name)
        size = write_samples(folder / "raw")
        os.environ.update(bucket.environment)
        root = upload(folder / "raw", "s3://raw/raw")
        os.environ["AWS_ENDPOINT_URL"] = endpoint
        local = str(folder / "raw")
        ways: dict[str, tuple[str, Executor | None, bool]] = {
            "local files": (local, None, False),
            "bucket, by their parts": (root, None, False),
            "bucket, by their parts, one after the other": (root, one, False),
            "bucket, whole files": (root, None, True),
            "bucket, whole files, one after the other": (root, one, True),
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        peaks = dict.fromkeys(ways, 0)
        manifests = set()
        for _ in range(ROUNDS):
            for way, (location, executor, is_whole) in ways.items():
                with whole if is_whole else contextlib.nullcontext():
                    seconds, peak, manifest = measure(location, folder, executor)
                times[way].append(seconds)
                peaks[way] = max(peaks[way], peak)
                manifests.add(manifest)
        assert len(manifests) == 1, "all ways give the same bytes"
    mega = 1e6
    print(f"{SAMPLES} samples of {size / mega:.0f} MB: {SIDE**3:,} hexahedra, {ARRAYS + 1} cell arrays, of which 2 are")
    print(f"stored, and the cells' centres. {1e3 * LATENCY:.0f} ms a round trip, {LINE / mega:.0f} MB/s;", end=" ")
    print(f"best of {ROUNDS}.\n")
    floor = SAMPLES * size / LINE
    print("| way | s | over local files | peak of the scratch, MB |\n|---|---|---|---|")
    base = min(times["local files"])
    for way, found in times.items():
        seconds = min(found)
        print(f"| {way} | {seconds:.1f} | {seconds / base:.2f} | {peaks[way] / mega:.0f} |")
    print(f"| floor: all bytes through the line | {floor:.1f} | {floor / base:.2f} | |")


if __name__ == "__main__":
    main()
