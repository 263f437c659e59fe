"""Comparison of a store with the files that it was converted from, value by value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from drawpoint.errors import DataDamaged, InvalidSample
from drawpoint_store.inspecting.blocks import BLOCK_POINTS, map_in_order, plan_blocks, read_block, sample_bar
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.writing.field_arrays import as_rows
from drawpoint_store.writing.layout import CANONICAL_TO_SPEC, present_specs
from drawpoint_store.writing.writer import shuffle_order

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from drawpoint.format.manifest import StoreManifest
    from drawpoint_store.conversion.pt_source import PtSource
    from drawpoint_store.writing.layout import FileMap


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which store and source differ, in a sentence; `row` is that of the source's file."""

    sample: str
    message: str
    field: str | None = None
    row: int | None = None


@dataclass(frozen=True, slots=True)
class SampleComparison:
    """How a sample of the store compares with that of the source: `n_values` were looked at.

    `order_known` is False where the store's rows are in another writer's order and had to be matched by position.
    """

    sample_id: str
    n_values: int
    order_known: bool
    differences: tuple[Difference, ...]


class _Domain(NamedTuple):
    """The fields of one domain that both store and source have; the position comes first."""

    sample_id: str
    name: str
    fields: list[str]


class _Compared(NamedTuple):
    """The result of one domain."""

    n_values: int
    order_known: bool
    differences: list[Difference]


def compare_fields(manifest: StoreManifest, filemap: FileMap) -> list[str]:
    """Return, each in a sentence, the fields that only the store or only the source's file map has."""
    there, here = manifest.fields, [spec.canonical for spec in present_specs(filemap)]
    return [
        *(f"{field} is in the store, and not in the source's file map" for field in there if field not in here),
        *(f"{field} is in the source's file map, and not in the store" for field in here if field not in there),
    ]


def compare_samples(
    store_root: str | os.PathLike[str], source: PtSource, *, max_workers: int = 1, progress: bool = False
) -> Iterator[SampleComparison]:
    """Compare each sample of store and source, in the order of the ids, as a conversion would write it now.

    Values of the source are cast as the store's layout says. `max_workers` threads each have one field of one sample
    in memory. `progress` shows a bar on a terminal. Raises StoreNotFound, InvalidManifest, InvalidSample for a source
    without samples, StoreUnreadable where store or source do not answer, and ValueError for `max_workers` below 1.
    """
    comparison = _Comparison(ZarrChunkReader(store_root), source)
    ids = sorted({*comparison.store.manifest.samples, *source.sample_ids, *source.broken})
    plans = {sample_id: comparison.plan(sample_id) for sample_id in ids}
    domains = (domain for sample_id in ids for domain in plans[sample_id][0])
    compared = map_in_order(comparison.compare, domains, max_workers)
    for sample_id in sample_bar(ids, progress=progress):
        planned, differences = plans[sample_id]
        found = [next(compared) for _ in planned]
        yield SampleComparison(
            sample_id,
            sum(domain.n_values for domain in found),
            all(domain.order_known for domain in found),
            (*differences, *(difference for domain in found for difference in domain.differences)),
        )


