"""From what is stored or sent to what training takes: float32 torch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drawpoint.extras import importing

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

_STEP = 32_000
"""torch hands a conversion of more than 32,768 values (its `GRAIN_SIZE`) to its thread pool, which for the sizes of a
draw costs more than the conversion and takes cores from the training; smaller steps stay on this thread."""

_THREADED = 4_000_000
"""From about here on the threads pay: full reads."""


def as_float32_each(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
    """Return `arrays` (of floats, contiguous, writable) as float32 tensors; those that are float32 share their memory.

    What must be converted is put into one allocation that these tensors share, which for the sizes of a draw takes
    half the time of one for each.
    """
    import numpy as np  # noqa: PLC0415  at hand wherever there are arrays

    with importing("client", "reading tensors"):
        import torch  # noqa: PLC0415  only who reads tensors needs torch

    tensors = {}
    wide = np.empty(sum(array.size for array in arrays.values() if array.dtype != np.float32), np.float32)
    begin = 0
    for name, array in arrays.items():
        if array.dtype == np.float32:
            tensors[name] = torch.from_numpy(array)
            continue
        part = wide[begin : begin + array.size].reshape(array.shape)
        begin += array.size
        # Made from a part, each has a storage of its own: saving one tensor does not save them all.
        tensors[name] = torch.from_numpy(part)
        _convert(torch.from_numpy(array), tensors[name])
    return tensors


def _convert(source: torch.Tensor, target: torch.Tensor) -> None:
    values = source.numel()
    if values <= _STEP or values >= _THREADED:
        target.copy_(source)
        return
    pieces = -(-values // _STEP)
    for piece, place in zip(source.chunk(pieces), target.chunk(pieces), strict=True):
        place.copy_(piece)
