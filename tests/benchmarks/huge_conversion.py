"""A sample of 100 million points, converted by one worker: peak of its memory, and time by field.

    python tests/benchmarks/huge_conversion.py [--vtu] [MILLIONS]

Each of 7 fields is an `.npy` file, read whole into memory. With `--vtu`, positions and 3 fields are read by a recipe
from a `.vtu` file of hexahedra in inline base64, the positions as centres of its cells. Source and store lie in a
temporary folder (TMPDIR): 6.4 GB and 4.0 GB for 100 million points, with `--vtu` 15.1 GB and 2.6 GB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import pybase64
from peak_memory import peak_bytes

from drawpoint_store import FileMap, ZarrStoreWriter
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.conversion.sources.source import Source, SourceFile
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
RECIPE = """
name = "huge"
sample = "huge"
[volume]
file = "volume.vtu"
place = "cell"
[volume.fields]
pressure = "p"
velocity = "U"
vorticity = "omega"
"""
BLOCK = 2**22
MEGA, GIGA = 10**6, 10**9


class ArraySource:
    """One sample, `huge`, of which each field is an .npy file."""

    sample_ids = ("huge",)
    specs = present_specs(FILEMAP)
    settings: ClassVar[dict[str, Any]] = {}
    broken: ClassVar[dict[str, str]] = {}
    unmapped_files: ClassVar[dict[str, int]] = {}
    splits: ClassVar[dict[str, list[str]]] = {}

    def __init__(self, folder: Path) -> None:
        self.location = str(folder)

    def only(self, sample_id: str) -> ArraySource:
        del sample_id
        return self

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

    def close(self, *, keep: bool = False) -> None:
        del keep

    def read(self, sample_id: str, field: str) -> np.ndarray[Any, Any]:
        del sample_id
        values: np.ndarray[Any, Any] = np.load(Path(self.location) / self.where(field))
        return values


class TimedSource:
    """A source that notes when each field was read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.read_times: list[tuple[str, float, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def read(self, sample_id: str, field: str) -> np.ndarray[Any, Any]:
        began = time.perf_counter()
        values = self.source.read(sample_id, field)
        self.read_times.append((field, began, time.perf_counter()))
        return values


def write_arrays(folder: Path, n_points: int) -> int:
    """Write the fields of so many points, a block at a time, and return that number."""
    for number, spec in enumerate(ArraySource.specs):
        rng = np.random.default_rng(number)
        shape = (n_points, 3) if spec.dim == 3 else (n_points,)
        values = np.lib.format.open_memmap(folder / f"{spec.canonical}.npy", "w+", np.float32, shape)
        for first in range(0, n_points, BLOCK):
            part = values[first : first + BLOCK]
            part[...] = rng.standard_normal(part.shape, np.float32)
    return n_points


def write_vtu(folder: Path, n_cells: int) -> int:
    """Write a cube of about so many hexahedra with random fields, layer by layer, and return how many they are."""
    side = round(float(np.cbrt(n_cells)))
    rng = np.random.default_rng(0)
    here = np.arange(side)
    corners = ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0))
    steps = [(z * (side + 1) + y) * (side + 1) + x for z, y, x in corners]
    base = (here[:, None] * (side + 1) + here)[..., None] + steps
    plane = np.zeros((side + 1, side + 1, 3), np.float32)
    plane[..., 1], plane[..., 0] = np.mgrid[: side + 1, : side + 1]

    def points(layer: int) -> np.ndarray[Any, Any]:
        moved: np.ndarray[Any, Any] = plane + rng.uniform(-0.2, 0.2, plane.shape)
        moved[..., 2] += layer
        return moved.astype(np.float32)

    def values(dim: int) -> np.ndarray[Any, Any]:
        return rng.standard_normal((side**2, dim), np.float32)

    path = folder / "huge" / "volume.vtu"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.write(
            b'<VTKFile type="UnstructuredGrid" version="1.0" byte_order="LittleEndian" header_type="UInt64">\n'
            b"<UnstructuredGrid>\n"
            b'<Piece NumberOfPoints="%d" NumberOfCells="%d">\n<CellData>\n' % ((side + 1) ** 3, side**3)
        )
        for name, dim in (("p", 1), ("U", 3), ("omega", 3)):
            write_inline(file, name, "Float32", dim, [4 * side**3 * dim], (values(dim) for _ in range(side)))
        file.write(b"</CellData>\n<Points>\n")
        write_inline(file, "Points", "Float32", 3, [12 * (side + 1) ** 3], map(points, range(side + 1)))
        file.write(b"</Points>\n<Cells>\n")
        layers = (base + layer * (side + 1) ** 2 for layer in range(side))
        write_inline(file, "connectivity", "Int64", 1, [64 * side**3], layers)
        ends = (8 * np.arange(layer * side**2 + 1, (layer + 1) * side**2 + 1) for layer in range(side))
        write_inline(file, "offsets", "Int64", 1, [8 * side**3], ends)
        write_inline(file, "types", "UInt8", 1, [side**3], (np.full(side**2, 12, np.uint8) for _ in range(side)))
        file.write(b"</Cells>\n</Piece>\n</UnstructuredGrid>\n</VTKFile>\n")
    return side**3


