"""What tests run in processes of their own; spawned ones import it by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx
    import torch

    from drawpoint import RemoteReader
    from drawpoint_store import ZarrChunkReader

SERVER = ("drawpoint_store", "drawpoint_service", "zarr", "numcodecs", "obstore", "fsspec", "fastapi", "uvicorn")
HIDE_SERVER = f"""
import importlib.abc, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {SERVER!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
sys.path.insert(0, {str(Path(__file__).parents[1] / "client")!r})
"""
"""Code that leaves a program started with -I the client, and nothing of the server."""


def tell_pid() -> int:
    """Return the process's id."""
    return os.getpid()


def draw_bytes(reader: RemoteReader, sample_id: str, counts: dict[str, int], seed: int) -> dict[str, bytes]:
    """Return the bytes of a draw's tensors; sharing tensors between processes is torch's business, not ours."""
    return to_bytes(reader.read_sample(sample_id, counts, seed=seed))


def to_bytes(tensors: dict[str, torch.Tensor]) -> dict[str, bytes]:
    """Return the bytes of tensors by name."""
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def make_client() -> httpx.Client:
    """Make a client that tells by a header that it was asked for."""
    import httpx  # noqa: PLC0415  only the processes that call it need it

    return httpx.Client(headers={"x-made": "here"})


def draw_lists(reader: ZarrChunkReader) -> dict[str, list[float]]:
    """Draw from a sample of the shared store and return plain numbers, which need no shared memory to travel."""
    read = reader.read_sample("param0/run", {"surface": 300, "volume": 700}, seed=11)
    return {field: values.flatten().tolist() for field, values in read.items()}
