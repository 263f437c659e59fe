"""What a request may name: samples, domains, counts and fields, checked against a manifest without any I/O.

Errors call the store what `store` says: its id to whoever speaks to a service, its root to whoever reads it. Without
it there is only the manifest, and they call it by the data set.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidDraw, SampleNotFound, UnknownDomain, UnknownField
from drawpoint.seeds import check_count

if TYPE_CHECKING:
    from drawpoint.manifest import SampleEntry, StoreManifest


def find_sample(manifest: StoreManifest, sample_id: str, store: str | None = None) -> SampleEntry:
    """Return the entry of a sample; raises SampleNotFound naming near ones."""
    entry = manifest.samples.get(sample_id)
    if entry is None:
        where = name_store(manifest, store)
        raise SampleNotFound.among("sample", sample_id, manifest.samples, where=where, store=store, sample=sample_id)
    return entry


def check_counts(
    manifest: StoreManifest, num_points: Mapping[str, int | None] | None, store: str | None = None
) -> dict[str, int | None]:
    """Return the point counts by domain, None for all; raises UnknownDomain and InvalidDraw."""
    if num_points is not None and not isinstance(num_points, Mapping):
        raise InvalidDraw(f"num_points maps domains to counts, such as {{'surface': 4096}}; not {num_points!r}.")
    counts: dict[str, int | None] = {}
    for domain, count in (num_points or {}).items():
        if domain not in manifest.domains:
            where = name_store(manifest, store)
            raise UnknownDomain.among("domain", domain, manifest.domains, where=where, store=store)
        if isinstance(count, str):
            raise InvalidDraw(
                f"the point count of {domain!r} must be an integer, or None for all points, not {count[:200]!r}."
            )
        counts[domain] = None if count is None else check_count(domain, count)
    return counts


def check_fields(
    manifest: StoreManifest, sample_id: str, entry: SampleEntry, fields: Collection[str], store: str | None = None
) -> None:
    """Check that the sample holds every field named; raises UnknownField, and InvalidDraw if none is named."""
    # An iterator would be used up here and select nothing afterwards.
    if isinstance(fields, str) or not isinstance(fields, Collection) or len(fields) == 0:
        raise InvalidDraw(f"fields is a collection of field names with at least one in it, not {fields!r}.")
    known = manifest.fields
    held = [field for domain in entry.domains for field in manifest.domains[domain].arrays]
    for field in fields:
        if field not in known:
            raise UnknownField.among("field", field, known, where=name_store(manifest, store), store=store)
        if field not in held:
            where = f"sample {sample_id!r}"
            raise UnknownField.among("field", field, held, where=where, store=store, sample=sample_id)


def store_of(reader: object) -> str | None:
    """Return what the user of a reader calls its store; a reader that is not ours may not say."""
    return getattr(reader, "store_id", None) or getattr(reader, "store_root", None)


def name_store(manifest: StoreManifest, store: str | None) -> str:
    """Return what an error calls the store."""
    return f"store {store or manifest.dataset_name!r}"
