"""Local draws and whole samples: ours, zarr-python's oindex, tensorstore where it is installed, and floors, in one run.

    python tests/benchmarks/local_read.py [--rounds 40]

One draw is surface 4096 + volume 16384 points with all fields of a sample of 150k + 600k points, warm. A floor is what
any reader must do to the same chunks, on one thread, with files open and offsets known: read, checksum and, at level 5,
decompress them into the memory of the answer, and cast to float32 what is stored as float16, all of it at once.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import zarr
from crc32c import crc32c
from made import write_store
from numcodecs import blosc
from turns import Times, print_times, time_in_turns

from drawpoint.draw.rows import row_indices
from drawpoint.draw.selection import select_sample
from drawpoint.format.tensors import as_float32_each
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.plan import ReadPlan, plan_draw, plan_sample

Ways = dict[str, Callable[[int], object]]

COUNTS = {"surface": 4096, "volume": 16384}
SAMPLES = 8
WARM, EACH = 2, 5
STEP = 32_000  # values that torch casts on this thread
COMPARED = ("drawpoint", "floor")
JOINED = 8  # neighbours that a floor reads in one call


BEYOND_THE_FLOOR = """
Beyond its floor a draw at level 5 takes the plan (40 us), and for each of its 20 chunks some 4 us of Python: its
place, a buffer, checks of length, checksum, place and blosc header, an array over it, its rows. Tried and not kept
(2026-11): one loop with all of that inlined takes 4 % less; to decompress straight into the answer, which is cold,
takes no less than to copy what was decompressed into warm memory.
"""
"""What profiles and trials by hand have shown."""


class Chunks(NamedTuple):
    """The chunks of one array that a plan touches, (offset, nbytes) each, checksums included.

    `joined` has the same chunks, those that lie side by side together, up to JOINED.
    """

    descriptor: int
    dtype: np.dtype[Any]
    decoded: int
    places: list[tuple[int, int]]
    joined: list[list[tuple[int, int]]]


class Floor:
    """The chunks of a plan, read with nothing around it: offsets known, files open."""

    def __init__(self, reader: ZarrChunkReader) -> None:
        self._shards: dict[tuple[str, str], tuple[int, np.ndarray[Any, Any]]] = {}
        self._side = memoryview(bytearray(4 * JOINED))
        self._buffers = [memoryview(bytearray(2**16)) for _ in range(64)]
        for sample_id, entry in reader.manifest.samples.items():
            for domain, layout in reader.manifest.domains.items():
                for field, array in layout.arrays.items():
                    path = Path(reader.store_root, entry.relpath, array.array_name, "c/0/0")
                    slots = entry.domains[domain].shard_points // entry.domains[domain].chunk_points
                    index = np.frombuffer(path.read_bytes()[-16 * slots - 4 : -4], "<u8").reshape(-1, 2)
                    self._shards[sample_id, field] = os.open(path, os.O_RDONLY), index

    def chunks(self, plan: ReadPlan) -> list[Chunks]:
        """Return the chunks that the plan touches, array by array."""
        found = []
        for field, array in plan.arrays.items():
            descriptor, index = self._shards[plan.sample_id, field]
            dtype, drawn = np.dtype(array.layout.dtype), sorted({rows.chunk for rows in array.draw.rows})
            decoded = array.draw.grid.chunk_points * array.layout.dim * dtype.itemsize
            places = [tuple(index[chunk].tolist()) for chunk in drawn]
            found.append(Chunks(descriptor, dtype, decoded, places, _join(places)))
        return found

    def copied(self, chunks: list[Chunks], *, fresh: bool) -> Any:
        """Read, check and copy chunks that are stored as they are, into a new answer or over what was read before."""
        answer, buffers = _allocate(chunks) if fresh else (None, iter(self._buffers))
        for each in chunks:
            for offset, nbytes in each.places:
                data = memoryview(os.pread(each.descriptor, nbytes, offset))
                assert crc32c(data[:-4]) == int.from_bytes(data[-4:], "little")
                next(buffers)[: nbytes - 4] = data[:-4]
        return answer.cast() if answer else None

    def in_place(self, chunks: list[Chunks]) -> Any:
        """Read chunks that are stored as they are, neighbours in one call, into a new answer, and check them."""
        answer, buffers = _allocate(chunks)
        for each in chunks:
            for joined in each.joined:
                views = [next(buffers) for _ in joined]
                sides = [self._side[4 * number : 4 * number + 4] for number in range(len(joined))]
                buffers_of_all = [part for pair in zip(views, sides, strict=True) for part in pair]
                os.preadv(each.descriptor, buffers_of_all, joined[0][0])
                for view, side in zip(views, sides, strict=True):
                    assert crc32c(view) == int.from_bytes(side, "little")
        return answer.cast()

    @staticmethod
    def decompressed(chunks: list[Chunks]) -> Any:
        """Read, check and decompress chunks into a new answer."""
        answer, buffers = _allocate(chunks)
        for each in chunks:
            for offset, nbytes in each.places:
                data = memoryview(os.pread(each.descriptor, nbytes, offset))
                assert crc32c(data[:-4]) == int.from_bytes(data[-4:], "little")
                blosc.decompress(data[:-4], next(buffers))
        return answer.cast()

    def read_alone(self, chunks: list[Chunks]) -> None:
        """Read chunks and do nothing with them."""
        buffers = iter(self._buffers)
        for each in chunks:
            for offset, nbytes in each.places:
                os.preadv(each.descriptor, [next(buffers)[:nbytes]], offset)

    def check_alone(self, chunks: list[Chunks]) -> None:
        """Compute the checksums of as many bytes, and read nothing."""
        buffers = iter(self._buffers)
        for each in chunks:
            for _, nbytes in each.places:
                crc32c(next(buffers)[: nbytes - 4])


def _join(places: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    joined: list[list[tuple[int, int]]] = []
    for offset, nbytes in places:
        if joined and len(joined[-1]) < JOINED and sum(joined[-1][-1]) == offset:
            joined[-1].append((offset, nbytes))
        else:
            joined.append([(offset, nbytes)])
    return joined


class _Answer(NamedTuple):
    wide: list[np.ndarray[Any, Any]]
    narrow: np.ndarray[Any, Any]

    def cast(self) -> list[torch.Tensor]:
        cast = torch.empty(self.narrow.size)
        pieces = -(-self.narrow.size // STEP)
        for source, target in zip(torch.from_numpy(self.narrow).chunk(pieces), cast.chunk(pieces), strict=True):
            target.copy_(source)
        return [*map(torch.from_numpy, self.wide), cast]


def _allocate(chunks: list[Chunks]) -> tuple[_Answer, Iterator[memoryview]]:
    """Return the memory of an answer, and a view of it for each chunk in order."""
    narrow = np.empty(sum(each.decoded // 2 * len(each.places) for each in chunks if each.dtype == np.float16), "f2")
    answer = _Answer([], narrow)
    views = []
    rest = narrow.data.cast("B")
    for each in chunks:
        if each.dtype == np.float16:
            place, rest = rest[: each.decoded * len(each.places)], rest[each.decoded * len(each.places) :]
        else:
            answer.wide.append(np.empty(each.decoded // 4 * len(each.places), each.dtype))
            place = answer.wide[-1].data.cast("B")
        views += [place[each.decoded * number : each.decoded * (number + 1)] for number in range(len(each.places))]
    return answer, iter(views)


def oindex(groups: dict[str, dict[str, Any]], plan: ReadPlan) -> dict[str, torch.Tensor]:
    """Read a plan the way that noether's reader does."""
    tensors = {}
    for field, array in plan.arrays.items():
        rows = row_indices(array.draw.rows, array.draw.grid.chunk_points)
        tensors[field] = torch.from_numpy(np.asarray(groups[plan.sample_id][field].oindex[rows])).float()
    return tensors


