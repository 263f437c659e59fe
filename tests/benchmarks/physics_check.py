"""How fast a surface is checked by physics, against reading it whole with zarr-python and the same sums in NumPy.

    python tests/benchmarks/physics_check.py

The floor reads the same blocks and does nothing with them. All ways go through the same made store in turns, so that
drift of the machine falls on all of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from turns import print_times, time_in_turns

from drawpoint_store import FieldSpec, FileMap, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.inspecting.physics.physics_check import check_physics
from drawpoint_store.reading.blocks import plan_blocks, read_block

ROUNDS = 5
FACES = 8_800_000
"""As many as a surface of DrivAerML has."""

RECIPE = """
name = "made"
sample = "run_{n}"
[surface]
file = "b.vtp"
[surface.fields]
pressure = "p"
friction = "tau"
normals = { derive = "normals" }
area = { derive = "area" }
[checks.drag]
check = "force"
expected = "Cd"
"""
CD = 4 / 3 * np.pi / 0.5


def write_sphere(root: Path) -> Path:
    """Write a unit sphere of random faces in a pressure that falls along x: the force is its volume."""
    normals = np.random.default_rng(0).standard_normal((FACES, 3), np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    arrays = {
        "surface_position": normals,
        "surface_pressure": -normals[:, 0],
        "surface_friction": np.zeros((FACES, 3), np.float32),
        "surface_normals": normals,
        "surface_area": np.full(FACES, 4 * np.pi / FACES, np.float32),
    }
    specs = [
        FieldSpec(
            field,
            "surface",
            field.partition("_")[2],
            1 if values.ndim == 1 else values.shape[1],
            "coord" if field == "surface_position" else "value",
        )
        for field, values in arrays.items()
    ]
    writer = ZarrStoreWriter(
        root, FileMap(), "made", fields=specs, field_dtypes={"surface_area": "float32"}, compression_level=0
    )
    writer.write_sample("run_1", arrays, {"Cd": CD, "U_inf": 1.0, "A_ref": 1.0})
    writer.save_manifest()
    return root


def drag_by_zarr_and_numpy(root: Path) -> float:
    """Sum up the drag alone as one would by hand: each array read whole, in float64."""
    manifest = ZarrChunkReader(root).manifest
    group: Any = zarr.open_group(root / manifest.samples["run_1"].relpath, mode="r")
    pressure, friction, normals, area = (
        np.asarray(group[manifest.fields[f"surface_{name}"].array_name][:], np.float64)
        for name in ("pressure", "friction", "normals", "area")
    )
    return float(-(area * (pressure * normals[:, :1] + friction[:, :1])).sum() / 0.5)


def read_all(store: ZarrChunkReader) -> None:
    """Read the blocks that a check reads, and do nothing with them."""
    for plan in plan_blocks(store.manifest, "run_1"):
        read_block(store, plan)


def main() -> None:
    recipe = parse_recipe(RECIPE, "the benchmark's")
    with tempfile.TemporaryDirectory() as folder:
        root = write_sphere(Path(folder))
        (findings,) = check_physics(root, recipe)
        assert {finding.verdict for finding in findings} == {"holds"}
        assert findings[0].found is not None
        assert abs(findings[0].found - drag_by_zarr_and_numpy(root)) < 1e-9 * CD
        store = ZarrChunkReader(root)
        ways = {
            "drawpoint": lambda _: list(check_physics(root, recipe)),
            "drawpoint, 2 threads": lambda _: list(check_physics(root, recipe, max_workers=2)),
            "floor: the blocks are read": lambda _: read_all(store),
            "zarr-python full reads + NumPy, drag alone": lambda _: drag_by_zarr_and_numpy(root),
        }
        times = time_in_turns(ways, ROUNDS)
    print(f"{FACES:,} faces, {len(findings)} checks of 5 fields; {ROUNDS} rounds.\n")
    print_times(times, "a sample")


if __name__ == "__main__":
    main()
