"""Drawn tensors in a file of their own, which any program with the safetensors library reads."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from drawpoint.extras import importing

if TYPE_CHECKING:
    import torch


def save(tensors: Mapping[str, torch.Tensor], path: str | os.PathLike[str]) -> Path:
    """Write `tensors`, such as a drawn sample or a Part, to a safetensors file, and return its path.

    `safetensors.torch.load_file(path)` gives equal tensors, on the CPU and each with memory of its own. A file that is
    there is replaced once all is written: it holds the old content or the new one, never a part.

    Raises TypeError for what is no mapping from names to torch tensors; ValueError for tensors that such a file cannot
    hold (sparse, nested, quantised, meta), the name `__metadata__` and a URL; FileNotFoundError where there is no
    folder to write to, FileExistsError for a folder or a device, another OSError where it cannot be written; and
    ExtraMissing without the extra `client`.
    """
    with importing("client", "drawpoint.save"):
        import safetensors.torch  # noqa: PLC0415  only who saves needs it
    apart, target = _check_tensors(tensors), _check_target(os.fsdecode(path))
    unfinished = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        unfinished.write_bytes(safetensors.torch.save(apart))
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return Path(os.fsdecode(path))


def _check_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors as the library takes them: on the CPU, contiguous, and none in the memory of another."""
    import torch  # noqa: PLC0415  see save

    if not isinstance(tensors, Mapping):
        raise TypeError(f"save takes a mapping from names to tensors, such as a drawn sample, not {_kind(tensors)}.")
    apart: dict[str, torch.Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name!r:.200} is {_kind(tensor)}; save takes torch tensors by name, and nothing else.")
        if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized or tensor.is_meta:
            raise ValueError(f"{name!r:.200} is a sparse, nested, quantised or meta tensor; make a dense one of it.")
        if name == "__metadata__":
            raise ValueError("no tensor can be named __metadata__ in a safetensors file; give it another name.")
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage()
        if storage.nbytes() != value.nbytes or storage.data_ptr() in taken:
            value = value.clone()
        taken.add(value.untyped_storage().data_ptr())
        apart[name] = value
    return apart


def _check_target(path: str) -> Path:
    if "://" in path:
        raise ValueError(f"{path} is a URL, and save writes local files; copy the file there afterwards.")
    target = Path(os.path.realpath(path))  # a link stays, and leads to the new file
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {target.parent}; make it first.")
    if target.exists() and not target.is_file():
        raise FileExistsError(f"{target} is no file; name one, such as sample.safetensors.")
    return target


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
