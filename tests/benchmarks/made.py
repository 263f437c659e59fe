"""Stores for the benchmarks: a shipped run resampled to any number of points, so that it compresses like CFD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from drawpoint_store import FileMap, ZarrStoreWriter

RUN = Path(__file__).resolve().parents[2] / "examples" / "data" / "ahmed" / "slant_25"
FIELDS = (
    "surface_position",
    "surface_pressure",
    "surface_friction",
    "surface_normals",
    "volume_position",
    "volume_pressure",
    "volume_velocity",
    "volume_distance_to_surface",
)
FILEMAP = FileMap(**{field: f"{field}.pt" for field in FIELDS})


def resampled(n_surface: int, n_volume: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a sample with so many points: points of the shipped run, each moved and scaled by up to 1 %."""
    rng = np.random.default_rng(seed)
    picks: dict[str, np.ndarray] = {}
    arrays = {}
    for field in FIELDS:
        values = torch.load(RUN / f"{field}.pt", weights_only=True).numpy()
        domain = field.partition("_")[0]
        count = n_surface if domain == "surface" else n_volume
        pick = picks.setdefault(domain, rng.integers(0, len(values), count))
        noise = rng.random((count, *values.shape[1:]), dtype=np.float32)
        arrays["volume_sdf" if field == "volume_distance_to_surface" else field] = values[pick] * (0.99 + 0.02 * noise)
    return arrays


def write_store(
    root: Path, n_samples: int, compression_level: int = 5, *, n_surface: int = 150_000, n_volume: int = 600_000
) -> Path:
    """Write a store of `n_samples` samples of so many points, named run_0, run_1 and so on."""
    writer = ZarrStoreWriter(root, FILEMAP, "resampled", compression_level=compression_level)
    for number in range(n_samples):
        writer.write_sample(f"run_{number}", resampled(n_surface, n_volume, number))
    writer.save_manifest()
    return root
