"""A sample of 100 million points and 7 fields, converted by one worker: peak of its memory, and time by field.

    python tests/benchmarks/huge_conversion.py [MILLIONS]

Source and store lie in a temporary folder (TMPDIR): 6.4 GB and 4.0 GB for 100 million points. Each field is one `.npy`
file, read whole into memory as a source of large files would.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from drawpoint_store import FileMap, ZarrStoreWriter
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.sources.source import SourceFile
from drawpoint_store.writing.layout import present_specs

FILEMAP = FileMap(
    volume_position="volume_position.npy",
    volume_pressure="volume_pressure.npy",
    volume_velocity="volume_velocity.npy",
    volume_vorticity="volume_vorticity.npy",
    volume_normals="volume_normals.npy",
    volume_friction="volume_friction.npy",
    volume_distance_to_surface="volume_sdf.npy",
)
BLOCK = 2**22
MEGA, GIGA = 10**6, 10**9


class ArraySource:
    """One sample, `huge`, of which each field is an .npy file; it notes when each field was read."""

    sample_ids = ("huge",)
    specs = present_specs(FILEMAP)
    settings: ClassVar[dict[str, Any]] = {}
    broken: ClassVar[dict[str, str]] = {}
    unmapped_files: ClassVar[dict[str, int]] = {}
    splits: ClassVar[dict[str, list[str]]] = {}

    def __init__(self, folder: Path) -> None:
        self.location = str(folder)
        self.read_times: list[tuple[str, float, float]] = []

    def files(self, sample_id: str) -> list[SourceFile]:
        del sample_id
        return [SourceFile(self.where(field), 0, "") for field in self.fields("huge")]

    def fields(self, sample_id: str) -> list[str]:
        del sample_id
        return [spec.canonical for spec in self.specs]

    def scalars(self, sample_id: str) -> dict[str, float]:
        del sample_id
        return {}

    def where(self, field: str) -> str:
        return f"{field}.npy"

    def read(self, sample_id: str, field: str) -> np.ndarray[Any, Any]:
        del sample_id
        began = time.perf_counter()
        values: np.ndarray[Any, Any] = np.load(Path(self.location) / self.where(field))
        self.read_times.append((field, began, time.perf_counter()))
        return values


def write_source(folder: Path, n_points: int) -> None:
    """Write the fields of so many points, a block at a time."""
    for number, spec in enumerate(ArraySource.specs):
        rng = np.random.default_rng(number)
        shape = (n_points, 3) if spec.dim == 3 else (n_points,)
        values = np.lib.format.open_memmap(folder / f"{spec.canonical}.npy", "w+", np.float32, shape)
        for first in range(0, n_points, BLOCK):
            part = values[first : first + BLOCK]
            part[...] = rng.standard_normal(part.shape, np.float32)


def convert_huge(source: ArraySource, store: Path) -> None:
    """Convert, and print what it took; in a process of its own, whose peak is that of the conversion."""
    began = time.perf_counter()
    report = convert(source, ZarrStoreWriter(store, FILEMAP, "huge", compression_level=0))
    ended = time.perf_counter()
    assert report.converted == ["huge"], report.broken
    print("| field | read s | cast, shuffled and written s |\n|---|---|---|")
    next_reads = [begins for _, begins, _ in source.read_times[1:]] + [ended]
    for (field, begins, ends), then in zip(source.read_times, next_reads, strict=True):
        print(f"| {field} | {ends - begins:.1f} | {then - ends:.1f} |")
    print(f"| all, {report.bytes_written / GIGA:.1f} GB written | | {ended - began:.1f} in total |")
    # Not getrusage: what that gives begins with the size of the process that started this one.
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    print(f"\nPeak of the worker's memory: {int(peak[1]) * 1024 / GIGA:.2f} GB.")


def main() -> None:
    if len(sys.argv) > 2:  # the child, with its two folders
        convert_huge(ArraySource(Path(sys.argv[1])), Path(sys.argv[2]))
        return
    n_points = int(float(sys.argv[1]) * MEGA) if len(sys.argv) > 1 else 100 * MEGA
    with tempfile.TemporaryDirectory() as name:
        source, store = Path(name, "source"), Path(name, "store")
        source.mkdir()
        write_source(source, n_points)
        largest = max(path.stat().st_size for path in source.iterdir())
        print(f"{n_points:,} points; the largest field is {largest / GIGA:.2f} GB in float32.\n", flush=True)
        subprocess.run([sys.executable, __file__, str(source), str(store)], check=True)


if __name__ == "__main__":
    main()
