"""The epoch of a dataset, in memory that worker processes share, and what has been asked for in it."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import get_worker_info

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

_EPOCH, _SETS, _TOLD, _PASSES = range(4)
"""What the shared numbers are: the epoch, how often it was set, whether it was warned of, then one number a sample."""

_FETCH = "_MapDatasetFetcher.fetch"
"""What of torch's DataLoader asks a dataset for items: its fetcher, which is made anew for each pass."""


class SharedEpoch:
    """The epoch of a dataset of `n_samples`; to set it reaches worker processes that are alive.

    With `reminds` it warns, once, when a second pass of a DataLoader asks for what an earlier pass in the same epoch
    has asked for, so that it gets the same points: nobody set the epoch in between. It is noted in shared memory which
    pass asked for each item, since workers hold copies of the dataset, and forked ones are forgotten after each pass.
    Repeats within a pass mean nothing, since samplers may draw with replacement. Nor does what is asked for by hand, or
    by a pass that was left after its first batch: those are looks at the data.
    """

    def __init__(self, n_samples: int, *, reminds: bool) -> None:
        self.reminds = reminds
        self._shared = _share(torch.zeros(_PASSES + n_samples, dtype=torch.int64))
        self._fetcher: Any = None
        self._fetchers = 0
        self._begun_at = 0  # how often the epoch had been set when the present pass began

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_fetcher": None}  # it holds the dataset, and is of this process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._shared = _share(self._shared)  # a plain pickle holds its values; workers of the copy share others

    def __int__(self) -> int:
        return int(self._numbers[_EPOCH])

    @property
    def _numbers(self) -> npt.NDArray[np.int64]:
        return self._shared.numpy()  # the same memory; NumPy looks at single numbers in a tenth of the time

    def set(self, epoch: int) -> None:
        numbers = self._numbers
        numbers[_PASSES:] = 0
        numbers[_SETS] += 1
        numbers[_EPOCH] = epoch

    def note(self, places: Sequence[int]) -> None:
        """Take note that the items at `places` are asked for, and warn if another pass had them in this epoch."""
        numbers = self._numbers
        fetcher = _find_fetcher() if self.reminds and not numbers[_TOLD] else None
        if fetcher is None:
            return
        if fetcher is not self._fetcher:
            self._fetcher = fetcher
            self._fetchers += 1
            self._begun_at = int(numbers[_SETS])
        if self._begun_at != numbers[_SETS]:
            return  # workers go on with what was asked of them before the epoch was set
        worker = get_worker_info()
        # All workers of a pass have one base seed; those that persist keep it, and get a new fetcher.
        this = hash((0 if worker is None else worker.seed - worker.id, self._fetchers))
        passes = numbers[_PASSES:]
        before = passes[list(places)]
        before = before[(before != 0) & (before != this)]
        first_worker = worker is None or worker.id == 0  # one that tells, so that it is told once
        if first_worker and len(before) and (passes.all() or (passes == before[0]).sum() > len(places)):
            numbers[_TOLD] = 1
            warnings.warn(
                f"a second pass over the samples in epoch {int(self)} gets the same points as the first; call the "
                "dataset's set_epoch(epoch) before each epoch, or iterate over a drawpoint.SampleLoader, which does. "
                "If the same points are what you want, as for validation, say mode='fixed'.",
                stacklevel=3,
            )
        passes[list(places)] = this


def _find_fetcher() -> Any:
    """Return the fetcher of the DataLoader that asks, whatever lies in between; None if it is not one that asks.

    Nothing else distinguishes one pass over a dataset from the next: torch does not tell the dataset.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_qualname != _FETCH:
        frame = frame.f_back
    return None if frame is None else frame.f_locals["self"]


def _share(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in memory that processes share; one that is there already stays where it is."""
    shared: torch.Tensor = tensor.share_memory_()  # type: ignore[no-untyped-call]  # torch types it not
    return shared
