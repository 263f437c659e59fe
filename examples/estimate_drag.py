"""Estimate the drag of a shipped run from random faces, with a standard error, and compare it with that of all faces.

    pip install '.[convert]'   # from a clone
    python examples/estimate_drag.py
    python examples/estimate_drag.py --chunk-points 4096

It converts the run to a temporary store. A draw of T of n faces shows each with the probability T / n, so that
n / T times the sum over a draw estimates the sum over all of them without bias.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from drawpoint_store import FileMap, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.convert import convert

RUNS = Path(__file__).parent / "data" / "ahmed"
SAMPLE = "slant_25"
FIELDS = ("surface_area", "surface_normals", "surface_pressure", "surface_friction")
DYNAMIC_PRESSURE, FRONTAL_AREA = 0.5 * 40.0**2, 0.389 * 0.288
"""Of the run: divided by the density in m^2/s^2, and in m^2."""


def drag(drawn: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return what each face adds to the drag coefficient, float64 (T,)."""
    area, normals, pressure, friction = (drawn[field].double() for field in FIELDS)
    # Normals point out of the body, and OpenFOAM's friction is the negative of the force on the body.
    return -area * (pressure * normals[:, 0] + friction[:, 0]) / (DYNAMIC_PRESSURE * FRONTAL_AREA)


def estimate_sum(values: torch.Tensor, n_points: int) -> tuple[float, float]:
    """Return the estimate of the sum over all `n_points` from those drawn, (T,), and its standard error."""
    share = len(values) / n_points
    error = n_points * values.std() * ((1 - share) / len(values)) ** 0.5
    return float(values.sum() / share), float(error)


def main(num_points: int, chunk_points: int, draws: int) -> None:
    """Convert the run, and print the full sum, one estimate, and how many estimates behave."""
    filemap = FileMap(surface_position="surface_position.pt", **{field: f"{field}.pt" for field in FIELDS})
    with tempfile.TemporaryDirectory() as folder:
        convert(RUNS, ZarrStoreWriter(f"{folder}/ahmed", filemap, "ahmed", chunk_points=chunk_points))
        reader = ZarrChunkReader(f"{folder}/ahmed")
        n_points = reader.manifest.samples[SAMPLE].domains["surface"].n_points
        full = float(drag(reader.read_sample(SAMPLE, fields=FIELDS)).sum())
        estimates, errors = torch.tensor(
            [
                estimate_sum(
                    drag(reader.read_sample(SAMPLE, {"surface": num_points}, fields=FIELDS, seed=seed)), n_points
                )
                for seed in range(draws)
            ],
            dtype=torch.float64,
        ).T
    print(f"drag coefficient of {SAMPLE}, all {n_points} faces: {full:.4f}")
    print(f"one draw of {num_points} faces: {estimates[0]:.4f} +- {errors[0]:.4f}")
    within = float(((estimates - full).abs() <= 2 * errors).double().mean())
    print(
        f"{draws} draws: mean {estimates.mean():.4f}, standard deviation {estimates.std():.4f}, "
        f"mean of the standard errors {errors.mean():.4f}, {within:.0%} within two of them"
    )


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--num-points", type=int, default=4096, help="faces a draw (default: %(default)s)")
    parser.add_argument("--chunk-points", type=int, default=256, help="faces a chunk (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=400, help="how many draws, 2 or more (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main(**vars(parse()))
    except ValueError as error:  # counts that are not valid
        sys.exit(str(error))
