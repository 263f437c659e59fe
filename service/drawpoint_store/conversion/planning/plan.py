"""The plan of a conversion: what there is to convert, and what the store holds already; nothing is written."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from drawpoint.draw.order import SHUFFLE_RULE, common_rule
from drawpoint_store.conversion.journal import Journal, fingerprint
from drawpoint_store.conversion.planning.compatibility import check_compatibility, keep_texts
from drawpoint_store.conversion.planning.target import check_locations, check_target, load_manifest, store_exists
from drawpoint_store.conversion.publishing.report import ConversionReport
from drawpoint_store.conversion.sample_conversion import SampleConverter, Task
from drawpoint_store.conversion.scalars import check_samples
from drawpoint_store.conversion.sources.pt_source import PREPROCESSED, PtSource
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.reading.splits import list_splits
from drawpoint_store.statistics.moments_table import MOMENTS_NAME
from drawpoint_store.writing.group import versions
from drawpoint_store.writing.writer import named_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drawpoint_store.conversion.planning.target import Existing
    from drawpoint_store.conversion.sample_conversion import Outcome
    from drawpoint_store.conversion.sources.source import Source
    from drawpoint_store.writing.writer import ZarrStoreWriter


@dataclass(frozen=True)
class ConversionPlan:
    """What a conversion has to do, from the moment that it looked at source and store.

    It is the same for all processes that share a conversion: `tasks` are those of all samples of the source, in the
    order of their ids, and `name` is the fingerprint of the whole. `old` is the manifest that the store had, and
    `stamp` its stamp. With `measures`, the moments of what is written are measured, and statistics published.
    """

    source: Source
    writer: ZarrStoreWriter
    existing: Existing
    scalars: Mapping[str, Mapping[str, float]]
    tasks: Sequence[Task]
    name: str
    old: StoreManifest | None
    stamp: str | None
    measures: bool
    moments: dict[str, dict[str, str]] = field(default_factory=dict)
    """The packed moments of each sample that is finished, by field, see FinishedSample."""

    @classmethod
    def of(
        cls,
        source: Source,
        writer: ZarrStoreWriter,
        existing: Existing,
        scalars: Mapping[str, Mapping[str, float]],
        stats: bool | None = None,
    ) -> ConversionPlan:
        """Return the plan for the store as it is now; the caller holds its lock. Raises StoreUnreadable.

        Unless `stats` says so, it measures where splits are known, those of the source or of the store, and where it
        appends to a store that keeps the moments of its samples.
        """
        if stats is None:
            is_measured = existing == "append" and writer.storage.info(MOMENTS_NAME) is not None
            stats = bool(source.splits) or is_measured or bool(list_splits(writer.storage))
        tasks = _tasks(source, writer, scalars)
        name = fingerprint(existing, source.broken, [task.fingerprint for task in tasks])
        stamp = writer.storage.stamp(StoreManifest.MANIFEST_NAME)  # before the manifest is read: see publish
        return cls(source, writer, existing, scalars, tasks, name, load_manifest(writer.storage), stamp, stats)

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.writer.storage)

    @cached_property
    def published(self) -> ConversionReport | None:
        """The report of this very conversion, if it was interrupted just after it had published; None otherwise."""
        done = self.journal.read_report(self.name)
        if self.old is None or done is None:
            return None
        report = ConversionReport.model_validate_json(done)
        return report if report.revision == self.old.revision else None

    def begin(self) -> ConversionReport:
        """Return the report of what is known before any sample is converted, and prepare the writer's manifest.

        Raises StoreExists for a store that is refused or not compatible with the writer, SampleNotFound for scalars of
        a sample that neither source nor store has.
        """
        manifest, old = self.writer.manifest, self.old
        if old is not None and self.existing == "refuse":
            raise store_exists(self.writer.store_root, old)
        manifest.samples.clear()
        manifest.shuffle = SHUFFLE_RULE
        if old is not None and self.existing == "append":
            check_compatibility(old, self.writer)
            keep_texts(old, self.writer)
            manifest.samples.update(old.samples)
            manifest.shuffle = common_rule(old)
        check_samples(self.scalars, {*self._sample_ids, *self.source.broken, *self._held}, self.source.location)
        return ConversionReport(
            skipped=[sample_id for sample_id in self._sample_ids if sample_id in self._held],
            broken={sample_id: why for sample_id, why in self.source.broken.items() if sample_id not in self._held},
            left_out=dict(self.source.unmapped_files),
        )

    def add(self, outcome: Outcome, report: ConversionReport) -> None:
        """Count a sample in the report, and put it into the writer's manifest if it is finished."""
        report.add(outcome)
        if outcome.finished is not None:
            self.writer.manifest.samples[outcome.sample_id] = outcome.finished.entry
            self.moments[outcome.sample_id] = outcome.finished.moments

    @cached_property
    def new(self) -> list[Task]:
        """The tasks of the samples that the store does not keep."""
        return [task for task in self.tasks if task.sample_id not in self._held]

    @cached_property
    def converter(self) -> SampleConverter:
        storage, old = self.writer.storage, self.old
        return SampleConverter(
            self.source,
            {**self.writer.to_init_kwargs(), "store_root": storage},
            published=frozenset() if old is None or storage.is_shared else named_groups(old),
            measures=self.measures,
        )

    @cached_property
    def _held(self) -> set[str]:
        """The ids of the samples that stay as they are."""
        if self.old is None or self.existing != "append":
            return set()
        # Stores of other writers, and of drawpoint 0.1, may have the folder in their ids.
        return {sample_id.removeprefix(PREPROCESSED) for sample_id in self.old.samples}

    @property
    def _sample_ids(self) -> list[str]:
        return [task.sample_id for task in self.tasks]


def open_source(source: Source | str | os.PathLike[str], writer: ZarrStoreWriter, existing: Existing) -> Source:
    """Return the source, that of a tree of `.pt` files for a path or URL, once it is clear that it may be converted.

    Raises StoreExists for a store that is refused, ValueError where store or source would lie inside the other, and
    what the scan of a source raises.
    """
    location = source if isinstance(source, str | os.PathLike) else source.location
    check_locations(location, writer.store_root)
    check_target(writer.storage, existing)
    if isinstance(source, str | os.PathLike):
        return PtSource.scan(source, writer.filemap, writer.fields)
    return source


def _tasks(source: Source, writer: ZarrStoreWriter, scalars: Mapping[str, Mapping[str, float]]) -> list[Task]:
    """Return a task a sample; its fingerprints are of everything that its bytes and entry in the store depend on."""
    settings = {name: value for name, value in writer.to_init_kwargs().items() if name != "store_root"}
    settings["filemap"] = writer.filemap.model_dump()
    settings["fields"] = [asdict(spec) for spec in writer.fields]
    settings["source"] = dict(source.settings)
    # Another format, and another compressor too, may write other bytes.
    dtypes = {name: settings.pop(name) for name in ("coords_dtype", "values_dtype", "field_dtypes")}
    shared = fingerprint(list(versions().values()), settings)
    tasks = []
    for sample_id in source.sample_ids:
        files = [[file.path, file.size, file.stamp] for file in source.files(sample_id)]
        given = scalars.get(sample_id, {})
        common = fingerprint(shared, sample_id, files)
        tasks.append(Task(sample_id, fingerprint(common, dtypes, given), common, given))
    return tasks
