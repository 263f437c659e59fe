"""A DataLoader that knows where it is: epochs, state to resume, and what the loading costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch.utils.data import DataLoader

from drawpoint.errors import InvalidParameter
from drawpoint.training.dataset import SampleDataset
from drawpoint.training.sampler import ResumableSampler

if TYPE_CHECKING:
    from torch.utils.data import ConcatDataset, Subset


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

    `dataset` may be a Subset or ConcatDataset of such datasets, or have a `set_epoch` of its own. A pass that was left
    early is taken up where it was left; one whose last batch has come out is over, whether or not one more was asked
    for. `len` is that of whole epochs. `seed` names the orders of the epochs (the dataset's by default); `rank`,
    `world_size` and `drop_last` are those of a distributed training. `batch_size=None` gives single items. `options`
    are those of torch's DataLoader. `report` is what this and earlier passes cost. `sampler` is the ResumableSampler
    that holds order and place.

    `state_dict` counts the batches that have come out, so that one taken in the middle of an epoch, after the step
    of a batch, leads to the next batch. It holds for any number of workers, and for another number of ranks.

    Raises InvalidParameter for a dataset without epochs, and for numbers that cannot be meant, as InvalidDraw.
    """

    def __init__(
        self,
        dataset: SampleDataset | Subset[Any] | ConcatDataset[Any],
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
        self._drawn = _find_datasets(dataset)
        for each in self._drawn:
            if isinstance(each, SampleDataset):
                each.shared_epoch.reminds = False
        self.batch_size = batch_size
        self.report = LoaderReport()
        self.sampler = ResumableSampler(
            dataset,
            shuffle=shuffle,
            seed=getattr(self._drawn[0], "seed", 0) if seed is None else seed,
            rank=rank,
            world_size=world_size,
            drop_last=drop_last,
        )
        # Without batches DataLoader has nothing to drop, and says so.
        drop_batch = drop_last and batch_size is not None
        self._loader: DataLoader[Any] = DataLoader(
            dataset, batch_size, sampler=self.sampler, drop_last=drop_batch, **options
        )
        self._length = len(self._loader)

    def __len__(self) -> int:
        """Return how many batches an epoch has; Lightning and progress bars count up to it after a resume, too."""
        return self._length

    @property
    def batch_sampler(self) -> NoReturn:
        # Accelerate's skip_first_batches would make a DataLoader of it, which knows nothing of the place in the epoch.
        # Lightning looks at it to validate, and would begin with the third batch after its check of two.
        raise AttributeError(
            "a SampleLoader has no batch_sampler: to skip batches, load_state_dict of where to go on; to validate or "
            "test with Lightning, give it a DataLoader of a dataset with mode='fixed'."
        )

    @property
    def epoch(self) -> int:
        """The epoch that the next batch belongs to."""
        return self.sampler.epoch

    def set_epoch(self, epoch: int) -> None:
        """Begin `epoch`; if it is the present one, it goes on where it is. Raises InvalidDraw unless it is >= 0."""
        self.sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Return what `load_state_dict` takes: the epoch, how much of it has come out, and of what."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where `state` was taken; raises InvalidParameter if it is none, or of other samples or another seed."""
        self.sampler.load_state_dict(state)
        self._end_epoch(self.epoch)

    def __iter__(self) -> Iterator[Any]:
        self._end_epoch(self.epoch)
        epoch, begun = self.epoch, time.perf_counter()
        for dataset in self._drawn:
            dataset.set_epoch(epoch)
        batches = iter(self._loader)
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            came = time.perf_counter()
            if batch is None:
                break
            count = 1 if self.batch_size is None else min(self.batch_size, len(self.sampler))
            self.sampler.advance(count)
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
                self._end_epoch(epoch)
        if self.epoch == epoch and not self._length:  # even epochs without a batch pass
            self.set_epoch(epoch + 1)

    def _end_epoch(self, epoch: int) -> None:
        """Go on to the next epoch if the last batch of `epoch` has come out and the training is still there.

        Who takes exactly `len` batches does not ask for one more: that epoch ends when its iterator goes or another
        begins.
        """
        if self.epoch == epoch and self._length and not len(self._loader):
            self.set_epoch(epoch + 1)


def _find_datasets(dataset: Any) -> list[Any]:
    """Return the datasets with epochs that `dataset` is made of: itself, or those of Subsets and ConcatDatasets."""
    if hasattr(dataset, "set_epoch"):
        return [dataset]
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    if inner == [None]:
        raise InvalidParameter(
            f"a SampleLoader sets the epochs of SampleDatasets, and {type(dataset).__name__} holds none, nor has it a "
            "set_epoch; give such data to a DataLoader."
        )
    return [found for each in inner for found in _find_datasets(each)]


def _count_bytes(batch: Any) -> int:
    if isinstance(batch, torch.Tensor):
        return batch.nbytes
    if isinstance(batch, Mapping):
        return sum(_count_bytes(value) for value in batch.values())
    if isinstance(batch, list | tuple):
        return sum(_count_bytes(value) for value in batch)
    return 0
