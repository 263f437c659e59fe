"""What a request may name: samples, domains, counts and fields, checked against a manifest without any I/O.

Errors call the store what `store` says: its id to whoever speaks to a service, its root to whoever reads it. Without
it there is only the manifest, and they call it by the data set.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from drawpoint.draw.seeds import check_count
from drawpoint.errors import InvalidDraw, SampleNotFound, UnknownDomain, UnknownField

if TYPE_CHECKING:
    from drawpoint.format.manifest import SampleEntry, StoreManifest

KNOWN_DOMAINS = ("surface", "volume", "surface_stl", "surface_stl_resampled")
"""The domains of `drawpoint_store.FIELD_SPECS`, which a store may have or not."""

BLACKLISTS = ("blacklist.txt", "blacklist2.txt")
"""Files at a store's root, as noether has them: the samples that they name belong to no split."""

_NAMED = 3  # of the ids in a warning; a split may lack thousands


def find_sample(manifest: StoreManifest, sample_id: str, store: str | None = None) -> SampleEntry:
    """Return the entry of a sample; raises SampleNotFound naming near ones."""
    entry = manifest.samples.get(sample_id)
    if entry is None:
        where = name_store(manifest, store)
        raise SampleNotFound.among("sample", sample_id, manifest.samples, where=where, store=store, sample=sample_id)
    return entry


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
