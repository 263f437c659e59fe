"""Train a small surrogate of surface pressure three ways and show that only the loading differs.

    python examples/train_surrogate.py                        # all three ways; starts the service by itself
    python examples/train_surrogate.py --url http://host:8000 --store ahmed     # a served store alone

The ways are whole `.pt` files with random points picked in memory, a local store, and a served one. With --url it
needs the extra `client` (from a clone: pip install '.[client]') and nothing else: no data, no zarr, no server.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import torch

import drawpoint
from drawpoint import RemoteReader, SampleLoader
from drawpoint.errors import DrawpointError, SampleNotFound, StoreNotFound
from surrogate import TARGET, Run, predict, smooth, train
from surrogate_sources import (
    FIELDS,
    GEOMETRY_POINTS,
    POINTS,
    STORE_ID,
    FileDataset,
    convert,
    count_local_bytes,
    count_remote_bytes,
    make_dataset,
    make_normaliser,
    serve,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REPOSITORY = Path(__file__).resolve().parent.parent
TILE_POINTS = 3000
FILES, LOCAL, SERVED = "whole .pt files", "local store", "served store"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, print what it cost, write the figure; returns the exit status."""
    args = parse(arguments)
    torch.set_num_threads(1)  # the network is small, and equal losses need sums in equal order
    with contextlib.ExitStack() as services:
        url = args.url
        if url is None:
            convert(args.runs, args.folder / STORE_ID)
            url = services.enter_context(serve(args.folder / STORE_ID))
        with drawpoint.connect(url) as connection:
            remote = open_store(connection, args.store, args.sample)
            counts = {"surface": POINTS}
            estimate = drawpoint.estimate(
                remote, counts, fields=FIELDS, num_geometry_points=GEOMETRY_POINTS, batch_size=2
            )
            print(f"an epoch: {estimate}")
            ways = list_ways(args, remote)
            costs = measure_bytes(args, url)
            runs: dict[str, list[Run]] = {name: [] for name in ways}
            for seed in range(args.seeds):
                for name, dataset in ways.items():  # the ways take turns, so that a busy minute hits all of them
                    loader = SampleLoader(dataset(seed), 2)
                    run = train(loader, args.epochs, seed)
                    run.report = loader.report
                    runs[name].append(run)
                    print(f"seed {seed}, {name}: loss {smooth(run.losses)[-1]:.4f} after {run.seconds:.1f} s")
            print_costs(runs, costs)
            position, true, predicted = infer(remote, runs[SERVED][0], args.sample)
    error = float((predicted - true).norm() / (true - true.mean()).norm())
    print(f"all {len(true)} points of {args.sample}, in tiles: relative L2 error {error:.3f}")
    if args.figure is not None:
        from surrogate_figure import draw  # noqa: PLC0415  whoever wants no figure needs no matplotlib

        draw(args.figure, runs, position, true, predicted)
        print(f"figure: {args.figure}")
    return check(runs)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="a running service; trains on what it serves, and needs no other source")
    parser.add_argument("--store", default=STORE_ID, help="the store's id there (%(default)s)")
    parser.add_argument("--sample", default="slant_25", help="the sample to predict in full (%(default)s)")
    parser.add_argument("--epochs", type=int, default=300, help="passes over both runs (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings a way (%(default)s)")
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "examples" / "data" / "ahmed", help="the .pt files")
    parser.add_argument("--folder", type=Path, default=Path(".demo", "train"), help="where to convert to (%(default)s)")
    parser.add_argument("--figure", type=Path, help="write a figure there; needs matplotlib")
    return parser.parse_args(arguments)


def open_store(connection: drawpoint.Connection, store_id: str, sample_id: str) -> RemoteReader:
    """Return the reader of a store that holds the sample.

    Raises StoreNotFound naming the stores that there are, and SampleNotFound, now and not after the training.
    """
    ids = [store["id"] for store in connection.stores()]
    if store_id not in ids:
        raise StoreNotFound(f"there is no store {store_id!r} on the service; --store is one of: {', '.join(ids)}.")
    remote = connection.store(store_id)
    if sample_id not in remote.manifest.samples:
        raise SampleNotFound.among("sample", sample_id, remote.manifest.samples, where=f"--sample: store {store_id!r}")
    return remote


def list_ways(args: argparse.Namespace, remote: RemoteReader) -> dict[str, Callable[[int], Any]]:
    """Return how to make the dataset of a seed, by way."""
    served: dict[str, Callable[[int], Any]] = {SERVED: lambda seed: make_dataset(remote, seed)}
    if args.url is not None:
        return served
    from drawpoint_store import ZarrChunkReader  # noqa: PLC0415  a training job without the store extra has none

    local = ZarrChunkReader(args.folder / STORE_ID)
    return {FILES: lambda seed: FileDataset(args.runs, seed), LOCAL: lambda seed: make_dataset(local, seed), **served}


def measure_bytes(args: argparse.Namespace, url: str) -> dict[str, int]:
    """Return the bytes that an epoch reads or receives, by way."""
    served = {SERVED: count_remote_bytes(url, args.store)}
    if args.url is not None:
        return served
    local = count_local_bytes(args.folder / STORE_ID)
    return {FILES: FileDataset(args.runs, 0).nbytes, LOCAL: local, **served}


def print_costs(runs: dict[str, list[Run]], costs: dict[str, int]) -> None:
    """Print the table of what each way cost."""
    print(f"\n{'way':<16} {'final loss':>10} {'loading ms/step':>16} {'all ms/step':>12} {'kB/step':>8}")
    for name, each in runs.items():
        steps = sum(len(run.losses) for run in each)
        waiting = sum(run.report.waiting for run in each if run.report is not None)
        final = mean(smooth(run.losses)[-1] for run in each)
        print(
            f"{name:<16} {final:>10.4f} {1000 * waiting / steps:>16.2f} "
            f"{1000 * sum(run.seconds for run in each) / steps:>12.2f} {costs[name] / 1000:>8.1f}"
        )


def infer(remote: RemoteReader, run: Run, sample_id: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return position, true and predicted pressure of all surface points of a sample, in stored order."""
    assert run.model is not None
    normaliser = make_normaliser(remote.statistics())
    drawn = remote.read_coords(sample_id, "surface", GEOMETRY_POINTS, seed=0)
    geometry = normaliser.normalise({"geometry_position": drawn})["geometry_position"]
    position = true = predicted = None
    for part in remote.iter_parts(sample_id, "surface", TILE_POINTS, fields=FIELDS):
        pressure = predict(run.model, normaliser.normalise(part), geometry)
        predicted = part.scatter(normaliser.denormalise({TARGET: pressure})[TARGET], predicted)
        position = part.scatter(part["surface_position"], position)
        true = part.scatter(part[TARGET], true)
    assert position is not None
    assert true is not None
    assert predicted is not None
    return position, true, predicted


def check(runs: dict[str, list[Run]]) -> int:
    """Tell whether training is the same; returns 1 where it is not."""
    if FILES not in runs:
        return 0
    same = all(one.losses == other.losses for one, other in zip(runs[LOCAL], runs[SERVED], strict=True))
    finals = {name: [smooth(run.losses)[-1] for run in each] for name, each in runs.items()}
    spread = max(finals[FILES]) - min(finals[FILES])
    apart = abs(mean(finals[FILES]) - mean(finals[SERVED]))
    print(f"\nlocal and served loss curves are {'equal, step by step' if same else 'DIFFERENT'}")
    print(f"files and store end {apart:.4f} apart; the seeds of one way alone {spread:.4f}")
    return 0 if same else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (DrawpointError, ValueError) as error:
        sys.exit(str(error))
