"""A conversion that several processes share, such as the tasks of a SLURM array: shares, and one publication.

Each share converts some of the samples and records them in the journal of the store; none of them publishes. The
publication converts nothing: it puts the manifest together from the records of all shares.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drawpoint.errors import ConversionUnfinished, StoreExists
from drawpoint_store.conversion.convert import convert_tasks, probe, resume_hint, without_unfinished_groups
from drawpoint_store.conversion.journal import Journal
from drawpoint_store.conversion.losses import check_precision
from drawpoint_store.conversion.planning.plan import ConversionPlan, open_source
from drawpoint_store.conversion.planning.target import check_workers, load_manifest
from drawpoint_store.conversion.publishing.publication import complete, publish
from drawpoint_store.conversion.sample_conversion import Outcome
from drawpoint_store.conversion.sharing.share_marks import ShareMarks
from drawpoint_store.storage import open_storage
from drawpoint_store.wording import count, first_few
from drawpoint_store.writing.lock import lock_share, lock_store

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    from drawpoint_store.conversion.planning.target import Existing
    from drawpoint_store.conversion.publishing.report import ConversionReport
    from drawpoint_store.conversion.sample_conversion import Task
    from drawpoint_store.conversion.sources.source import Source
    from drawpoint_store.writing.writer import ZarrStoreWriter

READS = 32
"""How many records are read at a time: in a bucket each takes a few round trips."""


@dataclass(frozen=True, slots=True)
class Share:
    """Share `number` of `total`, counted from 1: every `total`-th sample, in the order of the ids.

    Neighbours in that order, such as the variants of one shape, often take equally long, so that all shares do. Sizes
    are not looked at: a division by them would be another one whenever a file changes. Raises ValueError for a number
    that is not in 1..total.
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


def check_unpublished(store_root: str | os.PathLike[str], existing: Existing) -> None:
    """Raise StoreExists if there is a store at `store_root` that is neither to be appended to nor overwritten."""
    storage = open_storage(store_root)
    old = load_manifest(storage) if existing == "refuse" else None
    if old is not None and not Journal(storage).has_report():
        raise StoreExists(
            f"there is a store at {storage.root} ({count(len(old.samples), 'sample')}): if it is that of this "
            "conversion, all is published, and nothing is left to do; else add to it with --append, replace it with "
            "--overwrite, or write elsewhere.",
            store=storage.root,
        )


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
    n_probes: int = 0,
    max_relative_error: float | None = None,
    stats: bool | None = None,
) -> ConversionReport:
    """Convert the samples of one share, and publish nothing; `publish_shares` does, once all shares are done.

    The arguments are those of `convert`, and the same for all shares and the publication. Samples that are finished
    are not converted again. Probes are taken of the share's own samples, one of ten, and may refuse it; what all
    samples lose is checked by the publication. The report has no revision. Raises what `convert` raises.
    """
    started = time.monotonic()
    check_unpublished(writer.store_root, existing)
    source = open_source(source, writer, existing)
    check_workers(workers, source.location, writer.store_root)
    with (
        resume_hint(writer.store_root),
        lock_share(writer.storage, str(share)),
        without_unfinished_groups(writer.storage, alone=False),
    ):
        plan = ConversionPlan.of(source, writer, existing, scalars or {}, stats)
        if plan.published is not None:
            raise StoreExists(
                f"this conversion is published at {writer.store_root}; --publish once more ends it.",
                store=writer.store_root,
            )
        report = plan.begin()
        tasks = share.of(plan.new)
        if tasks:
            ShareMarks.of(plan).add(share.number, share.total)
        # Of few samples none is probed: one that is read twice would cost more than it could save.
        probe(plan, tasks, min(n_probes, len(tasks) // 10), max_relative_error, workers=workers, executor=executor)
        report.broken = {} if share.number > 1 else report.broken  # the source's are nobody's share
        convert_tasks(plan, tasks, report, workers=workers, executor=executor, progress=progress)
        for task in tasks:
            if task.sample_id in report.broken:
                plan.journal.add_broken(task, report.broken[task.sample_id], report.overflow_of(task.sample_id))
        report.skipped = report.skipped if share.number == 1 else []
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
    stats: bool | None = None,
) -> ConversionReport:
    """Publish what the shares of a conversion have converted; the arguments are those that the shares had.

    The store is that of an undivided conversion, byte for byte, and so is the report but for its seconds and for what
    the shares resumed. Raises ConversionUnfinished, naming samples and shares, where some are not done yet, and where
    the shares had other options; and what `convert` raises.
    """
    started = time.monotonic()
    check_unpublished(writer.store_root, existing)
    source = open_source(source, writer, existing)
    with (
        resume_hint(writer.store_root),
        lock_store(writer.storage) as alone,
        without_unfinished_groups(writer.storage, alone=alone),
    ):
        plan = ConversionPlan.of(source, writer, existing, scalars or {}, stats)
        if plan.published is not None:
            return complete(plan, plan.published, keep_finished=keep_finished)
        report = plan.begin()
        with ThreadPoolExecutor(READS) as pool:
            outcomes = list(pool.map(lambda task: _find(plan, task), plan.new))
        _check_finished(plan, outcomes)
        for outcome in outcomes:
            assert outcome is not None
            plan.add(outcome, report)
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


def _check_finished(plan: ConversionPlan, outcomes: Sequence[Outcome | None]) -> None:
    """Raise ConversionUnfinished where samples lack, or where all shares that were run had other options."""
    marks, store = ShareMarks.of(plan), plan.writer.store_root
    totals = marks.totals()
    if not totals and (other := marks.difference()):
        raise ConversionUnfinished(
            f"no share was run with these options, and {other}; publish with those of the shares, or run the shares "
            "with these.",
            store=store,
        )
    missing = [place for place, outcome in enumerate(outcomes) if outcome is None]
    if not missing:
        return
    total = totals[-1] if totals else 0
    shares = sorted({place % total + 1 for place in missing}) if total else []
    remedy = (
        f"run what lacks (--task {', '.join(str(Share(number, total)) for number in shares)}), then publish again"
        if shares
        else "run the shares (--task 1/N to N/N), then publish again"
    )
    raise ConversionUnfinished(
        f"{len(missing):,} of {count(len(outcomes), 'sample')} have not been converted yet: "
        f"{first_few([plan.new[place].sample_id for place in missing])}; {remedy}.",
        store=store,
    )