def write_inline(
    file: IO[bytes], name: str, kind: str, dim: int, header: list[int], blocks: Iterable[np.ndarray[Any, Any]]
) -> None:
    """Write an array in base64, whose blocks are encoded as they come."""
    tag = f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{dim}" format="binary">\n'
    file.write(tag.encode())
    waiting = np.array(header, np.uint64).tobytes()
    for block in blocks:
        waiting += block.tobytes()
        whole = len(waiting) // 3 * 3
        file.write(pybase64.b64encode(memoryview(waiting)[:whole]))
        waiting = waiting[whole:]
    file.write(pybase64.b64encode(waiting) + b"\n</DataArray>\n")


def convert_huge(folder: Path, store: Path, *, vtu: bool) -> None:
    """Convert, and print what it took; in a process of its own, whose peak is that of the conversion."""
    began = time.perf_counter()
    if vtu:
        recipe = RecipeSource.scan(folder, parse_recipe(RECIPE, "the recipe"))
        source = TimedSource(recipe)
        writer = ZarrStoreWriter(store, **recipe.writer_settings, compression_level=0)
        print(f"Opened, and its fields listed, in {time.perf_counter() - began:.2f} s.\n")
    else:
        source = TimedSource(ArraySource(folder))
        writer = ZarrStoreWriter(store, FILEMAP, "huge", compression_level=0)
    report = convert(source, writer)
    ended = time.perf_counter()
    assert report.converted == ["huge"], report.broken
    print("| field | read s | cast, shuffled and written s |\n|---|---|---|")
    next_reads = [begins for _, begins, _ in source.read_times[1:]] + [ended]
    for (field, begins, ends), then in zip(source.read_times, next_reads, strict=True):
        print(f"| {field} | {ends - begins:.1f} | {then - ends:.1f} |")
    print(f"| all, {report.bytes_written / GIGA:.1f} GB written | | {ended - began:.1f} in total |")
    print(f"\nPeak of the worker's memory: {peak_bytes() / GIGA:.2f} GB.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("millions", nargs="?", type=float, default=100, help="how many million points")
    parser.add_argument("--vtu", action="store_true", help="cells of a .vtu file, by a recipe")
    parser.add_argument("--folders", nargs=2, type=Path, help="for the child process: source and store")
    args = parser.parse_args()
    if args.folders:
        convert_huge(*args.folders, vtu=args.vtu)
        return
    with tempfile.TemporaryDirectory() as name:
        source, store = Path(name, "source"), Path(name, "store")
        source.mkdir()
        n_points = (write_vtu if args.vtu else write_arrays)(source, int(args.millions * MEGA))
        largest = max(path.stat().st_size for path in source.rglob("*"))
        what = "file is {:.2f} GB" if args.vtu else "field is {:.2f} GB in float32"
        print(f"{n_points:,} points; the largest {what.format(largest / GIGA)}.\n", flush=True)
        command = [sys.executable, __file__, *(["--vtu"] if args.vtu else []), "--folders", str(source), str(store)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
