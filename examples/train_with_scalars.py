"""Train a small surrogate of surface pressure without and with the scalars of its samples, and compare the errors.

    python examples/train_with_scalars.py stores/motorbike --samples run_1,run_2 --scalars U_inf --scale 'U_inf**2 / 2'

Samples whose inflow alone differs look alike to a network that sees positions: it can only predict their mean. Three
surrogates are trained on the same draws: one without the scalars, one that is given them beside each point, and one
whose pressure is divided by `--scale`, an expression of the scalars, before it is normalised. The table has relative L2
errors over a fifth of the points of each sample, which is held out; another sample on the same mesh may show them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import default_collate

from drawpoint import Normaliser, SampleDataset
from drawpoint.errors import DrawpointError, SampleNotFound
from drawpoint_store import ZarrChunkReader, calculate_store_statistics
from surrogate import INPUTS, TARGET, Run, predict, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

POINTS = 1024
GEOMETRY_POINTS = 512
FIELDS = (*INPUTS, TARGET)
HELD_OUT = 5  # one part of so many


@dataclass(frozen=True)
class Way:
    """A way to train: what a row of the table says of it, and what of the scalars it uses."""

    name: str
    as_input: bool = False
    scale: str | None = None


class Parts:
    """Batches of one part of each sample, all parts of an epoch in a random order; some are held out."""

    def __init__(self, dataset: SampleDataset, seed: int) -> None:
        self.dataset = dataset
        self._generator = torch.Generator().manual_seed(seed)
        grids = [dataset.reader.manifest.samples[sample_id].domains["surface"] for sample_id in dataset.sample_ids]
        whole = min(grid.n_points // POINTS for grid in grids)
        if whole < HELD_OUT:
            raise ValueError(f"a sample has {whole * POINTS} points or few more; {HELD_OUT * POINTS} are needed.")
        self.held_out = list(range(HELD_OUT - 1, whole, HELD_OUT))
        self._trained = [part for part in range(whole) if part not in self.held_out]

    def __len__(self) -> int:
        return len(self._trained)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for index in torch.randperm(len(self), generator=self._generator).tolist():
            yield default_collate(self.read(self._trained[index]))

    def read(self, part: int) -> list[dict[str, torch.Tensor]]:
        """Return this part of each sample."""
        self.dataset.set_epoch(part)  # in mode "parts", epoch e is part e
        items: list[dict[str, torch.Tensor]] = self.dataset.__getitems__(range(len(self.dataset)))
        return items


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, print the table; returns the exit status."""
    args = parse(arguments)
    torch.set_num_threads(1)  # the network is small, and equal losses need sums in equal order
    reader = ZarrChunkReader(args.store_root)
    samples = sorted(reader.manifest.samples) if args.samples is None else args.samples.split(",")
    for sample_id in samples:
        if sample_id not in reader.manifest.samples:
            raise SampleNotFound.among(
                "sample", sample_id, reader.manifest.samples, where=f"the store {args.store_root}"
            )
    scalars = args.scalars.split(",")
    ways = [Way("without scalars"), Way(f"given {', '.join(scalars)}", as_input=True)]
    if args.scale is not None:
        ways.append(Way(f"pressure / ({args.scale})", scale=args.scale))
    normalisers = {scale: make_normaliser(reader, samples, scale) for scale in {way.scale for way in ways}}
    each_parts = [
        Parts(make_dataset(reader, samples, scalars, way, normalisers[way.scale], args.seed), args.seed) for way in ways
    ]
    print(f"{'':<28}" + "".join(f"{sample_id:>14}" for sample_id in samples))
    for way, parts in zip(ways, each_parts, strict=True):
        run = train(parts, args.epochs, args.seed, len(scalars) if way.as_input else 0)
        errors = measure(parts, run)
        print(
            f"{way.name:<28}" + "".join(f"{error:>14.3f}" for error in errors) + f"   {run.seconds:.0f} s", flush=True
        )
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store_root", help="a store with surface positions, normals and pressure, and scalars")
    parser.add_argument("--samples", metavar="A,B", help="the samples (all)")
    parser.add_argument("--scalars", metavar="A,B", required=True, help="the scalars that tell them apart")
    parser.add_argument("--scale", metavar="EXPRESSION", help="what the pressure is divided by in a third training")
    parser.add_argument(
        "--epochs", type=int, default=40, help="passes over all points that are not held out (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights and draws (%(default)s)")
    return parser.parse_args(arguments)


def make_normaliser(reader: ZarrChunkReader, samples: list[str], scale: str | None) -> Normaliser:
    """Return a Normaliser by statistics of these samples, whose pressure is divided by `scale`."""
    statistics = calculate_store_statistics(
        reader.store_root,
        fields=["surface_position", TARGET],
        sample_ids=samples,
        scale=None if scale is None else {TARGET: scale},
    )
    return Normaliser(statistics, leave=["surface_normals"])


def make_standardiser(reader: ZarrChunkReader, samples: list[str], scalars: list[str]) -> Callable[[Any], Any]:
    """Return what standardises the scalars of an item by their mean and deviation over these samples."""
    alone = SampleDataset(reader, samples, num_points={"surface": 1}, fields=[TARGET], scalars=scalars)
    known = torch.stack([alone[index]["scalars"] for index in range(len(alone))])
    mean, deviation = known.mean(dim=0), known.std(dim=0, correction=0)

    def standardise(item: dict[str, Any]) -> dict[str, Any]:
        return {**item, "scalars": (item["scalars"] - mean) / deviation.where(deviation > 0, torch.ones(()))}

    return standardise


def make_dataset(
    reader: ZarrChunkReader, samples: list[str], scalars: list[str], way: Way, normaliser: Normaliser, seed: int
) -> SampleDataset:
    """Return the parts of the samples, normalised."""
    return SampleDataset(
        reader,
        samples,
        num_points={"surface": POINTS},
        fields=FIELDS,
        scalars=scalars if way.as_input else None,
        num_geometry_points=GEOMETRY_POINTS,
        normalise=normaliser,
        transform=make_standardiser(reader, samples, scalars) if way.as_input else None,
        mode="parts",
        seed=seed,
    )


def measure(parts: Parts, run: Run) -> list[float]:
    """Return the relative L2 error of the pressure, in units of the store, at the points held out of each sample."""
    assert run.model is not None
    dataset, normaliser = parts.dataset, parts.dataset.normaliser
    assert normaliser is not None
    both: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in dataset.sample_ids]
    for part in parts.held_out:
        for found, item, sample_id in zip(both, parts.read(part), dataset.sample_ids, strict=True):
            predicted = predict(run.model, item, item["geometry_position"], item.get("scalars"))
            scalars = dataset.reader.manifest.samples.scalars_of(sample_id)
            back = [normaliser.denormalise({TARGET: each}, scalars)[TARGET] for each in (predicted, item[TARGET])]
            found.append((back[0], back[1]))
    errors = []
    for found in both:
        predicted, true = (torch.cat(each) for each in zip(*found, strict=True))
        errors.append(float((predicted - true).norm() / (true - true.mean()).norm()))
    return errors


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (DrawpointError, ValueError) as error:
        sys.exit(str(error))
