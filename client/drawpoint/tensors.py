"""From what is stored or sent to what training takes: float32 torch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

_STEP = 32_000
"""torch hands a conversion of more than 32,768 values (its `GRAIN_SIZE`) to its thread pool, which for the sizes of a
draw costs more than the conversion and takes cores from the training; smaller steps stay on this thread."""

_THREADED = 4_000_000
"""From about here on the threads pay: full reads."""


def as_float32(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return `array` (of a float dtype, contiguous, writable) as a float32 tensor; shares its memory if it is float32."""
    import torch  # noqa: PLC0415  only who reads tensors needs torch

    tensor = torch.from_numpy(array)
    if tensor.dtype == torch.float32 or tensor.numel() >= _THREADED:
        return tensor.to(torch.float32)
    converted = torch.empty(tensor.shape, dtype=torch.float32)
    source, target = tensor.reshape(-1), converted.reshape(-1)
    for first in range(0, len(source), _STEP):
        target[first : first + _STEP].copy_(source[first : first + _STEP])
    return converted
