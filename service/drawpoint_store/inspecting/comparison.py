"""Comparison of a store with the files that it was converted from, value by value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.draw.order import shuffle_order
from drawpoint.errors import DataDamaged, InvalidSample
from drawpoint_store.reading.blocks import BLOCK_POINTS, map_in_order, plan_blocks, read_block, sample_bar
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.writing.field_arrays import as_rows

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from drawpoint.format.manifest import ArrayLayout, StoreManifest
    from drawpoint_store.conversion.sources.source import Source

Rows = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which store and source differ, in a sentence; `row` is that of the source's file."""

    sample: str
    message: str
    field: str | None = None
    row: int | None = None


@dataclass(slots=True)
class SampleComparison:
    """How a sample of the store compares with that of the source: `n_values` were looked at.

    `order_known` is False where the store's rows are in another writer's order and had to be matched by position.
    """

    sample_id: str
    n_values: int = 0
    order_known: bool = True
    differences: tuple[Difference, ...] = ()

    def add(self, message: str, field: str | None = None, row: int | None = None) -> None:
        """Add a difference."""
        self.differences += (Difference(self.sample_id, message, field, row),)


def compare_fields(manifest: StoreManifest, source: Source) -> list[str]:
    """Return, each in a sentence, the fields that only the store or only the source has."""
    there, here = manifest.fields, [spec.canonical for spec in source.specs]
    return [
        *(f"{field} is in the store, and not in the source" for field in there if field not in here),
        *(f"{field} is in the source, and not in the store" for field in here if field not in there),
    ]


def compare_samples(
    store_root: str | os.PathLike[str], source: Source, *, max_workers: int = 1, progress: bool = False
) -> Iterator[SampleComparison]:
    """Compare each sample of store and source, in the order of the ids, as a conversion would write it now.

    Values of the source are cast as the store's layout says. `max_workers` threads each compare a sample, with one
    field of it in memory. `progress` shows a bar on a terminal. Raises StoreNotFound, InvalidManifest, InvalidSample
    for a source without samples, StoreUnreadable where store or source do not answer, and ValueError for `max_workers`
    below 1.
    """
    store = ZarrChunkReader(store_root)
    ids = sorted({*store.manifest.samples, *source.sample_ids, *source.broken})

    def compare(sample_id: str) -> SampleComparison:
        try:
            return _compare_sample(store, source, sample_id)
        finally:
            source.close()

    compared = map_in_order(compare, ids, max_workers)
    for _ in sample_bar(ids, progress=progress):
        yield next(compared)


def _compare_sample(store: ZarrChunkReader, source: Source, sample_id: str) -> SampleComparison:
    manifest, fields = store.manifest, source.fields(sample_id)
    compared = SampleComparison(sample_id)
    if sample_id not in manifest.samples:
        compared.add(f"sample {sample_id!r} is in the source, and not in the store")
    elif not fields:
        reason = source.broken.get(sample_id)
        missing = f"sample {sample_id!r} is in the store, and not in the source"
        compared.add(f"sample {sample_id!r}: {reason}" if reason else missing)
    else:
        known = {spec.canonical for spec in source.specs}
        for domain, layout in manifest.domains.items():
            held, found = domain in manifest.samples[sample_id].domains, []
            for field in sorted(layout.arrays, key=lambda field: field != layout.position):
                if field in fields and held:
                    found.append(field)
                elif field in known and held:
                    compared.add(f"sample {sample_id!r} lacks {source.where(field)} ({field}) in the source", field)
                elif field in fields:
                    message = (
                        f"sample {sample_id!r} has no {field} in the store, and {source.where(field)} in the source"
                    )
                    compared.add(message, field)
            if found:
                _compare_domain(store, source, domain, found, compared)
        _compare_scalars(manifest, source, compared)
    return compared


def _compare_scalars(manifest: StoreManifest, source: Source, compared: SampleComparison) -> None:
    """Compare the scalars that the source has; the store may have others besides, that were given in a table."""
    sample_id = compared.sample_id
    try:
        found = source.scalars(sample_id)
    except InvalidSample as error:
        compared.add(f"sample {sample_id!r}: {str(error).rstrip('.')}")
        return
    stored = manifest.samples.scalars_of(sample_id)
    for name, value in found.items():
        compared.n_values += 1
        if name not in stored:
            compared.add(f"sample {sample_id!r} has no scalar {name!r} in the store, and {value} in the source")
        elif stored[name] != value:
            compared.add(f"the scalar {name!r} of sample {sample_id!r} is {stored[name]}, and {value} in the source")


