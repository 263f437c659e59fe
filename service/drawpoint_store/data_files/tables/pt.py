"""torch's .pt files: one tensor, or tensors by name."""

from __future__ import annotations

import pickle
import struct
from typing import IO, TYPE_CHECKING, Any

from drawpoint.errors import InvalidSample
from drawpoint.extras import importing
from drawpoint_store.data_files.tables.table_file import TableFile, first_line, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import torch


def open_pt(path: Path) -> TableFile:
    """Open a file of torch.save: a tensor, which has no name then, or dicts of tensors, as `name` or `outer/name`.

    The file is loaded whole. Other objects than tensors, lists and numbers are not loaded, for safety.
    """
    loaded = load_pt(path, str(path))
    tensors = dict(_tensors("", loaded))
    if not tensors:
        raise InvalidSample(f"{path} holds a {type(loaded).__name__} without tensors.")
    return TableFile(path, {name: as_array(each, place_of(name, path)) for name, each in tensors.items()})


def load_pt(file: Path | IO[bytes], name: str) -> Any:
    """Return what torch.save has put into a file, if it is tensors, or lists, dicts and numbers.

    Raises InvalidSample, with the `name` of the file, for one that is gone or damaged, or holds other objects.
    """
    with importing("convert", f"reading {name}"):
        import torch  # noqa: PLC0415  only conversion needs torch
    try:
        # Not mapped: a file that is cut short meanwhile would end the process with SIGBUS.
        return torch.load(file, map_location="cpu", weights_only=True, mmap=False)
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        raise InvalidSample(
            f"{name} is refused: it is damaged, or holds objects other than tensors, which are not loaded for safety."
        ) from error
    except Exception as error:  # there is no telling what torch.load raises for damaged files
        raise InvalidSample(f"{name} cannot be read: {_reason(error)}.") from error


def as_array(tensor: torch.Tensor, where: str) -> np.ndarray[Any, Any]:
    """Return a tensor as an array of its dtype, bfloat16 and the like as float32.

    Raises InvalidSample, which begins with `where`, for one that is not dense or claims more than its file holds.
    """
    import torch  # noqa: PLC0415  only conversion needs torch

    if tensor.layout != torch.strided or tensor.is_quantized:
        raise InvalidSample(
            f"{where} holds a sparse or quantized tensor; save it as a plain one, with to_dense() or dequantize()."
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        # Strides of zero: a file of a few bytes may claim more rows than any memory holds.
        raise InvalidSample(
            f"{where} claims {len(tensor)} rows that its file does not hold; save it with tensor.contiguous()."
        )
    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.to(torch.float32)
    try:
        return tensor.detach().resolve_conj().resolve_neg().numpy()
    except (RuntimeError, TypeError) as error:  # of a dtype that NumPy has not, such as complex32
        raise InvalidSample(f"{where} cannot be read: {first_line(error)}.") from error


def _tensors(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    import torch  # noqa: PLC0415  only conversion needs torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _tensors(f"{name}/{key}" if name else str(key), inner)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is gone"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError | EOFError | struct.error):  # whose text says nothing
        return "it is empty, damaged, or not what torch.save writes"
    return first_line(error)
