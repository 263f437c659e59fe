"""Statistics of single samples: of rows as they are written, and of samples that are read, here or by an executor.

Both ways cut the rows into the same blocks and merge them in the same order, so that they give the same bits.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import drawpoint.format.manifest
from drawpoint.errors import DrawpointError, InvalidSample
from drawpoint_store.reading.blocks import map_in_order, plan_blocks, read_block
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.statistics.running_stats import RunningStats
from drawpoint_store.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping
    from concurrent.futures import Executor, Future

    from drawpoint.format.manifest import StoreManifest
    from drawpoint.format.scale import Scale
    from drawpoint_store.reading.plan import ReadPlan
    from drawpoint_store.statistics.moments import Moments

_MOST_SUBMITTED = 1_000
"""Samples that an executor is given before the first of them is done: a cluster is busy, and memory stays bounded."""


class MeasuredSample(NamedTuple):
    """The moments of a sample by field, and the number of points that hold NaN or inf and are not in them, by field."""

    sample_id: str
    moments: dict[str, Moments]
    invalid: Mapping[str, int]


class WrittenRows:
    """The statistics of one sample's rows while they are written; `push` is what the writer calls with each block.

    A field whose values cannot be measured, since their squares leave the float64 range, has no moments.
    """

    def __init__(self) -> None:
        self._blocks: dict[str, dict[int, RunningStats]] = {}
        self._counted: dict[str, RunningStats] = {}
        self._refused: set[str] = set()
        self._lock = threading.Lock()

    def push(self, field: str, block: int, rows: np.ndarray[Any, Any]) -> None:
        """Measure block number `block` of a field, (N, dim) as stored; in any order, also from several threads."""
        part = RunningStats(field)
        try:
            part.push_tensor(rows)
        except ValueError:
            self._refused.add(field)
            return
        with self._lock:
            if rows.dtype == np.float16:  # counts add up to the same in any order
                self._counted.setdefault(field, RunningStats(field)).merge(part)
            else:
                self._blocks.setdefault(field, {})[block] = part

    def moments(self) -> dict[str, Moments]:
        """Return the moments of each field, once all of its blocks have been pushed."""
        for field, blocks in self._blocks.items():
            total = self._counted.setdefault(field, RunningStats(field))
            try:
                for _, part in sorted(blocks.items()):
                    total.merge(part)
            except ValueError:
                self._refused.add(field)
        self._blocks.clear()
        found = {field: stats.moments for field, stats in self._counted.items() if field not in self._refused}
        return {field: moments for field, moments in found.items() if moments is not None}

    def pack(self) -> dict[str, str]:
        """Return the moments of each field as text, and "" for one that cannot be measured."""
        packed = {field: moments.pack() for field, moments in self.moments().items()}
        return dict.fromkeys(sorted(self._refused), "") | packed


def measure_samples(
    store: ZarrChunkReader,
    fields: Mapping[str, Collection[str]],
    scales: Mapping[str, Scale],
    *,
    max_workers: int = 1,
) -> Iterator[MeasuredSample]:
    """Read samples, and yield each with the moments of its `fields`, in their order; it must have one of them at least.

    `max_workers` threads read blocks. Raises InvalidSample for values whose squares leave the float64 range.
    """
    blocks = (plan for sample_id, names in fields.items() for plan in plan_blocks(store.manifest, sample_id, names))
    # One thread merges, in the order of the blocks: which thread read which block does not show in the result.
    measured = map_in_order(lambda plan: (plan.sample_id, *_measure_block(store, plan, scales)), blocks, max_workers)
    for sample_id, of_sample in itertools.groupby(measured, key=lambda block: block[0]):
        totals: dict[str, RunningStats] = {}
        invalid: Counter[str] = Counter()
        for _, parts, poor in of_sample:
            for field, part in parts.items():
                totals.setdefault(field, RunningStats(field)).merge(part)
            invalid.update(poor)
        found = {field: stats.moments for field, stats in totals.items()}
        yield MeasuredSample(sample_id, {field: each for field, each in found.items() if each is not None}, invalid)


def measure_by_executor(
    executor: Executor, store: ZarrChunkReader, fields: Mapping[str, Collection[str]], scales: Mapping[str, Scale]
) -> Generator[MeasuredSample]:
    """Do what `measure_samples` does, with a task of the executor for each sample.

    A task is small, whatever the number of samples, and finds a local store by its absolute path. Raises DrawpointError
    where a worker dies or cannot do it, and what `measure_samples` raises.
    """
    waiting: deque[tuple[str, Future[MeasuredSample]]] = deque()
    storage = store.storage.absolute()
    try:
        for sample_id, names in fields.items():
            manifest = _of_one_sample(store.manifest, sample_id)
            task = (storage, manifest, sample_id, names, scales, store.read_concurrency)
            waiting.append((sample_id, _submit(executor, sample_id, task)))
            if len(waiting) >= _MOST_SUBMITTED:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())
    finally:
        for _, future in waiting:
            future.cancel()


def _measure_block(
    store: ZarrChunkReader, plan: ReadPlan, scales: Mapping[str, Scale]
) -> tuple[dict[str, RunningStats], dict[str, int]]:
    """Return the statistics of the block's finite points, and the number of other points, both by field."""
    parts, invalid = {}, {}
    for field, stored in read_block(store, plan).items():
        rows, parts[field] = stored, RunningStats(field)
        if (scale := scales.get(field)) is not None:
            scalars = store.manifest.samples.scalars_of(plan.sample_id)
            rows = stored.astype(np.float64) / scale.value(scalars, field, plan.sample_id)
        try:
            parts[field].push_tensor(rows)
        except ValueError:
            # Looked for only here, so that stores without any pay nothing.
            finite = rows[np.isfinite(rows).all(axis=1)]
            if len(finite) < len(rows):
                invalid[field] = len(rows) - len(finite)
            try:
                parts[field].push_tensor(finite)
            except ValueError as error:
                raise InvalidSample(
                    f"sample {plan.sample_id!r}: {str(error).rstrip('.')}; exclude the field, or leave the sample out.",
                    sample=plan.sample_id,
                    field=field,
                ) from error
    return parts, invalid


