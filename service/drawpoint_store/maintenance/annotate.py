"""Annotation of a store that exists: scalars, units, descriptions and splits, without converting again.

No sample's data is read or written. All is checked first; then the splits are written, each in one step, and the
manifest comes last, as a new revision. So after an interruption the same call goes on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from drawpoint.errors import InvalidParameter, MetadataDamaged, SampleNotFound, UnknownField
from drawpoint.format.manifest import check_text
from drawpoint.format.scalars import check_scalars
from drawpoint.format.scale import Scale
from drawpoint_store.conversion.scalars import check_samples
from drawpoint_store.maintenance.publication import Publication, begin_publication
from drawpoint_store.reading.splits import split_file
from drawpoint_store.reading.statistics_file import read_statistics
from drawpoint_store.wording import count, first_few
from drawpoint_store.writing.split_files import write_splits
from drawpoint_store.writing.statistics_binding import release_statistics

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Mapping

    from drawpoint_store.storage import Storage

StatisticsState = Literal["none", "kept", "stale"]


@dataclass(frozen=True, slots=True)
class Annotations:
    """What is to be said of a store.

    `scalars` by sample id are added to those that a sample has, and replace those of the same name; the names in
    `remove_scalars` go from all samples. `units` and `descriptions` are by canonical field, None to remove one.
    `splits` are lists of sample ids by the split's name, in place of a split of that name.
    """

    scalars: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    remove_scalars: Collection[str] = ()
    units: Mapping[str, str | None] = field(default_factory=dict)
    descriptions: Mapping[str, str | None] = field(default_factory=dict)
    splits: Mapping[str, Iterable[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnnotationReport:
    """What changed: samples by id with the names of their scalars that did, fields, and splits with their sizes.

    `statistics` are those of the store after it: kept where no value of theirs changed, else stale.
    """

    revision: str
    scalars: dict[str, list[str]]
    fields: list[str]
    splits: dict[str, int]
    statistics: StatisticsState


def annotate_store(store_root: str | os.PathLike[str], annotations: Annotations) -> AnnotationReport:
    """Write annotations into a store, and publish a new revision unless its manifest says all of that already.

    Statistics of the replaced revision become those of the new one, unless a scale or the split that they were measured
    with is changed.

    Raises SampleNotFound and UnknownField with near names, InvalidParameter for a name, number or text that a store
    cannot hold; StoreNotFound, InvalidManifest, StoreExists while a conversion writes to the store, RevisionChanged if
    another process published meanwhile, and StoreUnreadable where the storage does not answer or refuses a write.
    """
    with begin_publication(store_root) as publication:
        document = publication.read_document()
        splits = {name: _check_split(publication, name, ids) for name, ids in annotations.splits.items()}
        changed = _set_scalars(publication, document, annotations)
        fields = [
            *_set_texts(publication, document, "units", annotations.units),
            *_set_texts(publication, document, "description", annotations.descriptions),
        ]
        are_kept = _settle_statistics(publication, changed, splits)
        sizes = write_splits(publication.storage, splits, publication.manifest.samples)
        revision = publication.manifest.revision
        if changed or fields:
            revision = publication.publish(document, keep_statistics=are_kept)
        statistics = _read_statistics(publication.storage)
    state: StatisticsState = "none"
    if statistics is not None:
        state = "kept" if statistics["revision"] == revision else "stale"
    fields = list(dict.fromkeys(fields))
    return AnnotationReport(revision, changed, fields, {name: size.held for name, size in sizes.items()}, state)


def _set_scalars(publication: Publication, document: dict[str, Any], annotations: Annotations) -> dict[str, list[str]]:
    """Put scalars into the document, and return the names of those that differ by sample."""
    samples, where = publication.manifest.samples, f"the store at {publication.storage}"
    check_samples(annotations.scalars, samples, where)
    removed = set(annotations.remove_scalars)
    known = {name for sample_id in samples for name in samples.scalars_of(sample_id)} if removed else set()
    for name in sorted(removed - known):
        raise InvalidParameter(
            f"{where} has no scalar {name!r} to remove; it has: {', '.join(sorted(known)) or 'none'}."
        )
    changed = {}
    for sample_id in samples if removed else annotations.scalars:
        before = samples.scalars_of(sample_id)
        kept = {name: value for name, value in before.items() if name not in removed}
        try:
            after = check_scalars({**kept, **annotations.scalars.get(sample_id, {})})
        except ValueError as error:
            raise InvalidParameter(f"sample {sample_id!r}: {error}.", sample=sample_id) from error
        names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        if names:
            changed[sample_id] = names
            entry = document["samples"][sample_id]
            entry["scalars"] = after
            if not after:
                del entry["scalars"]
    return changed


def _set_texts(
    publication: Publication,
    document: dict[str, Any],
    key: Literal["units", "description"],
    texts: Mapping[str, str | None],
) -> list[str]:
    """Put units or descriptions into the document, and return the fields whose text differs."""
    fields, changed = publication.manifest.fields, []
    domains = {name: domain for domain, layout in publication.manifest.domains.items() for name in layout.arrays}
    for name, text in texts.items():
        if name not in fields:
            raise UnknownField.among("field", name, fields, where=f"the store at {publication.storage}")
        try:
            check_text(key, text)
        except ValueError as error:
            raise InvalidParameter(f"{name}: {error}.", field=name) from error
        if getattr(fields[name], key) != text:
            changed.append(name)
            layout = document["domains"][domains[name]]["arrays"][name]
            # Behind the keys that are always there, units first, as the writer has them.
            texts_of = {each: layout.pop(each, None) for each in ("units", "description")} | {key: text}
            layout |= {each: found for each, found in texts_of.items() if found is not None}
    return changed


def _check_split(publication: Publication, name: str, ids: Iterable[str]) -> list[str]:
    """Return the ids of a split; raises InvalidParameter or SampleNotFound for a name or a list that none can have."""
    listed = list(ids)
    split_file(name)
    if not listed:
        raise InvalidParameter(f"split {name!r} lists no sample ids; it takes one a line.")
    samples = publication.manifest.samples
    absent = [sample_id for sample_id in listed if sample_id not in samples]
    if absent:
        where = (
            f"the lines of split {name!r} name {count(len(absent), 'sample')} that are not there "
            f"({first_few(absent)}): the store at {publication.storage}"
        )
        raise SampleNotFound.among("sample", absent[0], samples, where=where, sample=absent[0])
    sample_id, times = Counter(listed).most_common(1)[0]
    if times > 1:
        raise InvalidParameter(f"split {name!r} lists {sample_id!r} {times} times; list it once.", sample=sample_id)
    return listed


def _settle_statistics(
    publication: Publication, changed: Mapping[str, list[str]], splits: Mapping[str, list[str]]
) -> bool:
    """Tell whether the statistics may be kept; those of a split that is changed are marked as of no revision."""
    storage = publication.storage
    if release_statistics(storage, splits, publication.manifest.samples):
        return False
    statistics = _read_statistics(storage)
    return statistics is not None and not _has_scale_of(statistics, changed)


def _read_statistics(storage: Storage) -> dict[str, Any] | None:
    try:
        return read_statistics(storage)
    except MetadataDamaged:
        return None  # there is nothing to keep


def _has_scale_of(statistics: dict[str, Any], changed: Mapping[str, list[str]]) -> bool:
    """Tell whether a field was divided by any of these scalars before it was measured."""
    names = {name for each in changed.values() for name in each}
    entries = [entry for entry in statistics["fields"].values() if isinstance(entry, dict) and "scale" in entry]
    return any(not names.isdisjoint(Scale(entry["scale"]).names) for entry in entries)
