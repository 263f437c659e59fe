"""From a request to what must be read: pure, printable, and the same for HTTP and for the local reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drawpoint.draw.rows import RowRange, Stream, all_rows, draw_rows, part_rows
from drawpoint.draw.selection import Selection, select_coords, select_sample

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


def plan_draw(selection: Selection, seed: int) -> ReadPlan:
    """Plan the read of what was selected: draw its rows."""
    draws: dict[str, DomainDraw] = {}
    arrays: dict[str, ArrayDraw] = {}
    for domain, wanted in selection.domains.items():
        draws[domain] = draw = DomainDraw(wanted.grid, _draw_rows(selection, domain, seed), wanted.num_rows)
        arrays.update((array.field, ArrayDraw(array, draw)) for array in wanted.arrays)
    return ReadPlan(selection.sample_id, selection.relpath, selection.stream, seed, selection.part, draws, arrays)


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
    """Plan the read of a sample's fields; arguments and errors are those of select_sample."""
    return plan_draw(select_sample(manifest, sample_id, num_points, part=part, fields=fields, store=store), seed)


def plan_coords(
    manifest: StoreManifest,
    sample_id: str,
    num_points: Mapping[str, int | None],
    *,
    seed: int,
    store: str | None = None,
) -> ReadPlan:
    """Plan a read of positions, independent of the sample's fields; arguments and errors are those of select_coords."""
    return plan_draw(select_coords(manifest, sample_id, num_points, store=store), seed)


def _draw_rows(selection: Selection, domain: str, seed: int) -> tuple[RowRange, ...]:
    grid, count = selection.domains[domain].grid, selection.domains[domain].count
    if count is None:
        return all_rows(grid)
    sample_id, part = selection.sample_id, selection.part
    if part is None:
        return draw_rows(grid, count, seed=seed, sample_id=sample_id, domain=domain, stream=selection.stream)
    return part_rows(grid, count, seed=seed, part=part, sample_id=sample_id, domain=domain)