_Task = tuple[Storage, drawpoint.format.manifest.StoreManifest, str, "Collection[str]", "Mapping[str, Scale]", int]


def _measure_task(task: _Task) -> MeasuredSample:
    """Measure one sample; runs in a worker of an executor."""
    storage, manifest, sample_id, names, scales, read_concurrency = task
    store = ZarrChunkReader(storage, manifest=manifest, read_concurrency=read_concurrency)
    return next(measure_samples(store, {sample_id: names}, scales))


def _submit(executor: Executor, sample_id: str, task: _Task) -> Future[MeasuredSample]:
    try:
        return executor.submit(_measure_task, task)
    except RuntimeError as error:  # it is broken, or was shut down
        raise _lost(sample_id, error) from error


def _result(sample_id: str, future: Future[MeasuredSample]) -> MeasuredSample:
    try:
        return future.result()
    except DrawpointError:
        raise
    except Exception as error:  # each executor has errors of its own for a worker that is gone
        raise _lost(sample_id, error) from error


def _lost(sample_id: str, error: Exception) -> DrawpointError:
    said = f"{type(error).__name__}: {error}".rstrip(": .")
    return DrawpointError(
        f"the executor did not measure sample {sample_id!r} ({said}); see that its workers have this version of "
        "drawpoint, memory enough and a view of the store, and run it again.",
        sample=sample_id,
    )


def _of_one_sample(manifest: StoreManifest, sample_id: str) -> StoreManifest:
    """Return a manifest of one sample alone, small enough to be sent with each task."""
    return drawpoint.format.manifest.StoreManifest(
        dataset_name=manifest.dataset_name,
        shuffle_seed=manifest.shuffle_seed,
        domains=manifest.domains,
        samples=drawpoint.format.manifest.SampleTable({sample_id: manifest.samples[sample_id]}),
    )
