"""Conversion of a source to a store: `convert`, in one process or several.

Samples are independent, and their bytes are a pure function of source and settings: neither the number of workers nor
an interruption shows in the result. The manifest is published last, in one piece; until then readers see the store as
it was.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import numcodecs
from pydantic import BaseModel, Field
from tqdm import tqdm

import drawpoint
from drawpoint.draw.order import SHUFFLE_RULE, common_rule
from drawpoint.errors import RevisionChanged, StoreUnreadable
from drawpoint.format.precision import FieldPrecision
from drawpoint_store.conversion.compatibility import check_compatibility, keep_texts
from drawpoint_store.conversion.journal import Journal, fingerprint
from drawpoint_store.conversion.losses import add_precision, check_precision, check_probes, choose_probes
from drawpoint_store.conversion.scalars import check_samples
from drawpoint_store.conversion.sources.pt_source import PREPROCESSED, PtSource
from drawpoint_store.conversion.target import check_locations, check_target, check_workers, load_manifest, store_exists
from drawpoint_store.conversion.workers import GO_ON, Outcome, SampleConverter, Task, run_tasks
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.writing.field_arrays import Underflow
from drawpoint_store.writing.group import GROUP_FORMAT
from drawpoint_store.writing.lock import UNFINISHED_FOLDER, lock_store
from drawpoint_store.writing.split_files import SplitSize, write_splits
from drawpoint_store.writing.writer import named_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from drawpoint_store.conversion.sources.source import Source
    from drawpoint_store.conversion.target import Existing
    from drawpoint_store.storage import Storage
    from drawpoint_store.writing.writer import ZarrStoreWriter


class ConversionReport(BaseModel):
    """The result of a conversion; `broken` maps sample ids to the reason why they were left out.

    `converted` are the samples it added, of which `resumed` had been finished by an interrupted run; `kept` counts
    the arrays that were taken over from an earlier run with other dtypes; `skipped` are those that the store held
    before. `left_out` are files that look like fields and are in no file map, each with the number of samples that
    have it. `precision` is what the stored dtypes round, by field, for those that they round at all. `overflows`
    are the samples that are broken by a value beyond the range of its dtype, by the field and a dtype that holds it
    (`FIELD=D`, as --field-dtype takes it). `zero_normals` are the numbers of points whose normal is (0, 0, 0), as it is
    of a cell without area, by field and sample. `splits` are those that the source names, as far as the store holds
    their samples. `replaced` are the groups of the revision that was overwritten. `revision` is None where nothing
    was published. Sizes are in bytes.
    """

    converted: list[str] = Field(default_factory=list)
    resumed: int = 0
    kept: int = 0
    skipped: list[str] = Field(default_factory=list)
    broken: dict[str, str] = Field(default_factory=dict)
    precision: dict[str, FieldPrecision] = Field(default_factory=dict)
    overflows: dict[str, list[str]] = Field(default_factory=dict)
    zero_normals: dict[str, dict[str, int]] = Field(default_factory=dict)
    left_out: dict[str, int] = Field(default_factory=dict)
    replaced: list[str] = Field(default_factory=list)
    n_points: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: float = 0.0
    splits: dict[str, SplitSize] = Field(default_factory=dict)
    revision: str | None = None

    @property
    def underflows(self) -> dict[str, Underflow]:
        """The fields of which values that are not zero are stored as zero, with their counts."""
        found = {field: Underflow(each.n_zeroed, each.n_values) for field, each in self.precision.items()}
        return {field: underflow for field, underflow in found.items() if underflow.lost}

    def add(self, outcome: Outcome) -> None:
        """Count a sample that was converted, or name it as broken."""
        if outcome.finished is None:
            self.broken[outcome.sample_id] = outcome.reason
            if outcome.overflow is not None:
                self.overflows.setdefault("=".join(outcome.overflow), []).append(outcome.sample_id)
            return
        self.converted.append(outcome.sample_id)
        self.resumed += outcome.resumed
        self.kept += outcome.kept
        self.n_points += sum(grid.n_points for grid in outcome.finished.entry.domains.values())
        self.bytes_read += outcome.bytes_read
        self.bytes_written += outcome.finished.nbytes
        for field, n_zero in outcome.finished.zero_normals.items():
            self.zero_normals.setdefault(field, {})[outcome.sample_id] = n_zero
        add_precision(self.precision, outcome.precision)


def convert(
    source: Source | str | os.PathLike[str],
    writer: ZarrStoreWriter,
    *,
    scalars: Mapping[str, Mapping[str, float]] | None = None,
    existing: Existing = "refuse",
    workers: int = 1,
    progress: bool = False,
    n_probes: int = 0,
    max_relative_error: float | None = None,
    keep_finished: bool = False,
) -> ConversionReport:
    """Convert every sample of `source` that holds all fields of the writer's FileMap, and publish the manifest.

    `scalars` are named numbers by sample id (`read_scalar_table` reads them from a file), besides those that lie in
    files of the source.

    A path or URL is a tree of `.pt` files. A store that exists already is refused, appended to (samples that it lists
    are skipped), or overwritten: its samples are written beside the old ones, which stay for readers of the old
    revision. Broken samples are left out and reported; if there are no others, nothing is published. After an
    interruption the same call goes on where it was. Splits that the source names are written just before the manifest,
    as far as the store holds their samples. `workers` processes work; `progress` draws a bar on stderr where
    that is a terminal.

    First one sample of ten, `n_probes` at most, spread over the source, is read and not written (one of two to nine,
    none of one): a value beyond the range of its dtype in one of them ends the conversion. So does a field that loses
    more than `max_relative_error` (`check_precision`), in the probes before anything is written, or in all samples
    before they are published.

    With `keep_finished`, the records of finished samples stay on a local store where other samples overflow: a call
    with a wider dtype for that field then converts the field alone (`kept`).

    Raises StoreExists for a store that is refused or not compatible with the writer, SampleNotFound for `scalars`
    of a sample that neither source nor store has, InvalidSample for a source without samples and a field that loses
    too much, ValueOverflow for a probe, StoreUnreadable where the storage cannot be read or written,
    RevisionChanged if another process published meanwhile, ExtraMissing for `.pt` files without torch, and
    ValueError for several workers where they would not share memory://, and where store or source would lie inside
    the other.
    """
    started = time.monotonic()
    storage = writer.storage
    root = storage.root
    location = str(source) if isinstance(source, str | os.PathLike) else source.location
    check_locations(location, root)
    check_target(storage, existing)
    check_workers(workers, location, root)
    if isinstance(source, str | os.PathLike):
        source = PtSource.scan(source, writer.filemap, writer.fields)
    sample_ids, broken, splits = source.sample_ids, source.broken, source.splits
    tasks = _tasks(source, sample_ids, writer, scalars or {})
    journal = Journal(storage)
    name = fingerprint(existing, broken, [task.fingerprint for task in tasks])
    with _resume_hint(root), lock_store(storage), _without_unfinished_groups(storage):
        stamp = storage.stamp(StoreManifest.MANIFEST_NAME)  # before the manifest is read: see _publish
        old = load_manifest(storage)
        done = journal.read_report(name)
        if old is not None and done is not None:
            report = ConversionReport.model_validate_json(done)
            if report.revision == old.revision:  # an earlier run was interrupted just after it had published
                journal.clear(name, tasks, keep_samples=keep_finished and bool(report.overflows))
                return report
        if old is not None and existing == "refuse":
            raise store_exists(root, old)
        writer.manifest.samples.clear()
        writer.manifest.shuffle = SHUFFLE_RULE
        if old is not None and existing == "append":
            check_compatibility(old, writer)
            keep_texts(old, writer)
            writer.manifest.samples.update(old.samples)
            writer.manifest.shuffle = common_rule(old)
        # Stores of other writers, and of drawpoint 0.1, may have the folder in their ids.
        held = {sample_id.removeprefix(PREPROCESSED) for sample_id in writer.manifest.samples}
        check_samples(scalars or {}, {*sample_ids, *broken, *held}, source.location)
        report = ConversionReport(
            skipped=[sample_id for sample_id in sample_ids if sample_id in held],
            broken={sample_id: reason for sample_id, reason in broken.items() if sample_id not in held},
            left_out=dict(source.unmapped_files),
        )
        converter = SampleConverter(
            source,
            {**writer.to_init_kwargs(), "store_root": storage},
            published=frozenset() if old is None or storage.is_shared else named_groups(old),
        )
        new = [task for task in tasks if task.sample_id not in held]
        probes = choose_probes(new, n_probes)
        with contextlib.closing(run_tasks(probes, converter, max(1, min(workers, len(probes))))) as probed:
            check_probes(probed, writer, max_relative_error)
        _convert_samples(new, converter, writer, report, workers=workers, progress=progress)
        check_precision(report.precision, writer, max_relative_error)
        writer.manifest.precision = _precision_of_all(report, old if existing == "append" else None)
        report.seconds = time.monotonic() - started
        if report.converted:
            report.splits = write_splits(storage, splits, writer.manifest.samples)
            _publish(writer, report, journal, name, old, stamp)
            journal.clear(name, tasks, keep_samples=keep_finished and bool(report.overflows))
    return report


@contextlib.contextmanager
def _resume_hint(root: str) -> Iterator[None]:
    """Add to storage errors that finished samples are kept, and how to go on."""
    try:
        yield
    except (RevisionChanged, StoreUnreadable) as error:
        raise type(error)(f"{str(error).rstrip('.')}; {GO_ON}.", store=root) from error


@contextlib.contextmanager
def _without_unfinished_groups(storage: Storage) -> Iterator[None]:
    """Remove from a local store what processes were writing when they were killed: earlier ones, and own workers."""

    def remove() -> None:
        if not storage.is_shared:
            storage.delete_tree(UNFINISHED_FOLDER)

    remove()
    try:
        yield
    finally:
        remove()


def _tasks(
    source: Source, sample_ids: Sequence[str], writer: ZarrStoreWriter, scalars: Mapping[str, Mapping[str, float]]
) -> list[Task]:
    """Return a task a sample; its fingerprints are of everything that its bytes and entry in the store depend on."""
    settings = {name: value for name, value in writer.to_init_kwargs().items() if name != "store_root"}
    settings["filemap"] = writer.filemap.model_dump()
    settings["fields"] = [asdict(spec) for spec in writer.fields]
    settings["source"] = dict(source.settings)
    # Another format, and another compressor too, may write other bytes.
    versions = [GROUP_FORMAT, drawpoint.__version__, numcodecs.__version__]
    dtypes = {name: settings.pop(name) for name in ("coords_dtype", "values_dtype", "field_dtypes")}
    shared = fingerprint(versions, settings)
    tasks = []
    for sample_id in sample_ids:
        files = [[file.path, file.size, file.stamp] for file in source.files(sample_id)]
        given = scalars.get(sample_id, {})
        common = fingerprint(shared, sample_id, files)
        tasks.append(Task(sample_id, fingerprint(common, dtypes, given), common, given))
    return tasks


def _convert_samples(
    tasks: list[Task],
    converter: SampleConverter,
    writer: ZarrStoreWriter,
    report: ConversionReport,
    *,
    workers: int,
    progress: bool,
) -> None:
    """Convert samples, and add them to the report and to the writer's manifest as they are finished."""
    started = time.monotonic()
    read = 0
    bar = tqdm(total=len(tasks), unit="sample", disable=None if progress else True)
    notify = None if bar.disable else bar.set_postfix_str
    outcomes = run_tasks(tasks, converter, min(workers, max(1, len(tasks))), notify)
    try:
        with bar, contextlib.closing(outcomes):
            for outcome in outcomes:
                report.add(outcome)
                if outcome.finished is not None:
                    writer.manifest.samples[outcome.sample_id] = outcome.finished.entry
                read += 0 if outcome.resumed else outcome.bytes_read
                bar.set_postfix_str(f"{read / 1e6 / (time.monotonic() - started):.1f} MB/s", refresh=False)
                bar.update()
    except KeyboardInterrupt:
        count = len(report.converted)
        raise KeyboardInterrupt(f"interrupted at {count} of {len(tasks)} samples; {GO_ON}.") from None
    report.converted.sort()
    report.broken = dict(sorted(report.broken.items()))
    report.precision = dict(sorted(report.precision.items()))
    report.overflows = {field: sorted(ids) for field, ids in sorted(report.overflows.items())}
    report.zero_normals = {field: dict(sorted(found.items())) for field, found in sorted(report.zero_normals.items())}


def _precision_of_all(report: ConversionReport, old: StoreManifest | None) -> dict[str, FieldPrecision]:
    """Return what is rounded in all samples, also those of the `old` store; nothing where that did not tell it."""
    total = dict(old.precision) if old is not None and old.samples else {}
    if old is not None and old.samples and not total:
        return {}
    add_precision(total, report.precision)
    return dict(sorted(total.items()))


def _publish(
    writer: ZarrStoreWriter,
    report: ConversionReport,
    journal: Journal,
    name: str,
    old: StoreManifest | None,
    stamp: str | None,
) -> None:
    """Publish the manifest unless another process has published since it was at `stamp`; raises RevisionChanged."""
    manifest = writer.manifest
    used = {entry.relpath for entry in manifest.samples.values()}
    if old is not None:
        report.replaced = sorted({entry.relpath for entry in old.samples.values()} - used)
    manifest.retired = sorted(named_groups(old) - used) if old is not None else []
    report.revision = manifest.revision
    journal.write_report(name, report.model_dump_json())
    manifest.save(writer.storage, stamp)
