"""A DataLoader that passes twice over one epoch causes one warning. Nothing else does."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, Subset, WeightedRandomSampler

from drawpoint import SampleDataset, SampleLoader
from drawpoint_store import ZarrChunkReader

COUNTS = {"surface": 4, "volume": 5}
TOLD = r"second pass .* in epoch 0 .* set_epoch\(epoch\) .*SampleLoader.* mode='fixed'"

# In pytest a warning is an error, also in worker processes, whose errors DataLoader raises: silence is tested, too.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")

WORKERS: list[dict[str, Any]] = [
    {"num_workers": 2, "multiprocessing_context": method, "persistent_workers": persistent}
    for method, persistent in (("fork", False), ("fork", True))
]


def make_dataset(local: ZarrChunkReader, **options: Any) -> SampleDataset:
    return SampleDataset(local, num_points=COUNTS, **options)


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], int]]:
    """Counts the warnings of this process and its workers, which all write them to standard error."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        os.write(2, f"UserWarning: {message}\n".encode())

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield lambda: capfd.readouterr().err.count("UserWarning: a second pass")


@pytest.mark.parametrize("options", [{}, *WORKERS])
def test_a_forgotten_set_epoch_is_warned_of_once(
    local: ZarrChunkReader, told: Callable[[], int], options: dict[str, Any]
) -> None:
    loader: DataLoader[Any] = DataLoader(make_dataset(local), 2, shuffle=True, **options)
    list(loader)
    assert told() == 0
    list(loader)
    assert told() == 1
    list(loader)
    assert told() == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda dataset: DataLoader(dataset, None),
        lambda dataset: DataLoader(dataset, len(dataset)),
        lambda dataset: DataLoader(Subset(dataset, [0, 2, 5]), 2),
        lambda dataset: DataLoader(dataset + dataset, 2),
        lambda dataset: DataLoader(dataset, 1, sampler=DistributedSampler(dataset, 3, 1)),
        lambda dataset: DataLoader(dataset, 1, sampler=RandomSampler(dataset, replacement=True, num_samples=50)),
    ],
    ids=["single items", "one batch", "subset", "twice", "a rank", "with replacement"],
)
def test_a_second_pass_is_noticed_with_any_sampler(
    local: ZarrChunkReader, make: Callable[[SampleDataset], DataLoader[Any]]
) -> None:
    loader = make(make_dataset(local))
    list(loader)
    with pytest.warns(UserWarning, match=TOLD):
        list(loader)
    list(loader)


@pytest.mark.parametrize("options", [{}, *WORKERS])
def test_set_epochs_replacement_the_fixed_mode_and_a_sample_loader_cause_no_warning(
    local: ZarrChunkReader, options: dict[str, Any]
) -> None:
    dataset = make_dataset(local)
    sampler = WeightedRandomSampler([1.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0], 30)
    drawn: DataLoader[Any] = DataLoader(dataset, 2, sampler=sampler, **options)
    shuffled: DataLoader[Any] = DataLoader(dataset, 2, shuffle=True, **options)
    fixed: DataLoader[Any] = DataLoader(make_dataset(local, mode="fixed"), 2, **options)
    own = SampleLoader(make_dataset(local), 2, **options)
    for epoch in (0, 1, 1):
        for loader in (drawn, shuffled):
            dataset.set_epoch(epoch)
            list(loader)
        list(fixed)
        list(own)
        next(iter(own))


def test_indexing_and_single_batches_cause_no_warning(local: ZarrChunkReader) -> None:
    dataset = make_dataset(local)
    for _ in range(3):
        assert [dataset[index] for index in (0, 0, 1, 0)]
        assert [dataset[index] for index in range(7)]
        assert dataset.__getitems__([0, 1])
    loader: DataLoader[Any] = DataLoader(dataset, 2)
    next(iter(loader))
    next(iter(loader))
    list(loader)


def test_read_ahead_of_workers_causes_no_warning(local: ZarrChunkReader) -> None:
    dataset = make_dataset(local)
    loader: DataLoader[Any] = DataLoader(
        dataset, 1, num_workers=2, multiprocessing_context="fork", persistent_workers=True, prefetch_factor=3
    )
    for epoch in range(5):
        dataset.set_epoch(epoch)
        next(iter(loader))


def test_copies_count_their_own_passes(local: ZarrChunkReader) -> None:
    dataset = make_dataset(local)
    list(DataLoader(dataset, 2))
    twin: SampleDataset = pickle.loads(pickle.dumps(dataset))
    with pytest.warns(UserWarning, match=TOLD):
        list(DataLoader(twin, 2))
    with pytest.warns(UserWarning, match=TOLD):
        list(DataLoader(dataset, 2))