class Store:
    """A store at one level, with plans of draws of it, and what the floor reads for each."""

    def __init__(self, folder: Path, level: int, rounds: int) -> None:
        self.root = write_store(folder / str(level), SAMPLES, level)
        self.reader = ZarrChunkReader(self.root)
        self.floor = Floor(self.reader)
        self.ids = [f"run_{number % SAMPLES}" for number in range((WARM + rounds) * EACH)]
        self.plans = [plan_sample(self.reader.manifest, each, COUNTS, seed=seed) for seed, each in enumerate(self.ids)]
        self.chunks = [self.floor.chunks(plan) for plan in self.plans]

    def draw(self, number: int) -> object:
        return self.reader.read_sample(self.ids[number], COUNTS, seed=number)

    def measure(self, ways: Ways, rounds: int, goal: float, peers: Ways | None = None) -> None:
        times = time_in_turns({"drawpoint": self.draw, **ways}, rounds, warm=WARM, each=EACH)
        # By themselves: threads of theirs go on when they have answered, and slow down what comes next.
        compare(times | time_in_turns(peers or {}, rounds, warm=WARM, each=EACH), goal)


def compare(times: Times, goal: float) -> None:
    """Print a table, and what drawpoint takes over the first floor in it."""
    print_times(times, "a sample")
    ours, floor = (statistics.median(times[next(way for way in times if way.startswith(word))]) for word in COMPARED)
    print(f"\ndrawpoint over the floor: {ours / floor:.2f} (goal: at most {goal}).")


