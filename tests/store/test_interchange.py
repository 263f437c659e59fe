"""Stores of the other implementation of the format are read here, and ours are read by plain zarr-python."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr

from conftest import REPOSITORY
from drawpoint.draw.rows import row_indices
from drawpoint.errors import MetadataDamaged
from drawpoint_store import (
    FileMap,
    ZarrChunkReader,
    ZarrStoreWriter,
    build_domain_layouts,
)
from drawpoint_store.reading.plan import plan_sample
from foreign import write_foreign

FILEMAP = FileMap(
    surface_position="surface_position.pt",
    surface_pressure="surface_pressure.pt",
    volume_position="volume_position.pt",
    volume_vorticity="volume_vorticity.pt",
)
LAYOUTS = build_domain_layouts(FILEMAP, field_dtypes={"volume_vorticity": "float32"})
CHUNK = 256
COUNTS = {"param0/abc": {"surface": 900, "volume": 3000}, "param1/def": {"surface": 512, "volume": 256}}


def foreign_values(sample_id: str) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(len(sample_id) + COUNTS[sample_id]["surface"])
    values = {}
    for domain, layout in LAYOUTS.items():
        for field, array in layout.arrays.items():
            made = rng.standard_normal((COUNTS[sample_id][domain], array.dim)).astype(array.dtype)
            if field == layout.position:
                made[:, 0] = np.arange(len(made))
            values[field] = made
    values["surface_pressure"][:CHUNK] = 0  # a chunk of the fill value, which zarr-python leaves out
    return values


def write(root: Path, *, consolidated: bool = True) -> Path:
    samples = {sample_id: foreign_values(sample_id) for sample_id in COUNTS}
    return write_foreign(root, samples, LAYOUTS, chunk=CHUNK, consolidated=consolidated)


@pytest.fixture(scope="module")
def foreign_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("foreign"))


DRAWS: list[dict[str, Any]] = [
    {},
    {"num_points": {"surface": 100, "volume": 1000}, "seed": 1},
    {"num_points": {"surface": 511, "volume": 255}, "seed": 2},
    {"num_points": {"surface": 300, "volume": 300}, "seed": 3, "part": 5},
]


@pytest.mark.parametrize("arguments", DRAWS, ids=str)
@pytest.mark.parametrize("sample_id", COUNTS)
def test_a_foreign_store_is_read(foreign_root: Path, sample_id: str, arguments: dict[str, Any]) -> None:
    reader = ZarrChunkReader(foreign_root)
    read = reader.read_sample(sample_id, **{"seed": 0, **arguments})
    values = foreign_values(sample_id)
    plan = plan_sample(
        reader.manifest,
        sample_id,
        arguments.get("num_points"),
        seed=arguments.get("seed", 0),
        part=arguments.get("part"),
    )
    assert read.keys() == values.keys()
    for field, array in plan.arrays.items():
        rows = row_indices(array.draw.rows, CHUNK)
        expected = values[field][rows].reshape(array.shape).astype(np.float32)
        np.testing.assert_array_equal(read[field].numpy(), expected)


def test_a_foreign_store_without_consolidated_metadata_is_read(tmp_path: Path) -> None:
    read = ZarrChunkReader(write(tmp_path, consolidated=False)).read_sample("param0/abc")
    for field, values in foreign_values("param0/abc").items():
        np.testing.assert_array_equal(read[field].numpy(), values.reshape(read[field].shape).astype(np.float32))


def test_a_foreign_manifest_that_disagrees_with_its_arrays_is_damage_of_that_sample_alone(tmp_path: Path) -> None:
    root = write(tmp_path)
    content = json.loads((root / "manifest.json").read_text())
    content["samples"]["param0/abc"]["domains"]["surface"]["n_points"] -= 1
    (root / "manifest.json").write_text(json.dumps(content))
    reader = ZarrChunkReader(root)
    with pytest.raises(MetadataDamaged, match="param0/abc") as caught:
        reader.read_sample("param0/abc", {"surface": 10, "volume": 10}, seed=1)
    assert caught.value.sample == "param0/abc"
    assert reader.read_sample("param1/def", {"surface": 10, "volume": 10}, seed=1)


def test_a_sample_can_be_added_to_a_foreign_store_and_the_old_ones_stay(tmp_path: Path) -> None:
    root = write(tmp_path)
    old = ZarrChunkReader(root)
    writer = ZarrStoreWriter(root, FILEMAP, "foreign", chunk_points=CHUNK, field_dtypes={"volume_vorticity": "float32"})
    writer.manifest.samples.update(old.manifest.samples)
    for sample_id in ("param2/new", "param0/abc"):
        writer.write_sample(sample_id, {**foreign_values("param1/def")})
    writer.save_manifest()
    new = ZarrChunkReader(root)
    assert list(new.manifest.samples) == ["param0/abc", "param1/def", "param2/new"]
    assert new.read_sample("param0/abc")["surface_pressure"].shape == (512,)
    assert old.read_sample("param0/abc")["surface_pressure"].shape == (900,)
    assert torch.equal(
        new.read_sample("param1/def")["volume_vorticity"], old.read_sample("param1/def")["volume_vorticity"]
    )


def _real_foreign_store() -> Path:
    named = os.environ.get("DRAWPOINT_FOREIGN_STORE")
    return Path(named) if named else REPOSITORY.parent / "shared" / "data" / "noether_store"


@pytest.mark.skipif(
    not (_real_foreign_store() / "manifest.json").is_file(),
    reason="there is no store of the other implementation: name one in DRAWPOINT_FOREIGN_STORE",
)
def test_a_store_that_the_other_implementation_wrote_is_read() -> None:
    root = _real_foreign_store()
    reader = ZarrChunkReader(root, read_concurrency=2)
    assert len(reader.manifest.samples) > 0
    for sample_id, entry in reader.manifest.samples.items():
        counts = {domain: max(1, grid.n_points // 3) for domain, grid in entry.domains.items()}
        for num_points in (None, counts):
            plan = plan_sample(reader.manifest, sample_id, num_points, seed=5)
            read = reader.read_sample(sample_id, num_points, seed=5)
            group = zarr.open_group(root / entry.relpath, mode="r")
            assert read.keys() == plan.arrays.keys()
            for field, array in plan.arrays.items():
                stored: Any = group[array.layout.array_name]
                rows = stored.oindex[row_indices(array.draw.rows, array.draw.grid.chunk_points)]
                expected = rows.reshape(array.shape).astype(np.float32)
                np.testing.assert_array_equal(read[field].numpy(), expected)


def test_our_store_opens_in_plain_zarr_with_identical_values(store_root: Path) -> None:
    reader = ZarrChunkReader(store_root)
    for sample_id, entry in reader.manifest.samples.items():
        group = zarr.open_group(store_root / entry.relpath, mode="r")
        assert {name for name, _ in group.members(max_depth=None)} == set(reader.manifest.domains) | {
            layout.array_name for layout in reader.manifest.fields.values()
        }
        read = reader.read_sample(sample_id)
        for field, layout in reader.manifest.fields.items():
            stored: Any = group[layout.array_name]
            assert stored.dtype == layout.dtype
            values = stored[...].astype(np.float32).reshape(read[field].shape)
            np.testing.assert_array_equal(values, read[field].numpy())
