"""A conversion by two processes: worker processes of the command's own, and the workers of a Dask cluster.

    python tests/benchmarks/engines.py

The cluster is a scheduler and two workers of one thread on this machine, which have converted a sample before. The same
runs are converted in turns: a few of 150k + 600k points, where the conversion itself takes the time, and many small
ones, where what each task costs does. Worker processes start anew for each conversion, as the command has it. Those of
loky end when they have had nothing to do for 10 s, and here mostly have.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loky
import torch
from made import FILEMAP, resampled
from turns import print_times, time_in_turns

from drawpoint_store import ZarrStoreWriter
from drawpoint_store.conversion.convert import convert

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dask_cluster import running_cluster

WORKERS = 2
ROUNDS = 3
SOURCES = {"8 samples of 750,000 points": (8, 150_000, 600_000), "100 samples of 2,000 points": (100, 500, 1500)}


def write_runs(folder: Path, n_samples: int, n_surface: int, n_volume: int) -> Path:
    """Write runs of so many points as `.pt` files."""
    for number in range(n_samples):
        run = folder / f"run_{number}"
        run.mkdir(parents=True)
        for field, values in resampled(n_surface, n_volume, number).items():
            name = "volume_distance_to_surface" if field == "volume_sdf" else field
            torch.save(torch.from_numpy(values), run / f"{name}.pt")
    return folder


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = itertools.count()

        def converting(source: Path, **engine: Any) -> Callable[[int], object]:
            def run(_: int) -> None:
                writer = ZarrStoreWriter(folder / f"store {next(numbers)}", FILEMAP, "b", compression_level=0)
                convert(source, writer, **engine)

            return run

        (folder / "dask").mkdir()
        with running_cluster(folder / "dask", WORKERS) as cluster, cluster.client() as client:
            for what, size in SOURCES.items():
                source = write_runs(folder / what, *size)
                ways = {
                    f"{WORKERS} workers": converting(source, workers=WORKERS),
                    "loky": converting(source, executor=loky.get_reusable_executor(WORKERS)),
                    "Dask": converting(source, executor=client.get_executor()),
                }
                print(f"\n{what}, {WORKERS} processes:\n")
                print_times(time_in_turns(ways, ROUNDS), "a conversion", f"{WORKERS} workers")
        loky.get_reusable_executor().shutdown()


if __name__ == "__main__":
    main()
