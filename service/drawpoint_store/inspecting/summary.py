"""A summary of a store, as plain values: counts, grids, sizes, the cost of draws, splits and statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.draw.rows import draw_rows
from drawpoint.errors import MetadataDamaged
from drawpoint_store.reading.digests import covers_tables
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.reading.splits import list_splits, read_split
from drawpoint_store.reading.statistics_file import read_statistics
from drawpoint_store.statistics.moments_table import MomentsTable, read_moments
from drawpoint_store.storage import open_storage
from drawpoint_store.storage.locations import local_path

if TYPE_CHECKING:
    import os

    import drawpoint.format.manifest
    from drawpoint.format.manifest import DomainLayout, DomainSample
    from drawpoint_store.storage import Storage

DRAW_COUNTS = (1_024, 4_096, 16_384, 65_536)
"""The numbers of points whose cost is shown: typical draws of a domain in training."""

_SEEDS = 32  # draws that a cost is the mean of
_MOST_SAMPLES_WEIGHED = 1_000  # looking up the sizes of all files of more samples would take long


def describe_store(store_root: str | os.PathLike[str]) -> dict[str, Any]:
    """Return a summary of the store, ready for JSON; reads no sample's data.

    `stored_bytes` is None where weighing the files would be slow: on remote storage, and for many samples. Raises
    StoreNotFound, InvalidManifest, and StoreUnreadable where the storage does not answer.
    """
    storage = open_storage(store_root)
    manifest = StoreManifest.load(storage)
    grids: dict[str, list[DomainSample]] = {domain: [] for domain in manifest.domains}
    for entry in manifest.samples.values():
        for domain, grid in entry.domains.items():
            grids[domain].append(grid)
    domains = {domain: _describe_domain(layout, grids[domain]) for domain, layout in manifest.domains.items()}
    return {
        "store_root": storage.root,
        "dataset_name": manifest.dataset_name,
        "format_version": manifest.format_version,
        "revision": manifest.revision,
        "compressor": manifest.compressor,
        "n_samples": len(manifest.samples),
        "n_digests": sum(entry.digest is not None for entry in manifest.samples.values()),
        "n_tables": sum(covers_tables(entry.digest) for entry in manifest.samples.values()),
        "logical_bytes": sum(
            domain["points"]["total"] * domain["bytes_per_point"] for domain in domains.values() if domain["points"]
        ),
        "stored_bytes": _weigh(storage, manifest),
        "domains": domains,
        "scalars": {
            name: {"n_samples": len(values), "min": min(values.values()), "max": max(values.values())}
            for name, values in manifest.samples.scalar_values().items()
        },
        "precision": {field: found.summary() for field, found in manifest.precision.items()},
        "splits": _describe_splits(storage, manifest),
        "statistics": _describe_statistics(storage, manifest.revision),
        "n_measured": _count_measured(storage, manifest),
    }


def draw_cost(grid: DomainSample, num_points: int) -> dict[str, Any]:
    """Return how many chunks a draw of `num_points` reads on average, and how many points it reads for one drawn."""
    draws = (draw_rows(grid, num_points, seed=seed, sample_id="", domain="", stream="fields") for seed in range(_SEEDS))
    mean = sum(len({each.chunk for each in rows}) for rows in draws) / _SEEDS
    amplification = round(mean * grid.chunk_points / num_points, 2)
    return {"num_points": num_points, "chunks": round(mean, 2), "amplification": amplification}


def _describe_domain(layout: DomainLayout, grids: list[DomainSample]) -> dict[str, Any]:
    fields: dict[str, dict[str, Any]] = {
        field: {
            **array.model_dump(exclude={"array_name", "field"}),
            "bytes_per_point": array.dim * np.dtype(array.dtype).itemsize,
        }
        for field, array in layout.arrays.items()
    }
    described: dict[str, Any] = {
        "n_samples": len(grids),
        "points": None,
        "fields": fields,
        "bytes_per_point": sum(field["bytes_per_point"] for field in fields.values()),
    }
    if not grids:
        return described
    by_size = sorted(grids, key=lambda grid: grid.n_points)
    # The lower median, so that it is the grid of a sample that exists.
    typical = by_size[(len(grids) - 1) // 2]
    return described | {
        "points": {
            "min": by_size[0].n_points,
            "median": typical.n_points,
            "max": by_size[-1].n_points,
            "total": sum(grid.n_points for grid in grids),
        },
        "chunk_points": sorted({grid.chunk_points for grid in grids}),
        "shards_per_array": max(-(-grid.n_points // grid.shard_points) for grid in grids),
        "draws": [draw_cost(typical, count) for count in DRAW_COUNTS if count < typical.n_points],
    }


def _describe_splits(storage: Storage, manifest: drawpoint.format.manifest.StoreManifest) -> dict[str, dict[str, int]]:
    described = {}
    for name in list_splits(storage):
        ids = read_split(storage, name)
        described[name] = {"n_ids": len(ids), "n_absent": sum(each not in manifest.samples for each in ids)}
    return described


def _describe_statistics(storage: Storage, revision: str) -> dict[str, Any]:
    """Return `state`: fresh, stale (of another revision), none or damaged; with the split and number of samples."""
    try:
        found = read_statistics(storage)
    except MetadataDamaged:
        return {"state": "damaged"}
    if found is None:
        return {"state": "none"}
    state = "fresh" if found["revision"] == revision else "stale"
    return {"state": state, "split": found.get("split"), "n_samples": found.get("n_samples")}


def _count_measured(storage: Storage, manifest: drawpoint.format.manifest.StoreManifest) -> int | None:
    """Return of how many samples the store keeps moments, None where their file is damaged."""
    try:
        return len(MomentsTable.of(manifest, read_moments(storage)))
    except MetadataDamaged:
        return None


def _weigh(storage: Storage, manifest: drawpoint.format.manifest.StoreManifest) -> int | None:
    """Return the bytes of the files of all samples, or None where looking them up is not cheap."""
    if storage.is_remote or len(manifest.samples) > _MOST_SAMPLES_WEIGHED:
        return None
    root = local_path(storage).resolve()
    return sum(
        storage.count_bytes(sample.relpath)
        for sample in manifest.samples.values()
        # A link may lead anywhere, and reads do not follow it either.
        if local_path(storage.join(sample.relpath)).resolve().is_relative_to(root)
    )
