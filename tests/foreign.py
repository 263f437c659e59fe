"""Stores of another writer of the format: plain zarr-python, without digests, and without what is zero."""

from __future__ import annotations

import json
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from small import small_arrays, small_writer

if TYPE_CHECKING:
    from pathlib import Path


def write_foreign(root: Path, *, consolidated: bool, checksums: bool, sharded: bool = True) -> dict[str, Any]:
    """Write a sample as another writer does: chunks of nothing but zeros, and a whole shard of them, are left out."""
    written = small_writer(root / "template", shard_points=8).write_group("run", small_arrays())
    arrays = small_arrays()
    arrays["surface_pressure"][:4] = 0
    arrays["volume_velocity"][:8] = 0
    group = zarr.create_group(root / "a.zarr", attributes={"owner": "somebody"})
    domains = small_writer(root / "template").layouts
    for domain, layout in domains.items():
        for field, array in layout.arrays.items():
            grid = written.domains[domain]
            created = group.create_array(
                array.array_name,
                shape=(grid.n_points, array.dim),
                chunks=(grid.chunk_points, array.dim),
                shards=(grid.shard_points, array.dim) if sharded else None,
                dtype=array.dtype,
                compressors=[BloscCodec(), Crc32cCodec()] if checksums else BloscCodec(),
                attributes={"units": "m"},
            )
            created[:] = arrays[field].reshape(grid.n_points, -1).astype(array.dtype)
    if consolidated:
        with warnings.catch_warnings(action="ignore"):  # not every Zarr library can, says zarr-python
            zarr.consolidate_metadata(root / "a.zarr")
    document = {
        "dataset_name": "foreign",
        "shuffle_seed": 0,
        "somebody": {"else's": "key"},
        "domains": {domain: layout.model_dump() for domain, layout in domains.items()},
        "samples": {"a": {"relpath": "a.zarr", "theirs": 1, "domains": {
            domain: grid.model_dump() for domain, grid in written.domains.items()}}},
    }  # fmt: skip
    (root / "manifest.json").write_text(json.dumps(document))
    shutil.rmtree(root / "template")
    return arrays
