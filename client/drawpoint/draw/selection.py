"""What a request selects: which arrays of a sample and how many rows of each, told from the manifest alone.

Errors call the store what `store` says: its id to whoever speaks to a service, its root to whoever reads it. Without
it there is only the manifest, and they call it by the data set.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drawpoint.draw.rows import Stream, drawn_points
from drawpoint.draw.seeds import check_count, check_part
from drawpoint.errors import InvalidDraw, SampleNotFound, UnknownDomain, UnknownField

if TYPE_CHECKING:
    from drawpoint.format.manifest import ArrayLayout, DomainSample, SampleEntry, StoreManifest

KNOWN_DOMAINS = ("surface", "volume", "surface_stl", "surface_stl_resampled")
"""The domains of `drawpoint_store.FIELD_SPECS`, which a store may have or not."""

BLACKLISTS = ("blacklist.txt", "blacklist2.txt")
"""Files at a store's root, as noether has them: the samples that they name belong to no split."""


@dataclass(frozen=True, slots=True)
class DomainSelection:
    """The arrays of one domain that are drawn, and how many rows; `count` is what was asked for, None for all."""

    grid: DomainSample
    arrays: tuple[ArrayLayout, ...]
    count: int | None
    num_rows: int


@dataclass(frozen=True, slots=True)
class Selection:
    """What one request takes of a sample, before a row of it is drawn; `domains` are in the order of the answer.

    The sample's `scalars` go along with whatever is drawn of it.
    """

    sample_id: str
    relpath: str
    stream: Stream
    part: int | None
    domains: dict[str, DomainSelection]
    scalars: Mapping[str, float]

    @property
    def num_points(self) -> int:
        """How many points are drawn, of all domains together."""
        return sum(domain.num_rows for domain in self.domains.values())

    @property
    def num_chunks(self) -> int:
        """How many chunks a plan of it goes through; a part permutes all of a domain."""
        return sum(
            domain.grid.n_chunks if self.part is not None else -(-domain.num_rows // domain.grid.chunk_points)
            for domain in self.domains.values()
        )

    def nbytes(self, dtype: str | None = None) -> int:
        """Bytes of all tensors as `dtype`, or as stored."""
        return sum(
            domain.num_rows * array.dim * np.dtype(dtype or array.dtype).itemsize
            for domain in self.domains.values()
            for array in domain.arrays
        )


def select_sample(
    manifest: StoreManifest,
    sample_id: str,
    num_points: Mapping[str, int | None] | None,
    *,
    part: int | None = None,
    fields: Collection[str] | None = None,
    store: str | None = None,
) -> Selection:
    """Return what a draw of a sample's fields takes.

    `num_points` maps a domain to its count; None, or a domain left out, means all of its points. A domain of the
    store that this sample lacks is left out of the answer, also where `num_points` or `fields` name it. Raises
    SampleNotFound, UnknownDomain, UnknownField and InvalidDraw; they call the store `store`.
    """
    entry = find_sample(manifest, sample_id, store)
    counts = check_counts(manifest, num_points, store)
    if part is not None:
        part = check_part(part)
    if fields is not None:
        fields = check_fields(manifest, fields, store)
    domains = {}
    for domain, layout in manifest.domains.items():
        arrays = tuple(array for field, array in layout.arrays.items() if fields is None or field in fields)
        if arrays and domain in entry.domains:
            domains[domain] = _select(entry.domains[domain], arrays, counts.get(domain), part)
    return Selection(sample_id, entry.relpath, "fields", part, domains, entry.scalars)


def select_coords(
    manifest: StoreManifest, sample_id: str, num_points: Mapping[str, int | None], *, store: str | None = None
) -> Selection:
    """Return what a draw of the positions of the domains named takes; it is independent of one of the fields.

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
    domains = {}
    for domain, count in counts.items():
        grid = find_grid(manifest, sample_id, domain, store)
        layout = manifest.domains[domain]
        domains[domain] = _select(grid, (layout.arrays[layout.position],), count, None)
    return Selection(sample_id, entry.relpath, "coords", None, domains, entry.scalars)


def _select(
    grid: DomainSample, arrays: tuple[ArrayLayout, ...], count: int | None, part: int | None
) -> DomainSelection:
    return DomainSelection(grid, arrays, count, drawn_points(grid.n_points, count, part))


_NAMED = 3  # of the ids in a warning; a split may lack thousands


def find_sample(manifest: StoreManifest, sample_id: str, store: str | None = None) -> SampleEntry:
    """Return the entry of a sample; raises SampleNotFound naming near ones."""
    entry = manifest.samples.get(sample_id)
    if entry is None:
        where = name_store(manifest, store)
        raise SampleNotFound.among("sample", sample_id, manifest.samples, where=where, store=store, sample=sample_id)
    return entry


def find_grid(manifest: StoreManifest, sample_id: str, domain: str, store: str | None = None) -> DomainSample:
    """Return the grid of a sample's domain; raises SampleNotFound, and UnknownDomain naming those that it has."""
    domains = find_sample(manifest, sample_id, store).domains
    if domain not in domains:
        where = f"sample {sample_id!r}"
        raise UnknownDomain.among("domain", domain, domains, where=where, store=store, sample=sample_id)
    return domains[domain]


def choose_held(
    manifest: StoreManifest,
    named: Sequence[str],
    source: str,
    store: str | None = None,
    *,
    stacklevel: int,
    may_be_none: bool = False,
) -> list[str]:
    """Return those of the sample ids `named` by `source` that the store holds, and warn of the others.

    Lists of samples may well name some that were broken and so never converted. Raises SampleNotFound if none of them
    is held, unless that `may_be_none`.
    """
    absent = [sample_id for sample_id in named if sample_id not in manifest.samples]
    if len(absent) == len(named) > 0 and not may_be_none:
        find_sample(manifest, absent[0], store)
    if absent:
        shown = ", ".join(map(str, absent[:_NAMED])) + (", ..." if len(absent) > _NAMED else "")
        warnings.warn(
            f"{len(absent)} samples of {source} are not in the store and left out: {shown}.", stacklevel=stacklevel
        )
    return [sample_id for sample_id in named if sample_id in manifest.samples]


def leave_out(named: Iterable[str], blacklist: Collection[str]) -> list[str]:
    """Return those of the sample ids `named` that no line of a blacklist names: an id, or a path of its mesh."""
    lines = {line.strip() for line in blacklist}
    left_out = lines | {line.rsplit("/", 1)[-1].split(".vtk")[0] for line in lines}
    return [sample_id for sample_id in named if sample_id not in left_out]


def check_counts(
    manifest: StoreManifest,
    num_points: Mapping[str, int | None] | None,
    store: str | None = None,
    *,
    required: bool = False,
) -> dict[str, int | None]:
    """Return the point counts by domain, None for all; raises UnknownDomain and InvalidDraw.

    A count for one of KNOWN_DOMAINS that this store lacks is left out, so that one set of counts does for many stores,
    unless the domains are `required`.
    """
    if num_points is not None and not isinstance(num_points, Mapping):
        raise InvalidDraw(f"num_points maps domains to counts, such as {{'surface': 4096}}; not {num_points!r}.")
    counts: dict[str, int | None] = {}
    for domain, count in (num_points or {}).items():
        if domain not in manifest.domains and (required or domain not in KNOWN_DOMAINS):
            where = name_store(manifest, store)
            raise UnknownDomain.among("domain", domain, manifest.domains, where=where, store=store)
        if isinstance(count, str):
            raise InvalidDraw(
                f"the point count of {domain!r} must be an integer, or None for all points, not {count[:200]!r}."
            )
        counts[domain] = None if count is None else check_count(domain, count)
    return {domain: count for domain, count in counts.items() if domain in manifest.domains}


def check_fields(manifest: StoreManifest, fields: Collection[str], store: str | None = None) -> tuple[str, ...]:
    """Return the fields named, each once; raises UnknownField for one that the store lacks, InvalidDraw for none.

    What a sample lacks is absent from what is read of it, and no error.
    """
    # An iterator would be used up here and select nothing afterwards.
    if isinstance(fields, str) or not isinstance(fields, Collection) or len(fields) == 0:
        raise InvalidDraw(f"fields is a collection of field names with at least one in it, not {fields!r}.")
    known = manifest.fields
    for field in fields:
        if field not in known:
            raise UnknownField.among("field", field, known, where=name_store(manifest, store), store=store)
    return tuple(dict.fromkeys(fields))


def store_of(reader: object) -> str | None:
    """Return what the user of a reader calls its store; a reader that is not ours may not say."""
    return getattr(reader, "store_id", None) or getattr(reader, "store_root", None)


def name_store(manifest: StoreManifest, store: str | None) -> str:
    """Return what an error calls the store."""
    return f"store {store or manifest.dataset_name!r}"
