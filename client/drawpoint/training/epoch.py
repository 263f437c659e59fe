"""The epoch of a dataset, in memory that worker processes share."""

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

_EPOCH, _TIMES_SET, _WARNED, _LAST_PASS = range(4)
"""Layout of the shared integers: the epoch, how often it was set, whether the warning was given, and for each sample
the last pass that read it (0: none)."""

_FETCH = "_MapDatasetFetcher.fetch"
"""The method of torch's DataLoader that asks a dataset for items. Each pass has a new fetcher."""


class SharedEpoch:
    """The epoch of a dataset of `n_samples`. Setting it reaches worker processes that are already running.

    With `warn_repeats` it warns, once, when a DataLoader reads a sample that an earlier pass read in the same epoch:
    then nobody has set the epoch in between, and the training sees the same points again.

    - Repeats within one pass do not count: samplers may draw with replacement.
    - Items that are indexed by hand do not count, nor does a pass that was left after its first batch.
    - The passes are recorded in shared memory, since workers hold copies of the dataset and may end after each pass.
    """

    def __init__(self, n_samples: int, *, warn_repeats: bool) -> None:
        self.warn_repeats = warn_repeats
        self._shared = _share(torch.zeros(_LAST_PASS + n_samples, dtype=torch.int64))
        self._fetcher: Any = None
        self._pass_number = 0
        self._sets_at_begin = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_fetcher": None}  # it refers to the dataset, and means nothing in another process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._shared = _share(self._shared)  # an unpickled copy shares its own memory with its own workers

    def __int__(self) -> int:
        return int(self._numbers[_EPOCH])

    @property
    def _numbers(self) -> npt.NDArray[np.int64]:
        return self._shared.numpy()  # the same memory; NumPy reads single numbers ten times as fast

    def set(self, epoch: int) -> None:
        numbers = self._numbers
        numbers[_LAST_PASS:] = 0
        numbers[_TIMES_SET] += 1
        numbers[_EPOCH] = epoch

    def record(self, indices: Sequence[int]) -> None:
        """Record that the items at `indices` are read, and warn if an earlier pass read one of them in this epoch."""
        numbers = self._numbers
        fetcher = _find_fetcher() if self.warn_repeats and not numbers[_WARNED] else None
        if fetcher is None:
            return
        if fetcher is not self._fetcher:
            self._fetcher = fetcher
            self._pass_number += 1
            self._sets_at_begin = int(numbers[_TIMES_SET])
        if self._sets_at_begin != numbers[_TIMES_SET]:
            return  # a worker still reads ahead what it was asked for before the epoch was set
        worker = get_worker_info()
        # All workers of a pass share a base seed. Persistent workers keep it over passes, and get a new fetcher.
        this_pass = hash((0 if worker is None else worker.seed - worker.id, self._pass_number))
        last_pass = numbers[_LAST_PASS:]
        before = last_pass[list(indices)]
        before = before[(before != 0) & (before != this_pass)]
        first_worker = worker is None or worker.id == 0  # a single worker warns, so that it happens once
        if first_worker and len(before) and (last_pass.all() or (last_pass == before[0]).sum() > len(indices)):
            numbers[_WARNED] = 1
            warnings.warn(
                f"a second pass over the samples in epoch {int(self)} gets the same points as the first; call the "
                "dataset's set_epoch(epoch) before each epoch, or iterate over a drawpoint.SampleLoader, which does. "
                "If you want the same points, as for validation, say mode='fixed'.",
                stacklevel=3,
            )
        last_pass[list(indices)] = this_pass


def _find_fetcher() -> Any:
    """Return the DataLoader fetcher that is on the call stack, or None.

    torch does not tell a dataset that a new pass begins. The fetcher is all that distinguishes one pass from the next.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_qualname != _FETCH:
        frame = frame.f_back
    return None if frame is None else frame.f_locals["self"]


def _share(tensor: torch.Tensor) -> torch.Tensor:
    """Move the tensor to shared memory, unless it is there already, and return it."""
    shared: torch.Tensor = tensor.share_memory_()  # type: ignore[no-untyped-call]  # untyped in torch
    return shared
