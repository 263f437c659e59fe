"""What compression costs and saves, on a real run: bytes, writing, reading, and time to tensors over disk and a link.

    python tests/benchmarks/compression.py [RUN_DIRECTORY ...]

Fields are cast and shuffled as the writer does it, and cut into chunks of 4096 points; then each codec encodes and
decodes all of them on one thread. `to tensors` is for one draw of 4096 surface and 16384 volume points with all
fields: the bytes of its chunks read (from the page cache: disk; at 1 Gbit/s: link), checked, decoded and converted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import crc32c
import numpy as np
import torch
from made import FIELDS, RUN
from numcodecs import blosc

from drawpoint.draw.philox import PhiloxStream
from drawpoint.format.tensors import as_float32_each

CHUNK = 4096
DRAWN = {"surface": 4096, "volume": 16384}
COMPONENTS = 3 + 1 + 3 + 3 + 1  # of the five fields that either domain has
LINK_BYTES_A_SECOND = 125e6
CODECS = {
    "none": (b"lz4", 0, blosc.NOSHUFFLE),
    "blosc-lz4-5": (b"lz4", 5, blosc.SHUFFLE),
    **{f"blosc-zstd-{level}": (b"zstd", level, blosc.SHUFFLE) for level in range(1, 10)},
    "blosc-zstd-1 bitshuffle": (b"zstd", 1, blosc.BITSHUFFLE),
    "blosc-zstd-5 bitshuffle": (b"zstd", 5, blosc.BITSHUFFLE),
}
Chunks = list[tuple[str, np.ndarray[Any, Any]]]


def chunks_of(run: Path) -> Chunks:
    """Return (domain, rows) of every chunk of a run, as they are stored."""
    chunks = []
    for field in ("volume_vorticity", "surface_area", *FIELDS):
        values = torch.load(run / f"{field}.pt", weights_only=True).numpy()
        domain, _, name = field.partition("_")
        stored = values.reshape(len(values), -1).astype(np.float32 if name == "position" else np.float16)
        shuffled = stored[PhiloxStream("shuffle/1", 0, run.name, domain).permutation(len(stored))]
        chunks += [
            (domain, np.ascontiguousarray(rows)) for rows in np.split(shuffled, range(CHUNK, len(stored), CHUNK))
        ]
    return chunks


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the best time of some repeats."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def encode(chunks: Chunks, codec: tuple[bytes, int, int]) -> list[bytes]:
    return [blosc.compress(rows, *codec) for _, rows in chunks]


def decode(chunks: Chunks, encoded: list[bytes]) -> None:
    for (_, rows), chunk in zip(chunks, encoded, strict=True):
        crc32c.crc32c(chunk)
        as_float32_each({"": np.frombuffer(bytearray(blosc.decompress(chunk)), rows.dtype)})


def main() -> None:
    runs = [Path(argument) for argument in sys.argv[1:]] or [RUN]
    chunks = [chunk for run in runs for chunk in chunks_of(run)]
    raw = sum(rows.nbytes for _, rows in chunks)
    points = {domain: sum(rows.size for name, rows in chunks if name == domain) / COMPONENTS for domain in DRAWN}
    # A draw takes the share of each domain's chunks that its count is of the points.
    shares = [DRAWN[domain] / points[domain] for domain, _ in chunks]
    drawn_raw = sum(rows.nbytes * share for (_, rows), share in zip(chunks, shares, strict=True))
    print(f"{len(chunks)} chunks, {raw / 1e6:.1f} MB as stored\n")
    print("| codec | % of raw | write MB/s | read MB/s | to tensors: disk ms | link ms |\n|---|---|---|---|---|---|")
    for name, codec in CODECS.items():
        encoded = encode(chunks, codec)
        write = seconds(partial(encode, chunks, codec), 1 if codec[1] > 6 else 2)
        read = seconds(partial(decode, chunks, encoded), 5)
        disk = read * drawn_raw / raw
        link = sum(len(chunk) * share for chunk, share in zip(encoded, shares, strict=True)) / LINK_BYTES_A_SECOND
        print(
            f"| {name} | {100 * sum(map(len, encoded)) / raw:.1f} | {raw / write / 1e6:.0f} | {raw / read / 1e6:.0f} "
            f"| {disk * 1e3:.2f} | {(disk + link) * 1e3:.2f} |"
        )


if __name__ == "__main__":
    main()
