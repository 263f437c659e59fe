"""Writing a sample: ours against the same work through zarr-python, at the writer's default level.

    python tests/benchmarks/conversion.py

Both shuffle, cast, chunk, compress (blosc-zstd-5), checksum and write the same arrays of 150k + 600k points, in one
process, interleaved. zarr-python shuffles with torch.randperm and writes with `array[...] = values`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import zarr
from made import FILEMAP, resampled
from turns import print_times, time_in_turns
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from drawpoint_store import ZarrStoreWriter, build_domain_layouts
from drawpoint_store.statistics.sample_statistics import WrittenRows

CHUNK = 4096
ROUNDS = 5


def write_through_zarr(root: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a sample the way that noether's writer does, with checksums."""
    group = zarr.create_group(store=LocalStore(root))
    for layout in build_domain_layouts(FILEMAP).values():
        n_points = len(arrays[layout.position])
        order = torch.randperm(n_points, generator=torch.Generator().manual_seed(0)).numpy()
        shard = -(-n_points // CHUNK) * CHUNK
        for field, array in layout.arrays.items():
            values = arrays[field].reshape(n_points, array.dim)
            created = group.create_array(
                name=array.array_name,
                shape=values.shape,
                chunks=(CHUNK, array.dim),
                shards=(shard, array.dim),
                dtype=array.dtype,
                compressors=[BloscCodec(cname="zstd", clevel=5), Crc32cCodec()],
            )
            created[...] = np.ascontiguousarray(values[order], dtype=array.dtype)


def main() -> None:
    arrays = resampled(150_000, 600_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def write_measured(turn: int) -> None:
            rows = WrittenRows()
            ZarrStoreWriter(folder / f"measured {turn}", FILEMAP, "b").write_group("run", arrays, measure=rows.push)
            rows.pack()

        ways: dict[str, Callable[[int], object]] = {
            "drawpoint": lambda turn: ZarrStoreWriter(folder / f"ours {turn}", FILEMAP, "b").write_sample(
                "run", arrays
            ),
            "drawpoint, measured for statistics": write_measured,
            "zarr-python": lambda turn: write_through_zarr(folder / f"theirs {turn}", arrays),
        }
        times = time_in_turns(ways, ROUNDS)
        cpu: dict[str, float] = {}
        for way, write in ways.items():
            begin = time.process_time()
            for turn in range(ROUNDS):
                write(ROUNDS + 1 + turn)
            cpu[way] = 1e3 * (time.process_time() - begin) / ROUNDS
    print_times(times, "a sample")
    print("\nCPU time a sample: " + ", ".join(f"{way} {ms:.0f} ms" for way, ms in cpu.items()) + ".")


if __name__ == "__main__":
    main()
