"""Local draws: ours, zarr-python's oindex, tensorstore where it is installed, and the floor, in one run.

    python tests/benchmarks/local_read.py [--rounds 40]

One draw is surface 4096 + volume 16384 points with all fields of a sample of 150k + 600k points, warm. The floor is
what any reader must do to the same chunks: pread, crc32c, blosc.decompress and one cast to float32, on one thread.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import torch
import zarr
from made import write_store
from numcodecs import blosc
from turns import print_times, time_in_turns

from drawpoint.draw.rows import row_indices
from drawpoint.format.tensors import as_float32_each
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.plan import ReadPlan, plan_sample

COUNTS = {"surface": 4096, "volume": 16384}
SAMPLES = 8
WARM, EACH = 2, 5


class Floor:
    """The chunks of a plan, decoded with nothing around it: offsets known, files open."""

    def __init__(self, reader: ZarrChunkReader) -> None:
        self._reader = reader
        self._shards: dict[tuple[str, str], tuple[int, np.ndarray[Any, Any]]] = {}
        for sample_id, entry in reader.manifest.samples.items():
            for domain, layout in reader.manifest.domains.items():
                for field, array in layout.arrays.items():
                    path = Path(reader.store_root, entry.relpath, array.array_name, "c/0/0")
                    slots = entry.domains[domain].shard_points // entry.domains[domain].chunk_points
                    index = np.frombuffer(path.read_bytes()[-16 * slots - 4 : -4], "<u8").reshape(-1, 2)
                    self._shards[sample_id, field] = os.open(path, os.O_RDONLY), index

    def chunks(self, plan: ReadPlan) -> list[tuple[int, int, int, str]]:
        """Return (descriptor, offset, nbytes, dtype) of every chunk that the plan touches."""
        found = []
        for field, array in plan.arrays.items():
            descriptor, index = self._shards[plan.sample_id, field]
            chunks = sorted({rows.chunk for rows in array.draw.rows})
            found += [(descriptor, *index[chunk].tolist(), array.layout.dtype) for chunk in chunks]
        return found

    @staticmethod
    def read(chunks: list[tuple[int, int, int, str]]) -> None:
        for descriptor, offset, nbytes, dtype in chunks:
            data = memoryview(os.pread(descriptor, nbytes, offset))
            assert crc32c.crc32c(data[:-4]) == int.from_bytes(data[-4:], "little")
            as_float32_each({"": np.frombuffer(bytearray(blosc.decompress(data[:-4])), dtype)})


def oindex(groups: dict[str, dict[str, Any]], plan: ReadPlan) -> dict[str, torch.Tensor]:
    """Read a plan the way that noether's reader does."""
    tensors = {}
    for field, array in plan.arrays.items():
        rows = row_indices(array.draw.rows, array.draw.grid.chunk_points)
        tensors[field] = torch.from_numpy(np.asarray(groups[plan.sample_id][field].oindex[rows])).float()
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        reader = ZarrChunkReader(write_store(Path(folder), SAMPLES))
        threaded = ZarrChunkReader(folder, read_concurrency=2)
        floor = Floor(reader)
        opened = {
            sample_id: {
                field: zarr.open_array(f"{folder}/{entry.relpath}", path=layout.array_name, mode="r")
                for field, layout in reader.manifest.fields.items()
            }
            for sample_id, entry in reader.manifest.samples.items()
        }
        ids = [f"run_{number % SAMPLES}" for number in range((WARM + rounds) * EACH)]
        plans = [plan_sample(reader.manifest, each, COUNTS, seed=seed) for seed, each in enumerate(ids)]
        chunks = [floor.chunks(plan) for plan in plans]
        ways: dict[str, Callable[[int], object]] = {
            "drawpoint": lambda number: reader.read_sample(ids[number], COUNTS, seed=number),
            "drawpoint, read_concurrency=2": lambda number: threaded.read_sample(ids[number], COUNTS, seed=number),
            "floor: pread + crc32c + blosc + cast": lambda number: floor.read(chunks[number]),
            "zarr-python oindex (noether's reader)": lambda number: oindex(opened, plans[number]),
        }
        if importlib.util.find_spec("tensorstore"):
            ways["tensorstore, all chunks in flight"] = lambda number: tensorstore_read(folder, plans[number])
        print_times(time_in_turns(ways, rounds, warm=WARM, each=EACH), "a sample")


_tensorstores: dict[str, Any] = {}


def tensorstore_read(root: str, plan: ReadPlan) -> dict[str, torch.Tensor]:
    """Read a plan with tensorstore, every array's future started before the first is awaited."""
    import tensorstore  # noqa: PLC0415  a peer that may not be installed

    pending = {}
    for field, array in plan.arrays.items():
        path = f"{root}/{plan.relpath}/{array.layout.array_name}"
        if path not in _tensorstores:
            spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
            _tensorstores[path] = tensorstore.open(spec, open=True, read=True).result()
        rows = row_indices(array.draw.rows, array.draw.grid.chunk_points)
        pending[field] = _tensorstores[path][rows].read()
    return {field: torch.from_numpy(np.asarray(read.result()).astype(np.float32)) for field, read in pending.items()}


if __name__ == "__main__":
    main()