def _compare_domain(
    store: ZarrChunkReader, source: Source, domain: str, fields: list[str], compared: SampleComparison
) -> None:
    """Compare the values of the fields that store and source have, of which the position comes first."""
    manifest, sample_id = store.manifest, compared.sample_id
    n_points = manifest.samples[sample_id].domains[domain].n_points
    order = shuffle_order(manifest.shuffle_seed, sample_id, domain, n_points)
    by_position: _ByPosition | None = None
    for field in fields:
        try:
            rows = _read_source(source, sample_id, manifest.fields[field], n_points)
            stored = _read_store(store, sample_id, field, n_points)
        except (InvalidSample, DataDamaged) as error:
            compared.add(str(error).rstrip("."), field)
            continue
        compared.n_values += rows.size
        pairs = (np.arange(n_points), order) if by_position is None else by_position.pair(rows, stored)
        differing = _find_differing(rows, stored, *pairs)
        # In our own order few rows differ; in another writer's nearly all do.
        if field == manifest.domains[domain].position and 2 * len(differing) > n_points:
            by_position = _ByPosition(rows, stored)
            compared.order_known = False
            lost = by_position.find_lost()
            if not len(lost):
                continue
            message = (
                f"{field} of sample {sample_id!r}: {len(lost):,} of {n_points:,} rows of the source are nowhere in the "
                f"store, the first is row {lost[0]}: {_show(rows[lost[0]])}; the other fields beside it are not "
                "compared"
            )
            compared.add(message, field, int(lost[0]))
            break
        if len(differing):
            here, there = differing[0]
            message = (
                f"{field} of sample {sample_id!r} differs in {len(differing):,} of {n_points:,} rows, the first is row "
                f"{here} of the source: the store has {_show(stored[there])}, the source {_show(rows[here])} (as "
                f"{rows.dtype})"
            )
            compared.add(message, field, int(here))


def _read_source(source: Source, sample_id: str, layout: ArrayLayout, n_points: int) -> Rows:
    """Return the rows of a field's file in the dtype they are stored in."""
    try:
        values = source.read(sample_id, layout.field)
    except InvalidSample as error:
        raise InvalidSample(f"sample {sample_id!r}: {error}") from error
    rows = as_rows(sample_id, layout, values)
    if len(rows) != n_points:
        raise InvalidSample(
            f"{layout.field} of sample {sample_id!r} has {n_points:,} points in the store, and {len(rows):,} in the "
            "source"
        )
    with np.errstate(over="ignore"):
        return rows.astype(layout.dtype, copy=False)


def _read_store(store: ZarrChunkReader, sample_id: str, field: str, n_points: int) -> Rows:
    layout = store.manifest.fields[field]
    stored = np.empty((n_points, layout.dim), layout.dtype)
    first = 0
    for block in plan_blocks(store.manifest, sample_id, [field]):
        rows = read_block(store, block)[field]
        stored[first : first + len(rows)] = rows
        first += len(rows)
    return stored


class _ByPosition:
    """Pairs the rows of store and source by the positions that they share, whatever order the store has.

    Rows at one position are interchangeable: within them, values are paired in ascending order.
    """

    def __init__(self, rows: Rows, stored: Rows) -> None:
        _, places = np.unique(np.concatenate([rows, stored]), axis=0, return_inverse=True)
        self._source, self._store = np.split(places.reshape(-1), [len(rows)])

    def find_lost(self) -> Rows:
        """Return the rows of the source whose position comes more often there than in the store."""
        size = 1 + max(self._source.max(), self._store.max())
        surplus = np.bincount(self._source, minlength=size) > np.bincount(self._store, minlength=size)
        return np.flatnonzero(surplus[self._source])

    def pair(self, rows: Rows, stored: Rows) -> tuple[Rows, Rows]:
        """Return the rows of the store, and of the source, that belong together in one field."""
        return np.lexsort((*stored.T, self._store)), np.lexsort((*rows.T, self._source))


def _find_differing(rows: Rows, stored: Rows, store_index: Rows, source_index: Rows) -> Rows:
    """Return (source row, stored row) of those pairs that differ, in the order of the source; NaN equals NaN."""
    found = []
    for first in range(0, len(rows), BLOCK_POINTS):
        here, there = source_index[first : first + BLOCK_POINTS], store_index[first : first + BLOCK_POINTS]
        mine, its = rows[here], stored[there]
        differs = ((mine != its) & ~(np.isnan(mine) & np.isnan(its))).any(axis=1)
        found.append(np.stack([here[differs], there[differs]], axis=1))
    pairs = np.concatenate(found)
    return pairs[np.argsort(pairs[:, 0], kind="stable")]


def _show(row: Rows) -> str:
    values = ", ".join(str(value) for value in row)
    return values if len(row) == 1 else f"({values})"
