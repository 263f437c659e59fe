"""torch's .pt files: one tensor, or tensors by name."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from drawpoint.errors import InvalidSample
from drawpoint.extras import importing
from drawpoint_store.data_files.tables.table_file import SlicedArray, TableFile, cannot_open

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch


def open_pt(path: Path) -> TableFile:
    """Open a file of torch.save: a tensor, which has no name then, or dicts of tensors, as `name` or `outer/name`.

    The file is loaded whole. Other objects than tensors, lists and numbers are not loaded, for safety.
    """
    with importing("convert", f"reading {path}"):
        import torch  # noqa: PLC0415  only conversion needs torch
    try:
        # Not mapped: a file that is cut short meanwhile would end the process with SIGBUS.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        raise InvalidSample(
            f"{path} is damaged, or holds objects other than tensors, which are not loaded for safety."
        ) from error
    except Exception as error:  # there is no telling what torch.load raises for damaged files
        raise cannot_open(path, error, "a file of torch.save") from error
    tensors = dict(_tensors("", loaded))
    if not tensors:
        raise InvalidSample(f"{path} holds a {type(loaded).__name__} without tensors.")
    return TableFile(path, {name: _as_array(tensor, f"tensor {name!r} of {path}") for name, tensor in tensors.items()})


def _tensors(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    import torch  # noqa: PLC0415  only conversion needs torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _tensors(f"{name}/{key}" if name else str(key), inner)


def _as_array(tensor: torch.Tensor, where: str) -> SlicedArray:
    """Return a tensor as an array, bfloat16 and the like as float32."""
    import torch  # noqa: PLC0415  only conversion needs torch

    if tensor.layout != torch.strided or tensor.is_quantized:
        raise InvalidSample(f"{where} is sparse or quantized; save it with to_dense() or dequantize().")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise InvalidSample(f"{where} claims rows that its file does not hold; save it with tensor.contiguous().")
    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.to(torch.float32)
    array: SlicedArray = tensor.detach().resolve_conj().resolve_neg().numpy()
    return array
