from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from drawpoint_store import StoreManifest, ZarrChunkReader
from drawpoint_store.inspecting.blocks import map_in_order, plan_blocks, read_block, single_chunks

if TYPE_CHECKING:
    from pathlib import Path


class TestBlocks:
    @pytest.mark.parametrize(
        ("block_points", "most"), [(1, 256), (256, 256), (1_000, 768), (4_096, 4_096), (10**6, 10_000)]
    )
    def test_are_of_bounded_size_and_hold_each_row_once_in_stored_order(
        self, store_root: Path, block_points: int, most: int
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

    def test_are_of_the_fields_asked_for(self, store_root: Path) -> None:
        manifest = StoreManifest.load(store_root)
        plans = list(plan_blocks(manifest, "param0/run", ["volume_sdf", "volume_position"], block_points=5_000))
        assert [list(plan.arrays) for plan in plans] == [["volume_position", "volume_sdf"]] * 3

    def test_divide_into_single_chunks(self, store_root: Path) -> None:
        manifest = StoreManifest.load(store_root)
        (block,) = plan_blocks(manifest, "param0/run", ["surface_area"])
        chunks = list(single_chunks(block))
        assert [chunk.arrays["surface_area"].shape for chunk in chunks] == [(256,)] * 5 + [(220,)]
        assert [chunk.draws["surface"].rows[0].chunk for chunk in chunks] == list(range(6))


class TestMappingInOrder:
    @pytest.mark.parametrize("workers", [1, 3])
    def test_keeps_the_order_of_the_items(self, workers: int) -> None:
        assert list(map_in_order(lambda item: item * item, range(50), workers)) == [item * item for item in range(50)]

    def test_keeps_the_order_although_the_first_item_ends_last(self) -> None:
        second_is_done = threading.Event()

        def work(item: int) -> int:
            if item == 0:
                assert second_is_done.wait(30)
            else:
                second_is_done.set()
            return item

        assert list(map_in_order(work, [0, 1], 2)) == [0, 1]

    @pytest.mark.parametrize("workers", [1, 2])
    def test_runs_ahead_of_who_takes_the_results_only_a_little(self, workers: int) -> None:
        taken = itertools.count()
        items = (next(taken) for _ in range(1_000_000))
        results = map_in_order(lambda item: item, items, workers)
        assert [next(results) for _ in range(10)] == list(range(10))
        assert next(taken) <= 10 + 2 * workers + 1

    @pytest.mark.parametrize("workers", [1, 2])
    def test_passes_an_error_on_and_stops(self, workers: int) -> None:
        taken = itertools.count()
        results = map_in_order(lambda item: 1 // (item - 3), (next(taken) for _ in range(1_000_000)), workers)
        with pytest.raises(ZeroDivisionError):
            list(results)
        assert next(taken) < 20
