"""Conversion of a source to a store: `convert`, in one process or several.

Samples are independent, and their bytes are a pure function of source and settings: neither what converts them nor
an interruption shows in the result. The manifest is published last, in one piece; until then readers see the store as
it was.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

from drawpoint.errors import RevisionChanged, StoreUnreadable
from drawpoint_store.conversion.engines.engine import run_tasks
from drawpoint_store.conversion.losses import check_precision, check_probes, choose_probes
from drawpoint_store.conversion.planning.plan import ConversionPlan, open_source
from drawpoint_store.conversion.planning.target import check_workers
from drawpoint_store.conversion.publishing.publication import complete, publish
from drawpoint_store.conversion.sample_conversion import GO_ON
from drawpoint_store.storage import LocalStorage
from drawpoint_store.writing.lock import UNFINISHED_FOLDER, lock_store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Executor

    from drawpoint_store.conversion.planning.target import Existing
    from drawpoint_store.conversion.publishing.report import ConversionReport
    from drawpoint_store.conversion.sample_conversion import Task
    from drawpoint_store.conversion.sources.source import Source
    from drawpoint_store.storage import Storage
    from drawpoint_store.writing.writer import ZarrStoreWriter


def convert(
    source: Source | str | os.PathLike[str],
    writer: ZarrStoreWriter,
    *,
    scalars: Mapping[str, Mapping[str, float]] | None = None,
    existing: Existing = "refuse",
    workers: int = 1,
    executor: Executor | None = None,
    progress: bool = False,
    n_probes: int = 0,
    max_relative_error: float | None = None,
    keep_finished: bool = False,
    stats: bool | None = None,
) -> ConversionReport:
    """Convert every sample of `source` that holds all fields of the writer's FileMap, and publish the manifest.

    `scalars` are named numbers by sample id (`read_scalar_table` reads them from a file), besides those that lie in
    files of the source.

    A path or URL is a tree of `.pt` files. A store that exists already is refused, appended to (samples that it lists
    are skipped), or overwritten: its samples are written beside the old ones, which stay for readers of the old
    revision. Broken samples are left out and reported; if there are no others, nothing is published. After an
    interruption the same call goes on where it was. Splits that the source names are written just before the manifest,
    as far as the store holds their samples.

    `workers` processes work, or any `executor` of `concurrent.futures` (threads,
    loky, `client.get_executor()` of Dask), whose workers must see source and store under the same absolute paths or
    URLs; it is not shut down. `progress` draws a bar on stderr where that is a terminal.

    First one sample of ten, `n_probes` at most, spread over the source, is read and not written (one of two to nine,
    none of one): a value beyond the range of its dtype in one of them ends the conversion. So does a field that loses
    more than `max_relative_error` (`check_precision`), in the probes before anything is written, or in all samples
    before they are published.

    With `keep_finished`, the records of finished samples stay on a local store where other samples overflow: a call
    with a wider dtype for that field then converts the field alone (`kept`).

    With `stats`, what is written is measured in the same pass: the moments of each sample are published with it, and
    the statistics of the training split, or else of the whole store (`publish_statistics` says which). None means where
    the source or the store has splits, and where it is appended to a store that keeps moments.

    Raises StoreExists for a store that is refused or not compatible with the writer, SampleNotFound for `scalars`
    of a sample that neither source nor store has, InvalidSample for a source without samples and a field that loses
    too much, ValueOverflow for a probe, StoreUnreadable where the storage cannot be read or written,
    RevisionChanged if another process published meanwhile, DrawpointError if a worker dies, ExtraMissing for `.pt`
    files without torch, and ValueError for several workers where they would not share memory://, and where store or
    source would lie inside the other.
    """
    started = time.monotonic()
    source = open_source(source, writer, existing)
    check_workers(workers, source.location, writer.store_root)
    with (
        resume_hint(writer.store_root),
        lock_store(writer.storage) as alone,
        without_unfinished_groups(writer.storage, alone=alone),
    ):
        plan = ConversionPlan.of(source, writer, existing, scalars or {}, stats)
        if plan.published is not None:
            return complete(plan, plan.published, keep_finished=keep_finished)
        report = plan.begin()
        probe(plan, plan.new, n_probes, max_relative_error, workers=workers, executor=executor)
        convert_tasks(plan, plan.new, report, workers=workers, executor=executor, progress=progress)
        check_precision(report.precision, writer, max_relative_error)
        report.seconds = time.monotonic() - started
        publish(plan, report, keep_finished=keep_finished)
    return report


def probe(
    plan: ConversionPlan,
    tasks: Sequence[Task],
    most: int,
    max_relative_error: float | None,
    *,
    workers: int,
    executor: Executor | None,
) -> None:
    """Read a few of the samples, `most` at most, and refuse what would be lost of them (`check_probes`)."""
    probes = choose_probes(tasks, most)
    with contextlib.closing(run_tasks(probes, plan.converter, workers=workers, executor=executor)) as probed:
        check_probes(probed, plan.writer, max_relative_error)


def convert_tasks(
    plan: ConversionPlan,
    tasks: Sequence[Task],
    report: ConversionReport,
    *,
    workers: int,
    executor: Executor | None,
    progress: bool,
) -> None:
    """Convert samples, and add them to the report and to the writer's manifest as they are finished.

    Raises KeyboardInterrupt with a message that says how to go on.
    """
    started = time.monotonic()
    read = 0
    bar = tqdm(total=len(tasks), unit="sample", disable=None if progress else True)
    notify = None if bar.disable else bar.set_postfix_str
    outcomes = run_tasks(tasks, plan.converter, workers=workers, executor=executor, notify=notify)
    try:
        with bar, contextlib.closing(outcomes):
            for outcome in outcomes:
                plan.add(outcome, report)
                read += 0 if outcome.resumed else outcome.bytes_read
                bar.set_postfix_str(f"{read / 1e6 / (time.monotonic() - started):.1f} MB/s", refresh=False)
                bar.update()
    except KeyboardInterrupt:
        count = len(report.converted)
        raise KeyboardInterrupt(f"interrupted at {count} of {len(tasks)} samples; {GO_ON}.") from None
    report.sort()


@contextlib.contextmanager
def resume_hint(root: str) -> Iterator[None]:
    """Add to storage errors that finished samples are kept, and how to go on."""
    try:
        yield
    except (RevisionChanged, StoreUnreadable) as error:
        raise type(error)(f"{str(error).rstrip('.')}; {GO_ON}.", store=root) from error


@contextlib.contextmanager
def without_unfinished_groups(storage: Storage, *, alone: bool) -> Iterator[None]:
    """Remove from a local store what processes were writing when they were killed: earlier ones, and own workers.

    That is everything for a caller that is `alone`, and holds the store. Else it is what processes of this machine
    have left, since others may be at work on other machines.
    """

    def remove() -> None:
        if alone:
            storage.delete_tree(UNFINISHED_FOLDER)
        elif isinstance(storage, LocalStorage):
            storage.remove_abandoned(UNFINISHED_FOLDER)

    remove()
    try:
        yield
    finally:
        remove()
