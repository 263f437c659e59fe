"""A DataLoader that can resume: its sampler, its epochs, and a report of what loading costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch.utils.data import ConcatDataset, DataLoader, Sampler

from drawpoint.draw.philox import PhiloxStream
from drawpoint.draw.seeds import MAX_SEED, check_integer, check_seed
from drawpoint.errors import InvalidParameter
from drawpoint.training.dataset import SampleDataset

if TYPE_CHECKING:
    from collections.abc import Sized

    from torch.utils.data import Subset

STATE_VERSION = 1


class ResumableSampler(Sampler[int]):
    """The shuffled indices of one epoch, resumable at any position.

    The order depends on `seed`, the epoch and the length of `dataset` alone, so that ranks need not communicate. Each
    rank gets the same number of indices: some are repeated where they do not divide, or with `drop_last` left out.
    Call `advance` with the number of samples that the training has consumed: a DataLoader's workers take indices long
    before. `state_dict` describes all ranks together, so that a training may resume with another number of ranks.

    Raises InvalidDraw and InvalidParameter for invalid arguments.
    """

    def __init__(
        self,
        dataset: Sized,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        check_integer("world_size", world_size, 1)
        if not (hasattr(rank, "__index__") and 0 <= rank < world_size):
            raise InvalidParameter.of("rank", str(rank), f"an integer in 0..{world_size - 1}")
        self.n_samples = len(dataset)
        self.shuffle = shuffle
        self.seed = check_seed(seed)
        self.rank = rank
        self.world_size = world_size
        self.drop_last = drop_last
        self.epoch = 0
        self._begin = 0  # where in the epoch's order all ranks began, or resumed, together
        self._taken = 0  # how many this rank has consumed since then

    def __len__(self) -> int:
        """Return how many indices of the epoch are left for this rank."""
        left = self.n_samples - self._begin
        return (left // self.world_size if self.drop_last else -(-left // self.world_size)) - self._taken

    def __iter__(self) -> Iterator[int]:
        order = PhiloxStream("order/1", self.seed, self.epoch).permutation(self.n_samples) if self.shuffle else None
        begin = self._begin + self._taken * self.world_size + self.rank
        for step in range(len(self)):
            index = (begin + step * self.world_size) % self.n_samples
            yield index if order is None else int(order[index])

    def set_epoch(self, epoch: int) -> None:
        """Begin `epoch`, an integer >= 0. If it is the present one, its position is kept."""
        if check_integer("epoch", epoch) != self.epoch:
            self.epoch, self._begin, self._taken = epoch, 0, 0

    def advance(self, count: int) -> None:
        """Record that this rank has consumed `count` more indices."""
        if not 0 <= count <= len(self):
            raise InvalidParameter.of("count", str(count), f"an integer in 0..{len(self)}, the indices left")
        self._taken += count

    def state_dict(self) -> dict[str, int]:
        """Return the position in the epoch. It is equal on ranks that have advanced equally."""
        done = min(self._begin + self._taken * self.world_size, self.n_samples)
        return {
            "version": STATE_VERSION,
            "seed": self.seed,
            "n_samples": self.n_samples,
            "epoch": self.epoch,
            "done": done,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the position `state`. Raises InvalidParameter if it is invalid, or of other samples or another seed."""
        mine = self.state_dict()
        missing = sorted(mine.keys() - state.keys()) if isinstance(state, Mapping) else list(mine)
        if missing:
            raise InvalidParameter(f"the state has no {', '.join(missing)}; load what state_dict returned.")
        for name in ("version", "n_samples", "seed"):
            if state.get(name) != mine[name]:
                raise InvalidParameter(
                    f"the state is of {name} {state.get(name)!r}, this sampler of {mine[name]}; make the sampler as it "
                    "was when the state was saved.",
                )
        for name, most in (("epoch", MAX_SEED), ("done", self.n_samples)):
            if not (isinstance(state[name], int) and 0 <= state[name] <= most):
                raise InvalidParameter(
                    f"the state's {name} must be an integer in 0..{most}, not {state[name]!r}; load what state_dict "
                    "returned."
                )
        self.epoch, self._begin, self._taken = state["epoch"], state["done"], 0