def measure_level_5(store: Store, rounds: int) -> None:
    opened = {
        sample_id: {
            field: zarr.open_array(f"{store.root}/{entry.relpath}", path=layout.array_name, mode="r")
            for field, layout in store.reader.manifest.fields.items()
        }
        for sample_id, entry in store.reader.manifest.samples.items()
    }
    threaded = ZarrChunkReader(store.root, read_concurrency=2)
    ways: Ways = {
        "drawpoint, read_concurrency=2": lambda each: threaded.read_sample(store.ids[each], COUNTS, seed=each),
        "floor: pread + crc32c + blosc + cast": lambda each: store.floor.decompressed(store.chunks[each]),
    }
    peers: Ways = {
        "zarr-python oindex (noether's reader)": lambda each: oindex(opened, store.plans[each]),
    }
    if importlib.util.find_spec("tensorstore"):
        peers["tensorstore, all chunks in flight"] = lambda each: tensorstore_read(str(store.root), store.plans[each])
    store.measure(ways, rounds, 1.3, peers)
    print(BEYOND_THE_FLOOR)


def measure_level_0(store: Store, rounds: int) -> None:
    ways: Ways = {
        "floor: pread + crc32c + copy + cast": lambda each: store.floor.copied(store.chunks[each], fresh=True),
        "floor in place: preadv + crc32c + cast": lambda each: store.floor.in_place(store.chunks[each]),
        "pread + crc32c + copy over the last answer": lambda each: store.floor.copied(store.chunks[each], fresh=False),
    }
    store.measure(ways, rounds, 2.2)


def measure_whole_samples(store: Store, rounds: int) -> None:
    plans = [plan_sample(store.reader.manifest, each, None, seed=0) for each in store.ids[:SAMPLES]]
    chunks = [store.floor.chunks(plan) for plan in plans]
    values = sum(math.prod(array.shape) for array in plans[0].arrays.values())
    print(f"\nWhole samples, {values * 4 / 1e6:.0f} MB of float32 each:\n")
    ways: Ways = {
        "drawpoint": lambda each: store.reader.read_sample(f"run_{each % SAMPLES}"),
        "floor in place: preadv + crc32c + cast": lambda each: store.floor.in_place(chunks[each % SAMPLES]),
    }
    compare(time_in_turns(ways, rounds, warm=WARM), 1.4)


def measure_bytes(store: Store) -> None:
    """Print the bytes that draws read over those of the chunks drawn."""
    preadv, read = os.preadv, 0

    def count(*arguments: Any) -> int:
        nonlocal read
        done = preadv(*arguments)
        read += done
        return done

    os.preadv = count
    try:
        for number in range(100):
            store.draw(number % len(store.ids))
    finally:
        os.preadv = preadv
    drawn = [store.chunks[number % len(store.ids)] for number in range(100)]
    needed = sum(nbytes for chunks in drawn for each in chunks for _, nbytes in each.places)
    print(f"\nBytes read over bytes of the chunks drawn: {read / needed:.2f}")


def measure_stages(store: Store, rounds: int) -> None:
    """Print where the time of a draw goes."""
    reader, manifest = store.reader, store.reader.manifest
    selected = [select_sample(manifest, each, COUNTS) for each in store.ids]
    stored = {field: np.empty(array.shape, array.layout.dtype) for field, array in store.plans[0].arrays.items()}
    ways: Ways = {
        "all": store.draw,
        "which arrays, how many rows": lambda each: select_sample(manifest, store.ids[each], COUNTS),
        "which rows of which chunks": lambda each: plan_draw(selected[each], each),
        "reading: the system's part": lambda each: store.floor.read_alone(store.chunks[each]),
        "reading: checksums": lambda each: store.floor.check_alone(store.chunks[each]),
        "reading": lambda each: reader.read_into(store.plans[each], stored),
        "float32 of float16": lambda _: as_float32_each(stored),
    }
    times = time_in_turns(ways, rounds, warm=WARM, each=EACH)
    spent = {way: 1e3 * statistics.median(each) for way, each in times.items()}
    whole, reading = spent.pop("all"), spent.pop("reading")
    spent["reading: our own part"] = reading - spent["reading: the system's part"] - spent["reading: checksums"]
    spent["memory of the answer, colder caches"] = (
        whole - reading - sum(spent[way] for way in spent if not way.startswith("reading"))
    )
    print(f"\nWhere the {whole:.0f} us of a draw at level 0 go (each measured by itself):\n")
    print("| stage | us | share |\n|---|---|---|")
    for way, each in spent.items():
        print(f"| {way} | {each:.0f} | {each / whole:.0%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        print("Chunks at blosc-zstd level 5:\n")
        measure_level_5(Store(Path(folder), 5, rounds), rounds)
        store = Store(Path(folder), 0, rounds)
        print("\nChunks at level 0, which `drawpoint convert` writes:\n")
        measure_level_0(store, rounds)
        measure_bytes(store)
        measure_stages(store, rounds)
        measure_whole_samples(store, rounds)


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
