"""A sample small enough to be written hundreds of times: 10 surface points and 17 in the volume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint_store import FileMap, ZarrStoreWriter

if TYPE_CHECKING:
    import torch

SMALL = FileMap(surface_position="p.pt", surface_pressure="q.pt", volume_position="v.pt", volume_velocity="u.pt")


def small_arrays(count: int = 10, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "surface_position": rng.standard_normal((count, 3), np.float32),
        "surface_pressure": rng.standard_normal(count, np.float32),
        "volume_position": rng.standard_normal((count + 7, 3), np.float32),
        "volume_velocity": rng.standard_normal((count + 7, 3), np.float32),
    }


def small_writer(root: Path, **kwargs: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, SMALL, "made", **{"chunk_points": 4, **kwargs})


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def same(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> bool:
    """Tell whether two reads gave the same fields with the same values."""
    return found.keys() == expected.keys() and all(found[field].equal(tensor) for field, tensor in expected.items())
