"""The publication of a conversion that was shared: thousands of records become a manifest.

    python tests/benchmarks/publication.py [SAMPLES_OF_A_DISK] [SAMPLES_OF_A_BUCKET]

Samples are tiny: the publication reads none of them. The bucket is of a real S3 server (SeaweedFS) behind a proxy of
our own that adds 20 ms to each request; the source is a local folder. A publication is timed as a whole, from the
listing of the source. That of one sample too few reads all records and is refused: so is timed what reading them one at
a time takes. TMPDIR says where the folder is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bucket_read import delayed

from drawpoint.errors import ConversionUnfinished
from drawpoint_store import FileMap, ZarrStoreWriter
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.conversion.sharing import shares
from drawpoint_store.conversion.sharing.shares import Share, convert_share, publish_shares
from drawpoint_store.conversion.sources.recipe_source import RecipeSource

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from s3 import run_s3

LATENCY = 0.02
ROOT = "s3://cars/tiny"
SHARES = 4
RECIPE = """
name = "tiny"
sample = "run_{n}"
[surface]
file = "surface.npz"
place = "row"
[surface.fields]
position = "xyz"
pressure = "p"
"""


def write_runs(folder: Path, first: int, stop: int) -> None:
    """Write runs of 16 points."""
    chance = np.random.default_rng(first)
    for number in range(first, stop):
        run = folder / f"run_{number}"
        run.mkdir(parents=True)
        xyz, p = (chance.standard_normal(shape, dtype=np.float32) for shape in ((16, 3), 16))
        np.savez(run / "surface.npz", xyz=xyz, p=p)


def open_runs(runs: Path) -> RecipeSource:
    return RecipeSource.scan(runs, parse_recipe(RECIPE, "the recipe"))


def writer_of(source: RecipeSource, root: str) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, FileMap(), "tiny", compression_level=0, fields=source.specs)


def convert_all(runs: Path, root: str) -> None:
    source = open_runs(runs)
    for number in range(1, SHARES + 1):
        convert_share(source, writer_of(source, root), Share(number, SHARES), workers=2)


def timed_publication(runs: Path, root: str, reads: int = shares.READS) -> float:
    """Return the seconds from the listing of the source to the published manifest, or to the refusal."""
    shares.READS = reads
    started = time.monotonic()
    source = open_runs(runs)
    with contextlib.suppress(ConversionUnfinished):
        publish_shares(source, writer_of(source, root))
    return time.monotonic() - started


def measure(where: str, runs: Path, root: str, count: int) -> None:
    """Print a row for the publication at `root`, where all of `count` runs have been converted."""
    write_runs(runs, count, count + 1)  # one that lacks: nothing is published
    refused, slow = timed_publication(runs, root), timed_publication(runs, root, reads=1)
    shutil.rmtree(runs / f"run_{count}")
    published = timed_publication(runs, root)
    print(f"| {where} | {count:,} | {published:.1f} | {refused:.1f} | {slow:.1f} | {slow / refused:.1f} |", flush=True)


def main() -> None:
    local, remote = (int(word) for word in (*sys.argv[1:], "10000", "1000")[:2])
    print("| store | samples | published, s | records alone, s | one at a time, s | ratio |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name, run_s3("cars") as bucket:
        folder = Path(name)
        write_runs(folder / "local", 0, local)
        convert_all(folder / "local", str(folder / "store"))
        measure("folder", folder / "local", str(folder / "store"), local)
        os.environ.update(bucket.environment)
        write_runs(folder / "remote", 0, remote)
        convert_all(folder / "remote", ROOT)
        with delayed(bucket.endpoint, LATENCY) as endpoint:
            os.environ["AWS_ENDPOINT_URL"] = endpoint
            measure(f"bucket, {1e3 * LATENCY:.0f} ms", folder / "remote", ROOT, remote)


if __name__ == "__main__":
    main()
