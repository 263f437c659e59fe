"""Stores of another writer of the format: plain zarr-python, without digests, and without what is zero."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from drawpoint.draw.rows import row_indices
from drawpoint.format.manifest import DomainLayout
from drawpoint_store import build_domain_layouts
from drawpoint_store.reading.plan import ReadPlan
from small import SMALL, small_arrays


def write_foreign(
    root: Path,
    samples: Mapping[str, Mapping[str, np.ndarray]],
    layouts: Mapping[str, DomainLayout],
    *,
    chunk: int,
    shard: int | None = None,
    index_location: str = "end",
    sharded: bool = True,
    consolidated: bool = True,
    **options: Any,
) -> Path:
    """Write arrays by sample and field as `noether.data.zarr_store` does, with keys of its own, and return `root`.

    Chunks have `chunk` rows and shards `shard`, or an array is one shard. zarr-python leaves out chunks and shards that
    hold nothing but the fill value; `options` are those of its `create_array`.
    """
    entries = {}
    for sample_id, arrays in samples.items():
        place = root / f"{sample_id}.zarr"
        group = zarr.create_group(place, attributes={"owner": "somebody"})
        grids = {}
        for domain, layout in layouts.items():
            n_points = len(arrays[layout.position])
            n_chunks = -(-n_points // chunk)
            shard_points = shard or n_chunks * chunk
            for field, array in layout.arrays.items():
                shards: Any = {"shape": (shard_points, array.dim), "index_location": index_location}
                created = group.create_array(
                    array.array_name,
                    shape=(n_points, array.dim),
                    chunks=(chunk, array.dim),
                    shards=shards if sharded else None,
                    dtype=array.dtype,
                    attributes={"units": "m"},
                    **{"compressors": BloscCodec(cname="zstd", clevel=5), **options},
                )
                created[:] = arrays[field].reshape(n_points, -1).astype(array.dtype)
            grids[domain] = {
                "n_points": n_points,
                "chunk_points": chunk,
                "shard_points": shard_points,
                "n_chunks": n_chunks,
            }
        if consolidated:
            with warnings.catch_warnings(action="ignore"):  # not every Zarr library can, says zarr-python
                zarr.consolidate_metadata(place)
        entries[sample_id] = {"relpath": place.relative_to(root).as_posix(), "theirs": 1, "domains": grids}
    document = {
        "dataset_name": "foreign",
        "format_version": 1,
        "shuffle_seed": 0,
        "coords_dtype": "float32",
        "values_dtype": "float16",
        "compressor": "blosc-zstd-5",
        "somebody": {"else's": "key"},
        "domains": {domain: layout.model_dump() for domain, layout in layouts.items()},
        "samples": entries,
    }
    (root / "manifest.json").write_text(json.dumps(document, indent=2))
    return root


def write_small_foreign(
    root: Path, *, consolidated: bool, checksums: bool, sharded: bool = True
) -> dict[str, np.ndarray]:
    """Write a small sample `a` that lacks a chunk and a shard, and return its arrays by field."""
    arrays = small_arrays()
    arrays["surface_pressure"][:4] = 0
    arrays["volume_velocity"][:8] = 0
    write_foreign(
        root,
        {"a": arrays},
        build_domain_layouts(SMALL),
        chunk=4,
        shard=8,
        sharded=sharded,
        consolidated=consolidated,
        compressors=[BloscCodec(), Crc32cCodec()] if checksums else BloscCodec(),
    )
    return arrays


def read_planned(root: Path, plan: ReadPlan) -> dict[str, np.ndarray]:
    """Read the planned rows through plain zarr-python, in the dtype that is stored."""
    group = zarr.open_group(root / plan.relpath, mode="r")
    rows = {field: row_indices(array.draw.rows, array.draw.grid.chunk_points) for field, array in plan.arrays.items()}
    stored: dict[str, Any] = {field: group[array.layout.array_name] for field, array in plan.arrays.items()}
    return {field: stored[field].oindex[rows[field]].reshape(array.shape) for field, array in plan.arrays.items()}
