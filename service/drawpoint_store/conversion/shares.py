"""A conversion that several processes share, such as the tasks of a SLURM array: shares, and one publication.

Each share converts some of the samples and records them in the journal of the store; none of them publishes. The
publication converts nothing: it puts the manifest together from the records of all shares.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drawpoint.errors import ConversionUnfinished
from drawpoint_store.conversion.convert import convert_tasks, resume_hint, without_unfinished_groups
from drawpoint_store.conversion.losses import check_precision
from drawpoint_store.conversion.plan import ConversionPlan, open_source
from drawpoint_store.conversion.publication import clear_journal, publish
from drawpoint_store.conversion.sample_conversion import Outcome
from drawpoint_store.conversion.target import check_workers
from drawpoint_store.wording import count, first_few
from drawpoint_store.writing.lock import lock_share, lock_store

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    from drawpoint_store.conversion.report import ConversionReport
    from drawpoint_store.conversion.sample_conversion import Task
    from drawpoint_store.conversion.sources.source import Source
    from drawpoint_store.conversion.target import Existing
    from drawpoint_store.writing.writer import ZarrStoreWriter

_READS = 32
"""How many records are read at a time: in a bucket each takes a few round trips."""


@dataclass(frozen=True, slots=True)
class Share:
    """Share `number` of `total`, counted from 1: every `total`-th sample, in the order of the ids.

    Raises ValueError for a number that is not in 1..total.
    """

    number: int
    total: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.total:
            raise ValueError(f"a share is one of 1/{self.total} to {self.total}/{self.total}, not {self}.")

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def of(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks of this share."""
        return list(tasks[self.number - 1 :: self.total])


def convert_share(
    source: Source | str | os.PathLike[str],
    writer: ZarrStoreWriter,
    share: Share,
    *,
    scalars: Mapping[str, Mapping[str, float]] | None = None,
    existing: Existing = "refuse",
    workers: int = 1,
    executor: Executor | None = None,
    progress: bool = False,
) -> ConversionReport:
    """Convert the samples of one share, and publish nothing; `publish_shares` does, once all shares are done.

    The arguments are those of `convert`, and the same for all shares and the publication. Samples that are finished
    are not converted again. The report has no revision. Raises what `convert` raises.
    """
    started = time.monotonic()
    source = open_source(source, writer, existing)
    check_workers(workers, source.location, writer.store_root)
    with resume_hint(writer.store_root), lock_share(writer.storage, str(share)):
        plan = ConversionPlan.of(source, writer, existing, scalars or {})
        report = plan.begin()
        tasks = share.of(plan.new)
        own = {task.sample_id for task in tasks}
        report.broken = {} if share.number > 1 else report.broken  # the source's are nobody's share
        convert_tasks(plan, tasks, report, workers=workers, executor=executor, progress=progress)
        for task in tasks:
            if task.sample_id in report.broken:
                plan.journal.add_broken(task, report.broken[task.sample_id], report.overflow_of(task.sample_id))
        report.skipped = [sample_id for sample_id in report.skipped if sample_id in own]
    report.seconds = time.monotonic() - started
    return report


def publish_shares(
    source: Source | str | os.PathLike[str],
    writer: ZarrStoreWriter,
    *,
    scalars: Mapping[str, Mapping[str, float]] | None = None,
    existing: Existing = "refuse",
    max_relative_error: float | None = None,
    keep_finished: bool = False,
) -> ConversionReport:
    """Publish what the shares of a conversion have converted; the arguments are those that the shares had.

    The store is that of an undivided conversion, byte for byte, and so is the report but for its seconds. Raises
    ConversionUnfinished, naming them, where samples are not done yet, and what `convert` raises.
    """
    started = time.monotonic()
    source = open_source(source, writer, existing)
    with resume_hint(writer.store_root), lock_store(writer.storage), without_unfinished_groups(writer.storage):
        plan = ConversionPlan.of(source, writer, existing, scalars or {})
        if plan.published is not None:
            clear_journal(plan, plan.published, keep_finished=keep_finished)
            return plan.published
        report = plan.begin()
        with ThreadPoolExecutor(_READS) as pool:
            outcomes = list(pool.map(lambda task: _find(plan, task), plan.new))
        missing = [task.sample_id for task, outcome in zip(plan.new, outcomes, strict=True) if outcome is None]
        if missing:
            raise ConversionUnfinished(
                f"{count(len(missing), 'sample')} of {len(plan.new):,} are not converted yet, with these options: "
                f"{first_few(missing)}; run the shares that lack (--task), then publish again.",
                store=writer.store_root,
            )
        for outcome in outcomes:
            assert outcome is not None
            report.add(outcome)
            if outcome.finished is not None:
                writer.manifest.samples[outcome.sample_id] = outcome.finished.entry
        report.sort()
        check_precision(report.precision, writer, max_relative_error)
        report.seconds = time.monotonic() - started
        publish(plan, report, keep_finished=keep_finished)
    return report


def _find(plan: ConversionPlan, task: Task) -> Outcome | None:
    """Return what a share has recorded of a sample, None if there is nothing."""
    size = sum(file.size for file in plan.source.files(task.sample_id))
    finished = plan.journal.find(task)
    if finished is not None and finished.fingerprint == task.fingerprint:
        return Outcome(task.sample_id, size, finished, precision=finished.precision)
    broken = plan.journal.find_broken(task)
    return None if broken is None else Outcome(task.sample_id, size, reason=broken.reason, overflow=broken.overflow)
