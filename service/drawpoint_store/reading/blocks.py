"""Whole samples in blocks of bounded size, mapped by threads in order, with a progress bar."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from drawpoint.draw.rows import count_rows
from drawpoint_store.reading.plan import ArrayDraw, DomainDraw, plan_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from typing import Any

    from tqdm import tqdm

    from drawpoint.format.manifest import StoreManifest
    from drawpoint_store.reading.plan import ReadPlan
    from drawpoint_store.reading.reader import ZarrChunkReader

BLOCK_POINTS = 2**17
"""Rows of a block, rounded down to whole chunks: a few MB for all fields of a domain, so that memory stays bounded."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def plan_blocks(
    manifest: StoreManifest,
    sample_id: str,
    fields: Collection[str] | None = None,
    *,
    block_points: int = BLOCK_POINTS,
) -> Iterator[ReadPlan]:
    """Plan to read all rows of a sample in stored order, domain by domain, a run of whole chunks at a time.

    Each plan is of one domain and at least one chunk; fields of domains that the sample lacks are passed over.
    """
    held = manifest.samples[sample_id].domains
    for domain, layout in manifest.domains.items():
        wanted = [field for field in layout.arrays if fields is None or field in fields]
        if domain not in held or not wanted:
            continue
        whole = plan_sample(manifest, sample_id, None, seed=0, fields=wanted)
        grid, rows = held[domain], whole.draws[domain].rows
        chunks = block_chunks(grid.chunk_points, block_points)
        for first in range(0, len(rows), chunks):
            block = rows[first : first + chunks]
            draw = DomainDraw(grid, block, count_rows(block))
            arrays = {field: ArrayDraw(array.layout, draw) for field, array in whole.arrays.items()}
            yield replace(whole, draws={domain: draw}, arrays=arrays)


def block_chunks(chunk_points: int, block_points: int = BLOCK_POINTS) -> int:
    """Return how many chunks of so many rows make a block: of an array that is read, and of one that is written."""
    return max(1, block_points // chunk_points)


def read_block(store: ZarrChunkReader, plan: ReadPlan) -> dict[str, np.ndarray[Any, Any]]:
    """Return the rows of a block as (N, dim) in the dtypes they are stored in, by field."""
    rows = {field: np.empty(array.shape, array.layout.dtype) for field, array in plan.arrays.items()}
    store.read_into(plan, rows)
    return {field: rows[field].reshape(-1, array.layout.dim) for field, array in plan.arrays.items()}


def map_in_order(work: Callable[[Item], Result], items: Iterable[Item], max_workers: int) -> Iterator[Result]:
    """Yield `work(item)` for each item in order, with `max_workers` threads that run ahead only a little.

    Executor.map would take all items at once, and keep every result. Raises ValueError for `max_workers` below 1.
    """
    if max_workers < 1:
        raise ValueError(f"max_workers must be at least 1, not {max_workers}.")
    if max_workers == 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(max_workers, "drawpoint-block")
    try:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * max_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def sample_bar(sample_ids: Sequence[str], description: str | None = None, *, progress: bool) -> tqdm[str]:
    """Return an iterator of the ids that shows a bar on stderr, with `progress` and where that is a terminal."""
    from tqdm import tqdm  # noqa: PLC0415  only where a bar may be shown

    return tqdm(sample_ids, description, unit="sample", disable=None if progress else True)
