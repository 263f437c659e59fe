"""Whether the items of a dataset have equal sizes, so that a batch of them can be stacked."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drawpoint.format.manifest import StoreManifest


def warn_of_short_samples(
    manifest: StoreManifest, sample_ids: Sequence[str], counts: Mapping[str, tuple[str, int | None]]
) -> None:
    """Warn (UserWarning) of each count that some of the samples have not the points for.

    `counts` holds domain and count by the name of the parameter that set them; None is no count.
    """
    for parameter, (domain, count) in counts.items():
        short = None if count is None else find_short_sample(manifest, sample_ids, domain, count)
        if short is not None:
            sample_id, n_points = short
            warnings.warn(
                f"{parameter} is {count:,} and sample {sample_id!r} has {n_points:,} points there, which come in full: "
                f"batches of items of unequal size cannot be stacked; take at most {n_points:,}, or give the "
                "DataLoader collate_fn=list.",
                stacklevel=3,
            )


def find_short_sample(
    manifest: StoreManifest, sample_ids: Sequence[str], domain: str, count: int
) -> tuple[str, int] | None:
    """Return the sample with the fewest points in `domain`, and how many.

    None if `count` points can be drawn from each of the samples, or if all of them give equally many.
    """
    if count <= min(manifest.samples.point_counts().get(domain, []), default=count):
        return None  # without a look at each: a store may hold 100,000
    domains = ((sample_id, manifest.samples[sample_id].domains) for sample_id in sample_ids)
    points = {sample_id: held[domain].n_points for sample_id, held in domains if domain in held}
    if len({min(count, n_points) for n_points in points.values()}) <= 1:
        return None
    return min(points.items(), key=lambda item: item[1])
