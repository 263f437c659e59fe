"""From a request to what must be read: pure, printable, and the same for HTTP and for the local reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drawpoint.draw.rows import RowRange, Stream, all_rows, count_rows, draw_rows, part_rows
from drawpoint.draw.seeds import check_part
from drawpoint.draw.selection import check_counts, check_fields, find_sample, name_store
from drawpoint.errors import InvalidDraw, UnknownDomain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from drawpoint.format.manifest import ArrayLayout, DomainSample, StoreManifest


@dataclass(frozen=True, slots=True)
class DomainDraw:
    """The rows drawn from one domain, and the grid that they are counted on."""

    grid: DomainSample
    rows: tuple[RowRange, ...]
    num_rows: int


@dataclass(frozen=True, slots=True)
class ArrayDraw:
    """One array to read: `layout` says where it lies and how it is stored, `draw` which rows of it."""

    layout: ArrayLayout
    draw: DomainDraw

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor: (T,) for a scalar, (T, dim) for a vector."""
        return (self.draw.num_rows,) if self.layout.dim == 1 else (self.draw.num_rows, self.layout.dim)

    def nbytes(self, dtype: str | None = None) -> int:
        """Bytes of the tensor as `dtype`, or as stored."""
        return self.draw.num_rows * self.layout.dim * np.dtype(dtype or self.layout.dtype).itemsize


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """All that one read touches: `draws` by domain, `arrays` by canonical field, domain by domain."""

    sample_id: str
    relpath: str
    stream: Stream
    seed: int
    part: int | None
    draws: dict[str, DomainDraw]
    arrays: dict[str, ArrayDraw]

    def nbytes(self, dtype: str | None = None) -> int:
        """Bytes of all tensors as `dtype`, or as stored."""
        return sum(array.nbytes(dtype) for array in self.arrays.values())


def plan_sample(
    manifest: StoreManifest,
    sample_id: str,
    num_points: Mapping[str, int | None] | None,
    *,
    seed: int,
    part: int | None = None,
    fields: Collection[str] | None = None,
    store: str | None = None,
) -> ReadPlan:
    """Plan the read of a sample's fields.

    `num_points` maps a domain to its count; None, or a domain left out, means all of its points. A domain of the
    store that this sample lacks is left out of the answer, also where `num_points` or `fields` name it. Raises
    SampleNotFound, UnknownDomain, UnknownField and InvalidDraw; they call the store `store`.
    """
    entry = find_sample(manifest, sample_id, store)
    counts = check_counts(manifest, num_points, store)
    if part is not None:
        check_part(part)
    if fields is not None:
        check_fields(manifest, fields, store)
    draws: dict[str, DomainDraw] = {}
    arrays: dict[str, ArrayDraw] = {}
    for domain, layout in manifest.domains.items():
        wanted = [array for field, array in layout.arrays.items() if fields is None or field in fields]
        if domain not in entry.domains or not wanted:
            continue
        grid, count = entry.domains[domain], counts.get(domain)
        if count is None:
            rows = all_rows(grid)
        elif part is None:
            rows = draw_rows(grid, count, seed=seed, sample_id=sample_id, domain=domain, stream="fields")
        else:
            rows = part_rows(grid, count, seed=seed, part=part, sample_id=sample_id, domain=domain)
        draws[domain] = DomainDraw(grid, rows, count_rows(rows))
        arrays.update((array.field, ArrayDraw(array, draws[domain])) for array in wanted)
    return ReadPlan(sample_id, entry.relpath, "fields", seed, part, draws, arrays)


def plan_coords(
    manifest: StoreManifest,
    sample_id: str,
    num_points: Mapping[str, int | None],
    *,
    seed: int,
    store: str | None = None,
) -> ReadPlan:
    """Plan a read of the positions of the domains named, drawn independently of the sample's fields.

    Raises SampleNotFound, InvalidDraw (also if no domain is named) and UnknownDomain, also for a domain that this
    sample lacks.
    """
    entry = find_sample(manifest, sample_id, store)
    counts = check_counts(manifest, num_points, store, required=True)
    if not counts:
        held = ", ".join(manifest.domains)
        raise InvalidDraw(
            f"coordinates need at least one domain; {name_store(manifest, store)} has: {held}.", store=store
        )
    draws: dict[str, DomainDraw] = {}
    arrays: dict[str, ArrayDraw] = {}
    for domain, count in counts.items():
        if domain not in entry.domains:
            where = f"sample {sample_id!r}"
            raise UnknownDomain.among("domain", domain, entry.domains, where=where, store=store, sample=sample_id)
        grid = entry.domains[domain]
        if count is None:
            rows = all_rows(grid)
        else:
            rows = draw_rows(grid, count, seed=seed, sample_id=sample_id, domain=domain, stream="coords")
        draws[domain] = DomainDraw(grid, rows, count_rows(rows))
        layout = manifest.domains[domain]
        arrays[layout.position] = ArrayDraw(layout.arrays[layout.position], draws[domain])
    return ReadPlan(sample_id, entry.relpath, "coords", seed, None, draws, arrays)
