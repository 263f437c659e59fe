"""Large stores: draws over the size of a sample, and a manifest of 100,000 samples.

    python tests/benchmarks/scale.py

Samples of up to 1e8 points are made without their bytes: every chunk of a shard's index points at the same stored
chunk. The manifest is opened in a process of its own, so that memory is what it alone costs.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import crc32c
import numpy as np
from served_read import fetch, serving

from drawpoint.format.manifest import SampleEntry, SampleTable
from drawpoint_store import FileMap, StoreManifest, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.reading.digests import ArrayDigests, SampleDigest, table_digest
from drawpoint_store.writing.group import array_metadata, encode_chunk, group_metadata

SIZES = (10**5, 10**6, 10**7, 10**8)
COUNT = 16384
FILEMAP = FileMap(volume_position="p.pt", volume_velocity="v.pt")
MANIFEST_SAMPLES = 100_000
SCALARS = 20

OPEN = """
import json, pickle, sys, time
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
from drawpoint_store.reading.manifest import StoreManifest
before = resident()
begin = time.perf_counter()
manifest = StoreManifest.load(sys.argv[1])
opened = time.perf_counter()
held = resident()
data = pickle.dumps(manifest)
dumped = time.perf_counter()
pickle.loads(data)
print(json.dumps({"open s": opened - begin, "process MB": held, "of it for the manifest MB": held - before,
                  "unpickle s": time.perf_counter() - dumped}))
"""


def write_hollow_store(root: Path) -> None:
    """Write a store with a sample of each size whose chunks are all the same bytes."""
    writer = ZarrStoreWriter(root, FILEMAP, "hollow")
    rng = np.random.default_rng(0)
    for size in SIZES:
        grid = writer.grid(size)
        nodes, digests = {}, {}
        for layout in writer.layouts["volume"].arrays.values():
            rows = rng.standard_normal((grid.chunk_points, layout.dim)).astype(layout.dtype)
            chunk = encode_chunk(rows, writer.compression_level)
            index = np.tile(np.array([0, len(chunk)], "<u8"), grid.n_chunks).tobytes()
            shard = root / f"n{size}.zarr" / layout.array_name / "c" / "0" / "0"
            shard.parent.mkdir(parents=True)
            shard.write_bytes(chunk + index + crc32c.crc32c(index).to_bytes(4, "little"))
            table = chunk[-4:] * grid.n_chunks
            nodes[layout.array_name] = array_metadata(layout, grid, writer.compression_level, table)
            digests[layout.array_name] = ArrayDigests("", table_digest(table))
        stored_digest = SampleDigest.of(digests)
        (root / f"n{size}.zarr" / "zarr.json").write_text(json.dumps(group_metadata(nodes, stored_digest)))
        writer.manifest.samples[f"n{size}"] = SampleEntry(
            relpath=f"n{size}.zarr", domains={"volume": grid}, digest=stored_digest.digest
        )
    writer.save_manifest()


def sweep(root: Path) -> None:
    """Print the time of a first and of a later draw over the size of the sample."""
    write_hollow_store(root)
    print(f"Draws of {COUNT} points\n\n| points of the sample | first draw ms | p50 ms |\n|---|---|---|")
    for size in SIZES:
        reader = ZarrChunkReader(root)
        times = []
        for seed in range(200):
            begin = time.perf_counter()
            reader.read_sample(f"n{size}", {"volume": COUNT}, seed=seed)
            times.append((time.perf_counter() - begin) * 1e3)
        print(f"| {size:.0e} | {times[0]:.2f} | {statistics.median(times[1:]):.2f} |")


def measure_manifest(root: Path, n_scalars: int) -> dict[str, float]:
    """Return what a manifest of 100,000 samples of two domains costs to open, hold, unpickle and serve."""
    writer = ZarrStoreWriter(root, FileMap(surface_position="s.pt", volume_position="v.pt"), "many")
    samples = SampleTable()
    values = np.random.default_rng(0).standard_normal((MANIFEST_SAMPLES, n_scalars))
    for number in range(MANIFEST_SAMPLES):
        sample_id = f"param{number % 7}/{number:032x}"
        grids = {"surface": writer.grid(150_000 + number % 997), "volume": writer.grid(600_000 + number % 9973)}
        samples[sample_id] = SampleEntry(
            relpath=f"{sample_id}.zarr",
            domains=grids,
            digest=f"sha256/2:{number:064x}",
            scalars={f"design_parameters_{index}": value for index, value in enumerate(values[number])},
        )
    writer.manifest.samples = samples
    writer.save_manifest()
    command = [sys.executable, "-P", "-c", OPEN, str(root)]  # modules beside this one have names of others
    figures = {"bytes MB": (root / StoreManifest.MANIFEST_NAME).stat().st_size / 1e6}
    figures |= json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    with serving(root, 1, ready=False) as url:
        for path in ("", "/samples?limit=100", "/manifest"):
            times = []
            for _ in range(20):
                begin = time.perf_counter()
                fetch(f"{url}/stores/bench{path}")
                times.append((time.perf_counter() - begin) * 1e3)
            figures[f"GET /stores/bench{path} p50 ms"] = statistics.median(times)
    return figures


def compare_manifests() -> None:
    """Print the cost of a manifest without scalars, and of one with 20 for each sample."""
    costs = []
    for n_scalars in (0, SCALARS):
        with tempfile.TemporaryDirectory() as folder:
            costs.append(measure_manifest(Path(folder), n_scalars))
    without, with_scalars = costs
    print(f"\nA manifest of {MANIFEST_SAMPLES:,} samples\n")
    print(f"| what | without scalars | {SCALARS} scalars a sample | ratio |\n|---|---|---|---|")
    for name, figure in without.items():
        print(f"| {name} | {figure:.2f} | {with_scalars[name]:.2f} | {with_scalars[name] / figure:.2f} |")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sweep(Path(folder))
    compare_manifests()


if __name__ == "__main__":
    main()
