"""Bytes in another's place: whole, with valid checksums of their own, and wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import crc32c
import numpy as np

from conftest import FILEMAP, sample_arrays
from drawpoint_store import ZarrStoreWriter

SAMPLES = ("param0/run", "param1/run")
CHUNK = 256


def write_store(root: Path, level: int, *, seed: int = 0, shard_points: int | None = None) -> Path:
    """Write two samples of all fields, the last chunks short."""
    writer = ZarrStoreWriter(
        root, FILEMAP, "made", 7, chunk_points=CHUNK, shard_points=shard_points, compression_level=level
    )
    for number, sample_id in enumerate(SAMPLES):
        writer.write_sample(sample_id, sample_arrays(seed + number))
    writer.save_manifest()
    return root


def exchange(one: Path, other: Path) -> None:
    """Exchange two files or folders."""
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def _edit_index(shard: Path, change: Callable[[np.ndarray[Any, Any], bytearray], None]) -> None:
    """Change the index of a shard of `(offset, nbytes)` and its chunks, and give the index a valid checksum."""
    data = bytearray(shard.read_bytes())
    slots = next(n for n in range(1, len(data) // 16) if _is_index(data, n))
    index = np.frombuffer(bytes(data[-4 - 16 * slots : -4]), "<u8").reshape(-1, 2).copy()
    chunks = data[: -4 - 16 * slots]
    change(index, chunks)
    packed = index.tobytes()
    shard.write_bytes(bytes(chunks) + packed + crc32c.crc32c(packed).to_bytes(4, "little"))


def _is_index(data: bytearray, slots: int) -> bool:
    return crc32c.crc32c(bytes(data[-4 - 16 * slots : -4])) == int.from_bytes(data[-4:], "little")


def _swap_entries(index: np.ndarray[Any, Any], _: bytearray) -> None:
    index[[0, 1]] = index[[1, 0]]


def _repeat_entry(index: np.ndarray[Any, Any], _: bytearray) -> None:
    index[2] = index[1]


def _empty_entry(index: np.ndarray[Any, Any], _: bytearray) -> None:
    index[1, 1] = 0


def _swap_bytes(index: np.ndarray[Any, Any], chunks: bytearray) -> None:
    (one, nbytes), (other, same) = index[0].tolist(), index[1].tolist()
    if nbytes != same:  # compressed: what lies side by side changes places with its sizes
        both = bytes(chunks[other : other + same] + chunks[one : one + nbytes])
        chunks[one : one + len(both)] = both
        index[0], index[1] = (one, same), (one + same, nbytes)
        return
    first, second = bytes(chunks[one : one + nbytes]), bytes(chunks[other : other + nbytes])
    chunks[one : one + nbytes], chunks[other : other + nbytes] = second, first


def _swap_nodes(root: Path) -> None:
    """Exchange what the group says of two arrays, and their shards: what a careless script would do."""
    group = root / f"{SAMPLES[0]}.zarr"
    document = json.loads((group / "zarr.json").read_text())
    nodes = document["consolidated_metadata"]["metadata"]
    names = ("surface/friction", "surface/normals")
    nodes[names[0]], nodes[names[1]] = nodes[names[1]], nodes[names[0]]
    (group / "zarr.json").write_text(json.dumps(document, indent=2))
    exchange(group / names[0], group / names[1])


def _older_group(root: Path) -> None:
    """Put a group of an earlier revision, which has other values, in the place of the present one."""
    older = write_store(root.with_name("older"), 0, seed=5)
    shutil.rmtree(root / f"{SAMPLES[0]}.zarr")
    (older / f"{SAMPLES[0]}.zarr").rename(root / f"{SAMPLES[0]}.zarr")


ATTACKS: dict[str, Callable[[Path], None]] = {
    "shards of two arrays": lambda root: exchange(
        root / "param0/run.zarr/surface/friction/c/0/0", root / "param0/run.zarr/surface/normals/c/0/0"
    ),
    "shards of two scalars": lambda root: exchange(
        root / "param0/run.zarr/volume/pressure/c/0/0", root / "param0/run.zarr/volume/sdf/c/0/0"
    ),
    "shards of two samples": lambda root: exchange(
        root / "param0/run.zarr/volume/velocity/c/0/0", root / "param1/run.zarr/volume/velocity/c/0/0"
    ),
    "two arrays": lambda root: exchange(
        root / "param0/run.zarr/surface/friction", root / "param0/run.zarr/surface/normals"
    ),
    "two arrays and their nodes": _swap_nodes,
    "two groups": lambda root: exchange(root / "param0/run.zarr", root / "param1/run.zarr"),
    "an older group": _older_group,
    "index entries": lambda root: _edit_index(root / "param0/run.zarr/surface/pressure/c/0/0", _swap_entries),
    "an index entry twice": lambda root: _edit_index(root / "param1/run.zarr/volume/pressure/c/0/0", _repeat_entry),
    "an index entry of no bytes": lambda root: _edit_index(root / "param1/run.zarr/volume/sdf/c/0/0", _empty_entry),
    "chunks within a shard": lambda root: _edit_index(root / "param0/run.zarr/surface/position/c/0/0", _swap_bytes),
}

COUNTS = {"surface": 400, "volume": 2500}
READS: dict[str, Callable[[Any, str], Any]] = {
    "all": lambda reader, sample: reader.read_sample(sample),
    "draw 0": lambda reader, sample: reader.read_sample(sample, COUNTS, seed=0),
    "draw 1": lambda reader, sample: reader.read_sample(sample, COUNTS, seed=1),
    "fields": lambda reader, sample: reader.read_sample(sample, fields=["surface_normals", "volume_sdf"]),
    "part 0": lambda reader, sample: reader.read_sample(sample, COUNTS, seed=1, part=0),
    "part 1": lambda reader, sample: reader.read_sample(sample, COUNTS, seed=1, part=1),
    "surface coords": lambda reader, sample: reader.read_coords(sample, "surface", 700, seed=3),
    "volume coords": lambda reader, sample: reader.read_coords(sample, "volume", None),
    "batch": lambda reader, sample: reader.read_batch([{"id": sample, "seed": 4}], COUNTS, coords={"surface": 300})[0],
}


def read_all(reader: Any) -> Iterator[tuple[str, Any]]:
    """Do each read of each sample, and yield its name and what it gave, tensors or the error."""
    for sample_id in SAMPLES:
        for name, read in READS.items():
            try:
                found = read(reader, sample_id)
            except Exception as error:  # noqa: BLE001  what it is is for the test to judge
                found = error
            yield f"{sample_id} {name}", found
