"""How fast a store is measured, against reading it whole with zarr-python and torch's moments in float64.

    python tests/benchmarks/store_statistics.py

Both ways measure the same made store in turns, so that drift of the machine falls on both.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from made import write_store
from turns import print_times, time_in_turns

from drawpoint_store import StoreManifest, calculate_store_statistics

ROUNDS = 5
SAMPLES = 2
POINTS = (150_000, 600_000)


def means_by_zarr_and_torch(root: Path) -> dict[str, list[float]]:
    """Measure as one would by hand: each array read whole, moments and log moments in float64, merged."""
    totals: dict[str, tuple[int, torch.Tensor, torch.Tensor]] = {}
    manifest = StoreManifest.load(root)
    for entry in manifest.samples.values():
        group: Any = zarr.open_group(root / entry.relpath, mode="r")
        for field, layout in manifest.fields.items():
            values = torch.from_numpy(np.asarray(group[layout.array_name][:])).double().T.contiguous()
            for rows in (values, values.sign() * values.abs().log1p()):
                mean = rows.mean(dim=1)
                squares = ((rows - mean[:, None]) ** 2).sum(dim=1)
                rows.aminmax(dim=1)
                if rows is values:
                    count, old, old_squares = totals.get(field, (0, mean, torch.zeros_like(mean)))
                    together, delta = count + rows.shape[1], mean - old
                    merged = old_squares + squares + delta**2 * (count * rows.shape[1] / together)
                    totals[field] = together, old + delta * (rows.shape[1] / together), merged
    return {field: mean.tolist() for field, (_, mean, _) in totals.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = write_store(Path(folder), SAMPLES, n_surface=POINTS[0], n_volume=POINTS[1])
        measured = calculate_store_statistics(root)
        for field, mean in means_by_zarr_and_torch(root).items():
            np.testing.assert_allclose(measured[field].mean, mean, rtol=1e-9, atol=1e-12)
        ways = {
            "drawpoint": lambda _: calculate_store_statistics(root, max_workers=1),
            "drawpoint, 2 threads": lambda _: calculate_store_statistics(root, max_workers=2),
            "zarr-python full reads + torch moments": lambda _: means_by_zarr_and_torch(root),
        }
        times = time_in_turns(ways, ROUNDS)
    print(f"{POINTS[0]:,} + {POINTS[1]:,} points a sample, 8 fields; {ROUNDS} rounds.\n")
    print_times({way: [ms / SAMPLES for ms in each] for way, each in times.items()}, "a sample")


if __name__ == "__main__":
    main()
