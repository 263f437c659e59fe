"""How much a draw is, told from counts alone, before a row of it is drawn; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drawpoint.draw.rows import count_parts
from drawpoint.draw.selection import check_counts, check_fields, find_sample
from drawpoint.errors import ResponseTooLarge

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from drawpoint.draw.rows import Stream
    from drawpoint.format.manifest import ArrayLayout, DomainSample, StoreManifest


@dataclass(frozen=True, slots=True)
class Extent:
    """A draw's rows and arrays by domain, and the chunks that its plan goes through."""

    sample_id: str
    stream: Stream
    rows: dict[str, int]
    arrays: dict[str, list[ArrayLayout]]
    num_chunks: int

    def nbytes(self, dtype: str | None) -> int:
        """Bytes of all tensors as `dtype`, or as stored."""
        return sum(
            self.rows[domain] * array.dim * np.dtype(dtype or array.dtype).itemsize
            for domain, arrays in self.arrays.items()
            for array in arrays
        )


def measure_sample(
    manifest: StoreManifest,
    sample_id: str,
    num_points: Mapping[str, int | None],
    *,
    part: int | None,
    fields: Collection[str] | None,
    store: str | None = None,
) -> Extent:
    """Measure what plan_sample would plan; raises what it raises of samples, domains and fields."""
    entry = find_sample(manifest, sample_id, store)
    counts = check_counts(manifest, num_points, store)
    if fields is not None:
        check_fields(manifest, fields, store)
    arrays = {
        domain: wanted
        for domain, layout in manifest.domains.items()
        if domain in entry.domains
        and (wanted := [array for field, array in layout.arrays.items() if fields is None or field in fields])
    }
    grids = {domain: entry.domains[domain] for domain in arrays}
    rows = {domain: _count_rows(grid, counts.get(domain), part) for domain, grid in grids.items()}
    chunks = sum(
        grid.n_chunks if part is not None else -(-rows[domain] // grid.chunk_points) for domain, grid in grids.items()
    )
    return Extent(sample_id, "fields", rows, arrays, chunks)


def measure_coords(
    manifest: StoreManifest, sample_id: str, num_points: Mapping[str, int | None], store: str | None = None
) -> Extent:
    """Measure what plan_coords would plan; a domain that the sample lacks is left for the plan to name."""
    entry = find_sample(manifest, sample_id, store)
    counts = check_counts(manifest, num_points, store, required=True)
    grids = {domain: entry.domains[domain] for domain in counts if domain in entry.domains}
    rows = {domain: _count_rows(grid, counts[domain], None) for domain, grid in grids.items()}
    layouts = {domain: manifest.domains[domain] for domain in grids}
    arrays = {domain: [layout.arrays[layout.position]] for domain, layout in layouts.items()}
    chunks = sum(-(-rows[domain] // grid.chunk_points) for domain, grid in grids.items())
    return Extent(sample_id, "coords", rows, arrays, chunks)


def check_size(extent: Extent, dtype: str | None, limit: int) -> None:
    """Raise ResponseTooLarge if the tensors have more than `limit` bytes."""
    size = extent.nbytes(dtype)
    if size > limit:
        counts = " and ".join(f"{domain}=" for domain in extent.rows)
        remedies = [f"fewer points with {counts}"]
        if extent.stream == "fields":
            remedies += ["fewer fields with fields=", "one part at a time with part= and seed="]
        raise ResponseTooLarge(
            f"the answer would have {size:,} bytes and at most {limit:,} are sent at once; ask for "
            f"{', or '.join(remedies)}.",
            sample=extent.sample_id,
        )


def _count_rows(grid: DomainSample, count: int | None, part: int | None) -> int:
    if count is None or count >= grid.n_points:
        return grid.n_points
    if part is None:
        return count
    begin = part % count_parts(grid.n_points, count) * count
    return min(count, grid.n_points - begin)
