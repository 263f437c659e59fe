from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from drawpoint_store import ZarrChunkReader
from drawpoint_store.inspecting.blocks import map_in_order, plan_blocks, read_block

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("block_points", "most"), [(1, 256), (256, 256), (1_000, 768), (4_096, 4_096), (10**6, 10_000)]
)
def test_blocks_are_of_bounded_size_and_hold_each_row_once_in_stored_order(
    store_root: Path, block_points: int, most: int
) -> None:
    store = ZarrChunkReader(store_root)
    parts: dict[str, list[np.ndarray]] = {}
    for plan in plan_blocks(store.manifest, "param0/run", block_points=block_points):
        assert len(plan.draws) == 1
        for field, rows in read_block(store, plan).items():
            assert len(rows) <= most
            parts.setdefault(field, []).append(rows)
    whole = ZarrChunkReader(store_root).read_sample("param0/run")
    assert parts.keys() == whole.keys()
    for field, tensor in whole.items():
        joined = np.concatenate(parts[field])
        assert joined.dtype == store.manifest.fields[field].dtype
        np.testing.assert_array_equal(joined.reshape(tensor.shape), tensor.numpy())
    assert max(len(rows) for rows in parts["volume_sdf"]) == most


def test_results_keep_the_order_of_the_items_although_the_first_ends_last() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(30)
        else:
            second_is_done.set()
        return item

    assert list(map_in_order(work, [0, 1], 2)) == [0, 1]


@pytest.mark.parametrize("workers", [1, 2])
def test_work_runs_ahead_of_the_results_that_are_taken_only_a_little(workers: int) -> None:
    taken = itertools.count()
    items = (next(taken) for _ in range(1_000_000))
    results = map_in_order(lambda item: item, items, workers)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert next(taken) <= 10 + 2 * workers + 1


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_ends_the_work(workers: int) -> None:
    taken = itertools.count()
    results = map_in_order(lambda item: 1 // (item - 3), (next(taken) for _ in range(1_000_000)), workers)
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert next(taken) < 20
