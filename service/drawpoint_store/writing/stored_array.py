"""An array of a group that is written already, and which another group of the same values can take over."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import crc32c
import numpy as np

from drawpoint_store.reading.digests import CRC_BYTES, ArrayDigests, SampleDigest, parse_table, table_digest
from drawpoint_store.writing.group import METADATA_NAME, array_metadata, shard_index

if TYPE_CHECKING:
    from pathlib import Path

    from drawpoint.format.manifest import ArrayLayout, DomainSample
    from drawpoint.format.precision import FieldPrecision

_INDEX_ENTRY = 16
"""Bytes of a chunk's entry in the index of its shard."""


@dataclass(frozen=True)
class StoredArray:
    """One array in the local folder of a group, with its digests, its table of checksums and what was rounded."""

    folder: Path
    grid: DomainSample
    digests: ArrayDigests
    table: bytes
    precision: FieldPrecision | None = None


def find_stored(
    group: Path,
    held: SampleDigest,
    layout: ArrayLayout,
    grid: DomainSample,
    compression_level: int,
    precision: FieldPrecision | None,
) -> StoredArray | None:
    """Return an array of a group, whose digest is `held`, if it has this very layout and grid, and is undamaged.

    All of its bytes are read for that.
    """
    folder = group / layout.array_name
    try:
        node = json.loads((folder / METADATA_NAME).read_bytes())
        table = parse_table(node["attributes"], grid.n_chunks)
        if table is None:
            return None
        digests = held.arrays[layout.array_name]
        is_same = node == array_metadata(layout, grid, compression_level, table)
        if not is_same or digests.chunks != table_digest(table) or not _is_whole(folder, grid, table):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return StoredArray(folder, grid, digests, table, precision)


def read_digest(group: Path) -> SampleDigest | None:
    """Return the digest that the metadata of a local group holds, None where they hold none or are damaged."""
    try:
        return SampleDigest.from_attributes(json.loads((group / METADATA_NAME).read_bytes())["attributes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_whole(folder: Path, grid: DomainSample, table: bytes) -> bool:
    """Tell whether the chunks of all shards are those of the table."""
    slots = grid.shard_points // grid.chunk_points
    for shard, first in enumerate(range(0, grid.n_chunks, slots)):
        count = min(slots, grid.n_chunks - first)
        with (folder / "c" / str(shard) / "0").open("rb") as file:
            file.seek(-(slots * _INDEX_ENTRY + CRC_BYTES), 2)
            index = file.read()
            sizes = np.frombuffer(index, "<u8", 2 * count)[1::2].tolist()
            if sum(sizes) + len(index) != file.tell() or index != shard_index(sizes, slots):
                return False  # so many bytes are not asked for
            file.seek(0)
            for chunk, size in enumerate(sizes, first):
                packed, crc = file.read(size - CRC_BYTES), file.read(CRC_BYTES)
                expected = table[CRC_BYTES * chunk : CRC_BYTES * (chunk + 1)]
                if crc != expected or crc32c.crc32c(packed).to_bytes(CRC_BYTES, "little") != expected:
                    return False
    return True