@dataclass(frozen=True, slots=True)
class LoaderReport:
    """The samples and tensor bytes that a loader gave, in how many seconds, `waiting` of which for batches."""

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
    """A resumable DataLoader over a SampleDataset. Each pass over it is one epoch, and the next epoch follows.

    A pass that was left early resumes where it was left. An epoch ends with its last batch, whether or not the loop
    asks for one more. `len` is the number of batches of a whole epoch.

    - `dataset`: A SampleDataset, a ConcatSampleDataset, a Subset or ConcatDataset of some, or any dataset with a
      `set_epoch`.
    - `batch_size`: Samples a batch; None for single items.
    - `shuffle`: Whether each epoch has an order of its own.
    - `seed`: Determines the order of each epoch. By default the dataset's seed.
    - `rank`, `world_size`: This process among those of a distributed training.
    - `drop_last`: Leaves out a short last batch, and samples that do not divide by the ranks.
    - `options`: Any other option of torch's DataLoader.
    - `report`: What all passes so far have cost, as a LoaderReport.
    - `sampler`: The ResumableSampler with order and position.

    Raises InvalidParameter for a dataset without epochs, and InvalidParameter or InvalidDraw for invalid numbers.
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
                each.shared_epoch.warn_repeats = False
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
        # DataLoader refuses drop_last without batches.
        drop_batch = drop_last and batch_size is not None
        self._loader: DataLoader[Any] = DataLoader(
            dataset, batch_size, sampler=self.sampler, drop_last=drop_batch, **options
        )
        self._length = len(self._loader)

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, also after a resume, as Lightning and progress bars expect."""
        return self._length

    @property
    def batch_sampler(self) -> NoReturn:
        # Accelerate's skip_first_batches would build a DataLoader from it, which has no position in the epoch.
        # Lightning reads it for validation, which would start at the third batch after the sanity check took two.
        raise AttributeError(
            "a SampleLoader has no batch_sampler: to skip batches, use load_state_dict; to validate or test with "
            "Lightning, give it a DataLoader of a dataset with mode='fixed'."
        )

    @property
    def epoch(self) -> int:
        """The epoch that the next batch belongs to."""
        return self.sampler.epoch

    def set_epoch(self, epoch: int) -> None:
        """Begin `epoch`, an integer >= 0. If it is the present one, its position is kept. Raises InvalidDraw."""
        self.sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Return the position after the last batch that came out, as a few integers to save with the model.

        It holds for any number of workers and ranks.
        """
        return self.sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the position `state`. Raises InvalidParameter if it is invalid, or of other samples or another seed."""
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
        if self.epoch == epoch and not self._length:  # an epoch without batches ends too
            self.set_epoch(epoch + 1)

    def _end_epoch(self, epoch: int) -> None:
        """Begin the next epoch if `epoch` is the present one and its last batch has come out.

        A loop that takes exactly `len` batches never asks for one more. Its epoch ends when the iterator is closed,
        or when the next one begins.
        """
        if self.epoch == epoch and self._length and not len(self._loader):
            self.set_epoch(epoch + 1)


def _find_datasets(dataset: Any) -> list[Any]:
    """Return the datasets that have epochs: `dataset`, or those inside Subsets and ConcatDatasets."""
    if hasattr(dataset, "set_epoch") and not isinstance(dataset, ConcatDataset):
        return [dataset]
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    if inner == [None]:
        raise InvalidParameter(
            f"a SampleLoader needs a SampleDataset or a dataset with set_epoch, and {type(dataset).__name__} is none; "
            "use torch's DataLoader for it."
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
