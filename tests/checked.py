"""Stores and rows whose physics is checked, and a closed surface of triangles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conftest import AHMED, REPOSITORY
from drawpoint_store import FieldSpec, FileMap, ZarrStoreWriter
from drawpoint_store.conversion.recipes.recipe import Recipe
from drawpoint_store.conversion.recipes.recipe_file import load_recipe
from drawpoint_store.inspecting.physics.finding import Finding
from drawpoint_store.inspecting.physics.physics_check import check_physics

Arrays = dict[str, np.ndarray[Any, Any]]
AHMED_RECIPE = REPOSITORY / "examples" / "ahmed.toml"


def ahmed_recipe() -> Recipe:
    return load_recipe(AHMED_RECIPE)


def arrays_of_run(folder: Path = AHMED / "slant_25", domain: str = "*") -> Arrays:
    """Return the fields of a run of .pt files, in float64; those of a domain alone, if one is given."""
    files = sorted(folder.glob(f"{domain}_*.pt"))
    return {file.stem: torch.load(file, weights_only=True).double().numpy() for file in files}


def write_checked(
    root: Path,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    sample_id: str = "slant_25",
    scalars: Mapping[str, float] | None = None,
    **dtypes: str,
) -> Path:
    """Write a store of one sample with these fields, in float32 unless `dtypes` says otherwise."""
    specs = []
    for field, values in arrays.items():
        domain, name = field.split("_", 1)
        dim = 1 if values.ndim == 1 else values.shape[1]
        specs.append(FieldSpec(field, domain, name, dim, "coord" if name == "position" else "value"))
    writer = ZarrStoreWriter(
        root, FileMap(), "checked", fields=specs, values_dtype="float32", field_dtypes=dtypes, chunk_points=1024
    )
    writer.write_sample(sample_id, {field: values.astype(np.float32) for field, values in arrays.items()}, scalars)
    writer.save_manifest()
    return root


def findings_of(root: Path, recipe: Recipe | None = None, **settings: Any) -> dict[str, Finding]:
    """Return the findings of the only sample of a store, by check."""
    (findings,) = check_physics(root, recipe, **settings)
    return {finding.check: finding for finding in findings}


def ellipsoid(half_axes: tuple[float, float, float] = (1.0, 1.0, 1.0), rings: int = 12) -> Arrays:
    """Return the centroids, outward unit normals and areas of a closed surface of triangles."""
    theta, phi = np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1)
    grid = np.stack(
        [
            np.sin(theta)[:, None] * np.cos(phi),
            np.sin(theta)[:, None] * np.sin(phi),
            np.cos(theta)[:, None] * np.ones_like(phi),
        ],
        axis=-1,
    ) * np.array(half_axes)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    corners = np.concatenate([np.stack(each, axis=2).reshape(-1, 3, 3) for each in ((a, b, c), (a, c, d))])
    directed = 0.5 * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(directed, axis=1)
    kept = area > area.max() * 1e-6  # triangles at the poles have no area
    return {
        "surface_position": corners.mean(axis=1)[kept],
        "surface_normals": (directed[kept] / area[kept, None]),
        "surface_area": area[kept],
    }
