"""What a conversion has measured of the samples that it wrote, and the statistics that it leaves behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from drawpoint.errors import InvalidSample, MetadataDamaged
from drawpoint_store.conversion.publishing.report import PublishedStatistics
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.reading.splits import list_splits, read_split
from drawpoint_store.reading.statistics_file import STATISTICS_NAME, read_statistics
from drawpoint_store.statistics.documents import statistics_json
from drawpoint_store.statistics.moments import Moments
from drawpoint_store.statistics.moments_table import MomentsTable, held_arrays, read_moments
from drawpoint_store.statistics.sample_statistics import measure_samples
from drawpoint_store.statistics.store_statistics import measure_fields
from drawpoint_store.wording import count, first_few

if TYPE_CHECKING:
    from collections.abc import Collection

    from drawpoint_store.conversion.planning.plan import ConversionPlan
    from drawpoint_store.storage import Storage

_TRAINING = "train"
_THREADS = min(4, os.cpu_count() or 1)


def gather_moments(plan: ConversionPlan) -> MomentsTable:
    """Return the moments of the samples of the writer's manifest, as far as they are known without those it kept.

    What an earlier run wrote without measuring it, such as one with --no-stats, is read back. Samples that the store
    held before are not: it may be terabytes.
    """
    manifest, storage = plan.writer.manifest, plan.writer.storage
    try:
        table = MomentsTable.of(manifest, read_moments(storage))
    except MetadataDamaged:
        table = MomentsTable.of(manifest)
    unmeasured: dict[str, list[str]] = {}
    for sample_id, packed in plan.moments.items():
        for field, (layout, n_points) in held_arrays(manifest, sample_id).items():
            moments = _unpack(packed.get(field))
            if moments is not None:
                table.put(sample_id, layout, n_points, moments)
            elif packed.get(field) != "":
                unmeasured.setdefault(sample_id, []).append(field)
    store = ZarrChunkReader(storage, manifest=manifest)
    for sample_id, fields in unmeasured.items():
        for field in fields:
            try:
                (measured,) = measure_samples(store, {sample_id: [field]}, {}, max_workers=_THREADS)
            except InvalidSample:  # it cannot be measured: publish_statistics says so
                continue
            table.put(sample_id, *held_arrays(manifest, sample_id)[field], measured.moments[field])
    return table


def publish_statistics(storage: Storage, splits: Collection[str] = ()) -> PublishedStatistics | None:
    """Write `statistics.json` of a store from the moments that it keeps; nothing is read of any sample.

    Those that exist are renewed, of the same split. Where there are none, or of a split that is no more, they are of
    the training split of the store and of the `splits` of its source: that called `train`, else the only one whose name
    begins with it, else of the whole store. What is of scaled values needs a read: it stays as it is, and None is
    returned.
    """
    try:
        earlier = read_statistics(storage)
    except MetadataDamaged:
        earlier = None
    if earlier is not None and any("scale" in entry for entry in earlier["fields"].values() if isinstance(entry, dict)):
        return None
    shipped = list_splits(storage)
    split = _choose_split({*shipped, *splits}, earlier)
    if split is not None and split not in shipped:  # a split without samples is not written
        refusal = f"the store holds no sample of split {split}"
        return PublishedStatistics(split=split, n_samples=0, refusal=refusal)
    try:
        return PublishedStatistics(split=split, n_samples=_write_statistics(storage, split))
    except (MetadataDamaged, ValueError) as error:
        return PublishedStatistics(split=split, n_samples=0, refusal=str(error).rstrip("."))


def _write_statistics(storage: Storage, split: str | None) -> int:
    """Write the statistics of a split and return the number of its samples.

    Raises ValueError or MetadataDamaged where they cannot be told of the moments that the store keeps.
    """
    store = ZarrChunkReader(storage)
    samples = store.manifest.samples
    sample_ids = sorted(samples if split is None else {each for each in read_split(storage, split) if each in samples})
    if not sample_ids:
        raise ValueError(f"the store holds no sample of split {split}, without those on its blacklist")
    table = MomentsTable.of(store.manifest, read_moments(storage))
    unknown = [sample_id for sample_id in sample_ids if not _is_known(store, table, sample_id)]
    if unknown:
        raise ValueError(
            f"{count(len(unknown), 'sample')} of {len(sample_ids):,} could not be, or were not, measured on the way: "
            f"{first_few(unknown)}"
        )
    measured = measure_fields(store, list(store.manifest.fields), sample_ids, table)
    document = statistics_json(
        measured.statistics, revision=store.manifest.revision, split=split, n_samples=len(sample_ids)
    )
    storage.write(STATISTICS_NAME, document)
    return len(sample_ids)


def _choose_split(names: Collection[str], earlier: dict[str, Any] | None) -> str | None:
    """Return the split to be measured, None for the whole store."""
    if earlier is not None and (earlier.get("split") is None or earlier["split"] in names):
        return earlier.get("split")
    training = [name for name in names if name.startswith(_TRAINING)]
    if _TRAINING in training:
        return _TRAINING
    return training[0] if len(training) == 1 else None


def _is_known(store: ZarrChunkReader, table: MomentsTable, sample_id: str) -> bool:
    digest, arrays = store.manifest.samples[sample_id].digest, held_arrays(store.manifest, sample_id)
    return all(table.find(sample_id, digest, *array) is not None for array in arrays.values())


def _unpack(packed: str | None) -> Moments | None:
    try:
        return Moments.unpack(packed) if packed else None
    except ValueError:  # a damaged record
        return None
