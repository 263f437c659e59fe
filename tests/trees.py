"""Source trees of small runs, as the converter reads them, and what is in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from drawpoint_store import ZarrStoreWriter
from drawpoint_store.conversion.sources.filemaps import detect_filemap
from drawpoint_store.conversion.sources.pt_source import PtSource

if TYPE_CHECKING:
    from pathlib import Path

SURFACE, VOLUME = 300, 700


def run_tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    """Return the tensors of a run by file name: four fields, two of each domain."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "surface_position.pt": (SURFACE, 3),
        "surface_pressure.pt": (SURFACE,),
        "volume_position.pt": (VOLUME, 3),
        "volume_distance_to_surface.pt": (VOLUME,),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


RUN_FILEMAP = detect_filemap(run_tensors())
SPLITS = {"train": ["run_0", "run_2", "run_9"], "val": ["run_1"]}


class SplitSource(PtSource):
    """A tree of `.pt` files that names splits, as a recipe does; worker processes import it from here."""

    splits = SPLITS


def writer_at(root: object, **settings: Any) -> ZarrStoreWriter:
    """Return a writer of such runs, in chunks of 64 rows."""
    return ZarrStoreWriter(
        str(root), **{"filemap": RUN_FILEMAP, "dataset_name": "made", "chunk_points": 64, **settings}
    )


def write_run(folder: Path, seed: int = 0, **changes: object) -> None:
    """Write a run; `surface_pressure=x` saves x instead of the field's tensor, None leaves its file out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensor in run_tensors(seed).items():
        value = changes.get(name.removesuffix(".pt"), tensor)
        if value is not None:
            torch.save(value, folder / name)


def write_runs(folder: Path, count: int) -> None:
    """Write `count` runs that differ: run_0, run_1 and so on."""
    for number in range(count):
        write_run(folder / f"run_{number}", number)


def files_below(folder: Path) -> dict[str, bytes]:
    """Return every file below `folder`, hidden ones too, by its relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
