"""Items are the same in any process, for all start methods and both readers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from drawpoint import SampleDataset
from drawpoint_store import ZarrChunkReader

from .conftest import Reader

COUNTS = {"surface": 4, "volume": 5}
EPOCHS = (0, 1, 5)

# Python 3.12 and later warn of any fork in a process with threads, here those of the service.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def make_dataset(reader: Reader, mode: Any = "independent") -> SampleDataset:
    return SampleDataset(reader, num_points=COUNTS, num_geometry_points=3, normalise=True, seed=9, mode=mode)


def assert_equal_batches(found: list[dict[str, torch.Tensor]], expected: list[dict[str, torch.Tensor]]) -> None:
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        assert batch.keys() == other.keys()
        assert all(torch.equal(batch[field], other[field]) for field in batch)


@pytest.fixture(scope="module")
def expected(local: ZarrChunkReader) -> dict[int, list[dict[str, torch.Tensor]]]:
    """What a loop without any loader reads, by epoch."""
    dataset = make_dataset(local)
    found = {}
    for epoch in EPOCHS:
        dataset.set_epoch(epoch)
        items = [dataset[index] for index in range(len(dataset))]
        batches = [items[:3], items[3:6], items[6:]]
        found[epoch] = [
            {field: torch.stack([item[field] for item in batch]) for field in batch[0]} for batch in batches
        ]
    return found


@pytest.mark.parametrize(
    ("method", "workers", "reader"),
    [("fork", 2, "local"), ("fork", 2, "remote"), ("spawn", 1, "remote")],
    indirect=["reader"],
)
def test_workers_of_any_start_method_give_the_same_tensors(
    reader: Reader, method: str, workers: int, expected: dict[int, list[dict[str, torch.Tensor]]]
) -> None:
    dataset = make_dataset(reader)
    # Workers that persist hold a copy of the dataset from the first epoch on; set_epoch must reach it.
    options: dict[str, Any] = {"multiprocessing_context": method, "persistent_workers": True}
    loader: DataLoader[Any] = DataLoader(dataset, 3, num_workers=workers, **options)
    for epoch in EPOCHS:
        dataset.set_epoch(epoch)
        assert_equal_batches(list(loader), expected[epoch])


def test_batches_read_ahead_do_not_reach_into_the_next_epoch(local: ZarrChunkReader, expected: dict[int, Any]) -> None:
    dataset = make_dataset(local)
    loader: DataLoader[Any] = DataLoader(
        dataset, 3, num_workers=2, multiprocessing_context="fork", persistent_workers=True, prefetch_factor=2
    )
    for _ in loader:
        break
    dataset.set_epoch(5)
    assert_equal_batches(list(loader), expected[5])
