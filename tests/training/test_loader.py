"""An interrupted training resumes with the batches that it would have had, and a report says what they cost."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset, random_split

from drawpoint import SampleDataset, SampleLoader
from drawpoint.errors import InvalidParameter, ServiceUnavailable
from drawpoint_store import ZarrChunkReader

from .conftest import Reader

COUNTS = {"surface": 4, "volume": 5}
EPOCHS = 3
BATCHES = 4  # an epoch: 7 samples, 2 at a time

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def make_loader(reader: Reader, **options: Any) -> SampleLoader:
    dataset = SampleDataset(reader, num_points=COUNTS, num_geometry_points=2, seed=4, with_sample_id=True)
    return SampleLoader(dataset, 2, **options)


def train(loader: SampleLoader, seen: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Go on to the end of the last epoch; what came before a failure is in `seen`, too."""
    seen = [] if seen is None else seen
    for _ in range(loader.epoch, EPOCHS):
        for batch in loader:
            seen.append(batch)
    return seen


def assert_equal_batches(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [batch["sample_id"] for batch in found] == [batch["sample_id"] for batch in expected]
    for batch, other in zip(found, expected, strict=True):
        for field in batch.keys() - {"sample_id"}:
            assert torch.equal(batch[field], other[field])


@pytest.fixture(scope="module")
def uninterrupted(local: ZarrChunkReader) -> list[dict[str, Any]]:
    return train(make_loader(local))


def test_each_pass_is_an_epoch_of_its_own(uninterrupted: list[dict[str, Any]], local: ZarrChunkReader) -> None:
    epochs = [uninterrupted[at : at + BATCHES] for at in range(0, EPOCHS * BATCHES, BATCHES)]
    orders = [[sample_id for batch in epoch for sample_id in batch["sample_id"]] for epoch in epochs]
    assert all(sorted(order) == sorted(local.manifest.samples) for order in orders)
    assert len({tuple(order) for order in orders}) == EPOCHS
    loader = make_loader(local)
    loader.set_epoch(2)
    assert_equal_batches(list(loader), epochs[2])


@pytest.mark.parametrize("step", [0, 1, 4, 5, 12])
def test_a_resumed_training_gets_the_batches_of_an_uninterrupted_one(
    local: ZarrChunkReader, uninterrupted: list[dict[str, Any]], step: int
) -> None:
    first = make_loader(local)
    before: list[dict[str, Any]] = []
    state = first.state_dict()
    while len(before) < step:
        for batch in first:
            before.append(batch)
            state = first.state_dict()
            if len(before) == step:
                break
    second = make_loader(local)
    second.load_state_dict(json.loads(json.dumps(state)))
    assert_equal_batches([*before, *train(second)], uninterrupted)


def test_workers_and_reader_may_change_on_resume(reader: Reader, uninterrupted: list[dict[str, Any]]) -> None:
    # Workers read ahead; what counts is what came out.
    first = make_loader(reader, num_workers=2, multiprocessing_context="fork", persistent_workers=True)
    before = []
    for batch in first:
        before.append(batch)
        if len(before) == 2:
            break
    second = make_loader(reader)
    second.load_state_dict(first.state_dict())
    assert_equal_batches([*before, *train(second)], uninterrupted)
    # The same loader goes on where it was left, too, with the workers that it has.
    assert_equal_batches([*before, *train(first)], uninterrupted)


class Interrupted:
    """A reader that fails once, as one does whose service stays away for longer than the deadline."""

    def __init__(self, reader: ZarrChunkReader, batch: int) -> None:
        self.manifest = reader.manifest
        self._reader = reader
        self._left = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def read_batch(self, *args: Any, **kwargs: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            raise ServiceUnavailable("store 'small': no connection.")
        return self._reader.read_batch(*args, **kwargs)


@pytest.mark.parametrize("batch", [1, 6])
def test_an_outage_loses_and_repeats_no_sample(
    local: ZarrChunkReader, uninterrupted: list[dict[str, Any]], batch: int
) -> None:
    reader: Any = Interrupted(local, batch)
    loader = make_loader(reader)
    seen: list[dict[str, Any]] = []
    with pytest.raises(ServiceUnavailable):
        train(loader, seen)
    assert len(seen) == batch - 1
    assert_equal_batches([*seen, *train(loader)], uninterrupted)


def test_ranks_share_each_epoch(local: ZarrChunkReader, uninterrupted: list[dict[str, Any]]) -> None:
    seen = [list(make_loader(local, rank=rank, world_size=2)) for rank in range(2)]
    assert [len(batches) for batches in seen] == [2, 2]
    items = {
        sample_id: batch["volume_velocity"][place]
        for batch in uninterrupted[:BATCHES]
        for place, sample_id in enumerate(batch["sample_id"])
    }
    found = [
        (sample_id, batch["volume_velocity"][place])
        for batches in seen
        for batch in batches
        for place, sample_id in enumerate(batch["sample_id"])
    ]
    assert {sample_id for sample_id, _ in found} == set(items)
    assert all(torch.equal(tensor, items[sample_id]) for sample_id, tensor in found)


@pytest.mark.parametrize("options", [{}, {"num_workers": 2, "multiprocessing_context": "fork", "drop_last": True}])
def test_an_epoch_ends_with_its_last_batch(local: ZarrChunkReader, options: dict[str, Any]) -> None:
    expected = train(make_loader(local, **options))
    loader = make_loader(local, **options)
    seen = [batch for _ in range(EPOCHS) for batch in itertools.islice(loader, len(loader))]
    assert_equal_batches(seen, expected)
    assert loader.epoch == EPOCHS


def test_the_next_iterator_ends_the_epoch_of_one_that_is_kept(
    local: ZarrChunkReader, uninterrupted: list[dict[str, Any]]
) -> None:
    loader = make_loader(local)
    kept = [iter(loader) for _ in range(EPOCHS)]
    assert_equal_batches([next(batches) for batches in kept for _ in range(len(loader))], uninterrupted)
    del kept
    assert loader.epoch == EPOCHS


def test_epochs_without_batches_end_too(local: ZarrChunkReader) -> None:
    loader = SampleLoader(SampleDataset(local, ["run/1"], num_points=COUNTS), 2, drop_last=True)
    assert len(loader) == 0
    for epoch in range(3):
        assert loader.epoch == epoch
        assert list(loader) == []


class TestSubsetsAndConcatenations:
    def test_of_random_split_get_new_points_each_epoch(self, local: ZarrChunkReader) -> None:
        whole = SampleDataset(local, num_points=COUNTS, seed=4, with_sample_id=True)
        train_set, held_out = random_split(whole, [5, 2], torch.Generator().manual_seed(0))
        loader = SampleLoader(train_set, 2, num_workers=2, multiprocessing_context="fork")
        assert loader.state_dict()["seed"] == 4
        expected = SampleDataset(local, num_points=COUNTS, seed=4)
        for epoch in range(2):
            expected.set_epoch(epoch)
            seen = []
            for batch in loader:
                for place, sample_id in enumerate(batch["sample_id"]):
                    seen.append(sample_id)
                    item = expected[expected.sample_ids.index(sample_id)]
                    assert torch.equal(batch["volume_velocity"][place], item["volume_velocity"])
            assert sorted(seen) == sorted(whole.sample_ids[index] for index in train_set.indices)
        assert len(SampleLoader(held_out)) == 2

    def test_of_several_datasets_set_the_epoch_of_each(self, local: ZarrChunkReader) -> None:
        parts = [SampleDataset(local, [sample_id], num_points=COUNTS) for sample_id in ("run/1", "run/2")]
        loader = SampleLoader(ConcatDataset([Subset(parts[0], [0]), parts[1]]), 2)
        (first,), (second,) = loader, loader
        assert [part.epoch for part in parts] == [1, 1]
        assert not torch.equal(first["volume_velocity"], second["volume_velocity"])

    def test_of_any_dataset_with_set_epoch_are_loaded(self) -> None:
        class Numbers(list[int]):
            def set_epoch(self, epoch: int) -> None:
                self[:] = [epoch] * len(self)

        numbers: Any = Numbers([0, 0, 0])
        loader = SampleLoader(Subset(numbers, [0, 2]), 2)
        assert [batch.tolist() for _ in range(3) for batch in loader] == [[0, 0], [1, 1], [2, 2]]

    def test_without_epochs_are_refused(self) -> None:
        with pytest.raises(InvalidParameter, match=r"TensorDataset is none; use torch's DataLoader for it"):
            SampleLoader(Subset(TensorDataset(torch.zeros(3)), [0]))


def test_batch_size_none_gives_single_items(local: ZarrChunkReader) -> None:
    loader = SampleLoader(SampleDataset(local, num_points=COUNTS), None, shuffle=False, drop_last=True)
    assert len(loader) == 7
    expected = SampleDataset(local, num_points=COUNTS)
    for index, item in enumerate(loader):
        assert torch.equal(item["volume_position"], expected[index]["volume_position"])
        assert loader.state_dict()["done"] == index + 1


class TestReport:
    def test_counts_samples_and_the_bytes_of_their_tensors(self, local: ZarrChunkReader) -> None:
        loader = make_loader(local)
        list(loader)
        # float32: positions and pressure of 4, positions and velocity of 5, geometry of 2
        assert loader.report.samples == 7
        assert loader.report.nbytes == 7 * 4 * (4 * 4 + 5 * 6 + 2 * 3)
        list(loader)
        assert loader.report.samples == 14

    def test_separates_waiting_from_training(self, local: ZarrChunkReader, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter([0.0, *(float(second) for second in range(100))])
        monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
        loader = make_loader(local)
        list(loader)
        # The clock ticks at the start, and for each batch when it is asked for, when it came, and when it is done.
        assert loader.report.waiting == BATCHES
        assert loader.report.seconds == BATCHES * 3 - 1