class _Comparison:
    """A store and the source that it is compared with."""

    def __init__(self, store: ZarrChunkReader, source: PtSource) -> None:
        self.store = store
        self._source = source

    def plan(self, sample_id: str) -> tuple[list[_Domain], list[Difference]]:
        """Return the domains of a sample to compare, and what differs before any value is read."""
        manifest, files = self.store.manifest, self._source.files(sample_id)
        if sample_id not in manifest.samples:
            return [], [Difference(sample_id, f"sample {sample_id!r} is in the source, and not in the store")]
        if not files:
            reason = self._source.broken.get(sample_id)
            missing = f"sample {sample_id!r} is in the store, and not in the source"
            return [], [Difference(sample_id, f"sample {sample_id!r}: {reason}" if reason else missing)]
        planned, differences = [], []
        for domain, layout in manifest.domains.items():
            held = domain in manifest.samples[sample_id].domains
            found = []
            for field in sorted(layout.arrays, key=lambda field: field != layout.position):
                spec = CANONICAL_TO_SPEC.get(field)
                name = None if spec is None else getattr(self._source.filemap, spec.filemap_attr)
                if field in files and held:
                    found.append(field)
                elif name is not None and held:
                    message = f"sample {sample_id!r} lacks {name} ({field}) in the source"
                    differences.append(Difference(sample_id, message, field))
                elif field in files:
                    message = f"sample {sample_id!r} has no {field} in the store, and {name} in the source"
                    differences.append(Difference(sample_id, message, field))
            if found:
                planned.append(_Domain(sample_id, domain, found))
        return planned, differences

    def compare(self, domain: _Domain) -> _Compared:
        """Compare the values of a domain."""
        manifest, sample_id = self.store.manifest, domain.sample_id
        position = manifest.domains[domain.name].position
        n_points = manifest.samples[sample_id].domains[domain.name].n_points
        order = shuffle_order(manifest.shuffle_seed, sample_id, domain.name, n_points)
        by_position: _ByPosition | None = None
        n_values, differences = 0, []
        for field in domain.fields:
            try:
                rows = self._read_source(sample_id, field, n_points)
                stored = self._read_store(sample_id, field, n_points)
            except (InvalidSample, DataDamaged) as error:
                differences.append(Difference(sample_id, str(error).rstrip("."), field))
                continue
            n_values += rows.size
            pairs = (np.arange(n_points), order) if by_position is None else by_position.pair(rows, stored)
            differing = _find_differing(rows, stored, *pairs)
            # In our own order few rows differ; in another writer's nearly all do.
            if field == position and 2 * len(differing) > n_points:
                by_position = _ByPosition(rows, stored)
                lost = by_position.find_lost()
                if len(lost):
                    differences.append(_describe_lost(sample_id, field, rows, lost))
                    break
                continue
            if len(differing):
                differences.append(_describe(sample_id, field, rows, stored, differing))
        return _Compared(n_values, by_position is None, differences)

    def _read_source(self, sample_id: str, field: str, n_points: int) -> np.ndarray[Any, Any]:
        """Return the rows of a field's file in the dtype they are stored in."""
        layout = self.store.manifest.fields[field]
        try:
            values = self._source.read(sample_id, [field])[field]
        except InvalidSample as error:
            raise InvalidSample(f"sample {sample_id!r}: {error}") from error
        rows = as_rows(sample_id, layout, values)
        if len(rows) != n_points:
            raise InvalidSample(
                f"{field} of sample {sample_id!r} has {n_points:,} points in the store, and {len(rows):,} in the source"
            )
        with np.errstate(over="ignore"):
            return rows.astype(layout.dtype, copy=False)

    def _read_store(self, sample_id: str, field: str, n_points: int) -> np.ndarray[Any, Any]:
        layout = self.store.manifest.fields[field]
        stored = np.empty((n_points, layout.dim), layout.dtype)
        first = 0
        for block in plan_blocks(self.store.manifest, sample_id, [field]):
            rows = read_block(self.store, block)[field]
            stored[first : first + len(rows)] = rows
            first += len(rows)
        return stored


class _ByPosition:
    """Pairs the rows of store and source by the positions that they share, whatever order the store has.

    Rows at one position are interchangeable: within them, values are paired in ascending order.
    """

    def __init__(self, rows: np.ndarray[Any, Any], stored: np.ndarray[Any, Any]) -> None:
        _, places = np.unique(np.concatenate([rows, stored]), axis=0, return_inverse=True)
        self._source, self._store = np.split(places.reshape(-1), [len(rows)])

    def find_lost(self) -> np.ndarray[Any, Any]:
        """Return the rows of the source whose position comes more often there than in the store."""
        size = 1 + max(self._source.max(), self._store.max())
        surplus = np.bincount(self._source, minlength=size) > np.bincount(self._store, minlength=size)
        return np.flatnonzero(surplus[self._source])

    def pair(
        self, rows: np.ndarray[Any, Any], stored: np.ndarray[Any, Any]
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return the rows of the store, and of the source, that belong together in one field."""
        return np.lexsort((*stored.T, self._store)), np.lexsort((*rows.T, self._source))


def _find_differing(
    rows: np.ndarray[Any, Any],
    stored: np.ndarray[Any, Any],
    store_index: np.ndarray[Any, Any],
    source_index: np.ndarray[Any, Any],
) -> np.ndarray[Any, Any]:
    """Return (source row, stored row) of those pairs that differ, in the order of the source; NaN equals NaN."""
    found = []
    for first in range(0, len(rows), BLOCK_POINTS):
        here, there = source_index[first : first + BLOCK_POINTS], store_index[first : first + BLOCK_POINTS]
        mine, its = rows[here], stored[there]
        differs = ((mine != its) & ~(np.isnan(mine) & np.isnan(its))).any(axis=1)
        found.append(np.stack([here[differs], there[differs]], axis=1))
    pairs = np.concatenate(found)
    return pairs[np.argsort(pairs[:, 0], kind="stable")]


def _describe(
    sample_id: str,
    field: str,
    rows: np.ndarray[Any, Any],
    stored: np.ndarray[Any, Any],
    differing: np.ndarray[Any, Any],
) -> Difference:
    here, there = differing[0]
    message = (
        f"{field} of sample {sample_id!r} differs in {len(differing):,} of {len(rows):,} rows, the first is row {here} "
        f"of the source: the store has {_show(stored[there])}, the source {_show(rows[here])} (as {rows.dtype})"
    )
    return Difference(sample_id, message, field, int(here))


def _describe_lost(sample_id: str, field: str, rows: np.ndarray[Any, Any], lost: np.ndarray[Any, Any]) -> Difference:
    message = (
        f"{field} of sample {sample_id!r}: {len(lost):,} of {len(rows):,} rows of the source are nowhere in the store, "
        f"the first is row {lost[0]}: {_show(rows[lost[0]])}; the other fields beside it are not compared"
    )
    return Difference(sample_id, message, field, int(lost[0]))


def _show(row: np.ndarray[Any, Any]) -> str:
    values = ", ".join(str(value) for value in row)
    return values if len(row) == 1 else f"({values})"
