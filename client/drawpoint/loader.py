"""A DataLoader that knows where it is: epochs, state to resume, and what the loading costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from drawpoint.sampler import ResumableSampler

if TYPE_CHECKING:
    from drawpoint.dataset import SampleDataset


@dataclass(frozen=True, slots=True)
class LoaderReport:
    """What came out of a loader: samples, bytes of their tensors, and seconds, `waiting` of them for a batch."""

    samples: int = 0
    nbytes: int = 0
    seconds: float = 0.0
    waiting: float = 0.0

    @property
    def samples_per_second(self) -> float:
        return self.samples / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        return self.nbytes / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        share = self.waiting / self.seconds if self.seconds else 0.0
        return (
            f"{self.samples} samples, {self.nbytes / 1e6:.1f} MB in {self.seconds:.1f} s: "
            f"{self.samples_per_second:.1f} samples/s, {self.bytes_per_second / 1e6:.1f} MB/s; "
            f"{share:.0%} of the time was spent waiting for data"
        )


class SampleLoader:
    """Batches of a SampleDataset, epoch after epoch; each pass over it is one epoch, the next begins by itself.

    A pass that was left early is taken up where it was left. `seed` names the orders of the epochs (the dataset's by
    default); `rank`, `world_size` and `drop_last` are those of a distributed training. `batch_size=None` gives single
    items. `options` are those of torch's DataLoader. `report` is what this and earlier passes cost.

    `state_dict` counts the batches that have come out, so that one taken in the middle of an epoch, after the step
    of a batch, leads to the next batch. It holds for any number of workers, and for another number of ranks.
    """

    def __init__(
        self,
        dataset: SampleDataset,
        batch_size: int | None = 1,
        *,
        shuffle: bool = True,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        **options: Any,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.report = LoaderReport()
        self._sampler = ResumableSampler(
            dataset,
            shuffle=shuffle,
            seed=dataset.seed if seed is None else seed,
            rank=rank,
            world_size=world_size,
            drop_last=drop_last,
        )
        # Without batches DataLoader has nothing to drop, and says so.
        drop_batch = drop_last and batch_size is not None
        self._loader: DataLoader[Any] = DataLoader(
            dataset, batch_size, sampler=self._sampler, drop_last=drop_batch, **options
        )

    def __len__(self) -> int:
        """Return how many batches of the epoch are left."""
        return len(self._loader)

    @property
    def epoch(self) -> int:
        """The epoch that the next batch belongs to."""
        return self._sampler.epoch

    def set_epoch(self, epoch: int) -> None:
        """Begin `epoch`; if it is the present one, it goes on where it is. Raises InvalidDraw unless it is >= 0."""
        self._sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Return what `load_state_dict` takes: the epoch, how much of it has come out, and of what."""
        return self._sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where `state` was taken; raises InvalidParameter if it is of other samples or another seed."""
        self._sampler.load_state_dict(state)

    def __iter__(self) -> Iterator[Any]:
        self.dataset.set_epoch(self.epoch)
        epoch, begun = self.epoch, time.perf_counter()
        batches = iter(self._loader)
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            came = time.perf_counter()
            if batch is None:
                break
            count = 1 if self.batch_size is None else min(self.batch_size, len(self._sampler))
            self._sampler.advance(count)
            self.report = replace(
                self.report,
                samples=self.report.samples + count,
                nbytes=self.report.nbytes + _count_bytes(batch),
                waiting=self.report.waiting + came - asked,
            )
            try:
                yield batch
            finally:
                now = time.perf_counter()
                self.report = replace(self.report, seconds=self.report.seconds + now - begun)
                begun = now
        if self.epoch == epoch:  # unless the training has gone elsewhere meanwhile
            self._sampler.set_epoch(epoch + 1)


def _count_bytes(batch: Any) -> int:
    if isinstance(batch, torch.Tensor):
        return batch.nbytes
    if isinstance(batch, Mapping):
        return sum(_count_bytes(value) for value in batch.values())
    if isinstance(batch, list | tuple):
        return sum(_count_bytes(value) for value in batch)
    return 0
