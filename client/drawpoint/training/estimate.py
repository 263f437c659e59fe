"""The cost of an epoch, estimated before it starts."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drawpoint.draw.seeds import check_integer, derive_seed
from drawpoint.draw.selection import check_counts, check_fields, choose_held, select_coords, select_sample, store_of
from drawpoint.errors import InvalidDraw
from drawpoint.format.manifest import StoreManifest
from drawpoint.training.normalisation import GEOMETRY_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from drawpoint.training.dataset import Reader


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of an epoch. `nbytes` counts the tensors in their stored dtypes, as they are sent.

    `seconds` is None if no draw was timed.
    """

    samples: int
    points: int
    requests: int
    nbytes: int
    seconds: float | None

    def __str__(self) -> str:
        last = "time not measured" if self.seconds is None else f"about {self.seconds:.3g} s"
        return (
            f"{self.samples} samples, {self.points} points, {self.requests} requests, "
            f"{self.nbytes / 1e6:.3g} MB, {last}"
        )


def estimate(
    source: Reader | StoreManifest,
    num_points: Mapping[str, int | None] | None = None,
    *,
    sample_ids: Iterable[str] | None = None,
    fields: Collection[str] | None = None,
    num_geometry_points: int | None = None,
    batch_size: int | None = None,
    concurrency: int = 1,
    probes: int = 3,
) -> Estimate:
    """Estimate the cost of one epoch: one draw from each sample.

    - `source`: A reader, or a manifest, which gives everything but the time.
    - `num_points`, `fields`, `num_geometry_points`: As of a SampleDataset.
    - `sample_ids`: The samples. By default all. Those that the store lacks are left out with a warning.
    - `batch_size`: Samples a request, as a DataLoader asks for them. By default each sample costs a request for its
      fields, and one for its geometry.
    - `concurrency`: Requests at the same time, such as the workers of a DataLoader. The time is divided by it.
    - `probes`: How many draws are timed. The time of an epoch is their median times the number of samples.

    Raises SampleNotFound, UnknownDomain, UnknownField, InvalidDraw, and what the timed draws raise.
    """
    manifest, store = (source, None) if isinstance(source, StoreManifest) else (source.manifest, store_of(source))
    counts = check_counts(manifest, num_points, store)
    if fields is not None:
        fields = check_fields(manifest, fields, store)
    check_integer("concurrency", concurrency, 1)
    named = sorted(manifest.samples) if sample_ids is None else list(sample_ids)
    ids = choose_held(manifest, named, "sample_ids", store, stacklevel=3)
    if not ids:
        raise InvalidDraw("there are no samples, so an epoch costs nothing; name some in sample_ids.")
    selections = [select_sample(manifest, sample_id, counts, fields=fields, store=store) for sample_id in ids]
    if num_geometry_points is not None:
        geometry = {GEOMETRY_DOMAIN: num_geometry_points}
        selections += [select_coords(manifest, sample_id, geometry, store=store) for sample_id in ids]
    per_sample = 1 if num_geometry_points is None else 2
    if batch_size is None:
        requests = len(ids) * per_sample
    else:
        requests = -(-len(ids) // check_integer("batch_size", batch_size, 1))
    seconds = None
    if not isinstance(source, StoreManifest) and probes > 0:
        _time_draw(source, ids[0], counts, fields, num_geometry_points)  # not timed: it opens connections and files
        once = [_time_draw(source, each, counts, fields, num_geometry_points) for each in ids[:probes]]
        seconds = statistics.median(once) * len(ids) / concurrency
    return Estimate(
        len(ids),
        sum(selection.num_points for selection in selections),
        requests,
        sum(selection.nbytes() for selection in selections),
        seconds,
    )


def _time_draw(
    reader: Reader,
    sample_id: str,
    counts: Mapping[str, int | None],
    fields: Collection[str] | None,
    num_geometry_points: int | None,
) -> float:
    seed = derive_seed("estimate", sample_id)
    begun = time.perf_counter()
    reader.read_sample(sample_id, counts, fields=fields, seed=seed)
    if num_geometry_points is not None:
        reader.read_coords(sample_id, GEOMETRY_DOMAIN, num_geometry_points, seed=seed)
    return time.perf_counter() - begun
