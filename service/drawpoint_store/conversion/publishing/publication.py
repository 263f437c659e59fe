"""The end of a conversion: splits, moments, manifest and statistics are written, and the journal's records removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawpoint_store.conversion.losses import add_precision
from drawpoint_store.conversion.publishing.measured_samples import gather_moments, publish_statistics
from drawpoint_store.conversion.sharing.share_marks import ShareMarks
from drawpoint_store.statistics.moments_table import write_moments
from drawpoint_store.writing.split_files import write_splits
from drawpoint_store.writing.statistics_binding import release_statistics
from drawpoint_store.writing.writer import named_groups

if TYPE_CHECKING:
    from drawpoint.format.precision import FieldPrecision
    from drawpoint_store.conversion.planning.plan import ConversionPlan
    from drawpoint_store.conversion.publishing.report import ConversionReport


def publish(plan: ConversionPlan, report: ConversionReport, *, keep_finished: bool) -> None:
    """Publish the writer's manifest with the samples of the report, unless another process has published meanwhile.

    What another process has published is looked for first, so that its splits stay. The moments of samples come before
    the manifest: they are bound to digests, and say nothing of other samples. The statistics
    come after it: who could not publish leaves those of the revision that is published alone, and where a kill comes
    in between, `complete` writes them. Nothing is published where nothing was converted. Raises RevisionChanged, and
    StoreUnreadable where the storage refuses a write.
    """
    if not report.converted:
        return
    manifest, old = plan.writer.manifest, plan.old
    manifest.precision = _precision_of_all(plan, report)
    used = {entry.relpath for entry in manifest.samples.values()}
    if old is not None:
        report.replaced = sorted({entry.relpath for entry in old.samples.values()} - used)
    manifest.retired = sorted(named_groups(old) - used) if old is not None else []
    manifest.check_replaces(plan.writer.storage, plan.stamp)
    if old is not None:
        release_statistics(plan.writer.storage, plan.source.splits, old.samples)
    report.splits = write_splits(plan.writer.storage, plan.source.splits, manifest.samples)
    if plan.measures:
        write_moments(plan.writer.storage, gather_moments(plan))
    report.revision = manifest.revision
    plan.journal.write_report(plan.name, report.model_dump_json())
    manifest.save(plan.writer.storage, plan.stamp)
    complete(plan, report, keep_finished=keep_finished)


def complete(plan: ConversionPlan, report: ConversionReport, *, keep_finished: bool) -> ConversionReport:
    """Do what comes after the manifest of a conversion, and return its report.

    The statistics are written, and the records of the journal removed, but those of samples that wait for a wider
    dtype.
    """
    if plan.measures:
        report.statistics = publish_statistics(plan.writer.storage, plan.source.splits)
    plan.journal.clear(plan.name, plan.tasks, keep_samples=keep_finished and bool(report.overflows))
    ShareMarks.of(plan).clear()
    return report


def _precision_of_all(plan: ConversionPlan, report: ConversionReport) -> dict[str, FieldPrecision]:
    """Return what is rounded in all samples, also those that the store keeps; nothing where it did not tell it."""
    old = plan.old if plan.existing == "append" else None
    total = dict(old.precision) if old is not None and old.samples else {}
    if old is not None and old.samples and not total:
        return {}
    add_precision(total, report.precision)
    return dict(sorted(total.items()))
