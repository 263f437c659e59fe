"""Fields out of .pt files: one tensor a file, read without running what a pickle may hold."""

from __future__ import annotations

import importlib.util
import io
import pickle
import posixpath
import struct
from typing import TYPE_CHECKING, Any

import fsspec.implementations.local

from drawpoint.errors import ExtraMissing, InvalidSample, StoreUnreadable
from drawpoint.extras import how_to_install
from drawpoint_store.storage import objects as stores

if TYPE_CHECKING:
    import numpy as np
    import torch


def require_torch() -> None:
    """Raise ExtraMissing, with what to install, where there is no torch to read files with."""
    if importlib.util.find_spec("torch") is None:
        raise ExtraMissing(f"torch, which reads the source's files, is not installed: {how_to_install('convert')}.")


def read_tensor(filesystem: Any, path: str) -> np.ndarray[Any, Any]:
    """Return the tensor in a .pt file as an array of its dtype, bfloat16 and the like as float32.

    The array is a copy, which later changes of the file leave alone. Raises InvalidSample, naming the file, for one
    that cannot be read, claims more than it holds, or holds anything but a dense tensor of real numbers, and
    StoreUnreadable where a remote storage does not answer, which says nothing of the file.
    """
    name = posixpath.basename(path)
    try:
        tensor = _load(filesystem, path)
        problem = _problem(tensor)
        if problem is None:
            return _as_array(tensor)
    except (MemoryError, StoreUnreadable):
        raise  # nor does this
    except pickle.UnpicklingError as error:
        raise InvalidSample(
            f"{name} is refused: it is damaged, or holds objects other than tensors, which are not loaded for safety"
        ) from error
    except Exception as error:  # there is no telling what torch.load raises for damaged files
        raise InvalidSample(f"{name} cannot be read: {_first_line(error)}") from error
    raise InvalidSample(f"{name} {problem}")


def _load(filesystem: Any, path: str) -> torch.Tensor:
    import torch  # noqa: PLC0415  only conversion needs torch

    if isinstance(filesystem, fsspec.implementations.local.LocalFileSystem):
        # Not mapped: a file that is cut short meanwhile would end the process with SIGBUS.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=False)  # type: ignore[no-any-return]
    with stores.translated_errors("read", path, may_be_missing=True):
        body = filesystem.cat_file(path)
    return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)  # type: ignore[no-any-return]


def _problem(value: object) -> str | None:
    import torch  # noqa: PLC0415  only conversion needs torch

    if not isinstance(value, torch.Tensor):
        return f"holds a {type(value).__name__}, not a tensor"
    if value.layout != torch.strided:
        return "holds a sparse tensor; save it as a dense one, with tensor.to_dense()"
    if value.is_complex():
        return "holds complex numbers; save real ones"
    if value.is_quantized:
        return "holds a quantized tensor; save it with tensor.dequantize()"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        # Strides of zero: a file of a few bytes may claim more rows than any memory holds.
        return f"claims {len(value)} rows that its file does not hold; save it with tensor.contiguous()"
    return None


def _as_array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    import torch  # noqa: PLC0415  only conversion needs torch

    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.to(torch.float32)
    return tensor.detach().resolve_neg().numpy()


def _first_line(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is gone"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError | EOFError | struct.error):  # whose text says nothing
        return "it is empty, damaged, or not what torch.save writes"
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
