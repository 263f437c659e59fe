"""What the tests of shipped recipes share: conversion by name, and what is compared with what lies in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv

from drawpoint import source_rows
from drawpoint_store import ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.conversion.recipes.recipe_file import load_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.convert import ConversionReport, convert

DERIVED = ("normals", "area", "cell_volume")
"""Fields that VTK computes in another order of roundings, as it does the centres of cells."""


def convert_by(name: str, source: Path, root: Path) -> tuple[ConversionReport, ZarrChunkReader]:
    """Convert a tree by the shipped recipe of that name."""
    found = RecipeSource.scan(source, load_recipe(name))
    report = convert(found, ZarrStoreWriter(root, **found.writer_settings))
    return report, ZarrChunkReader(root)


def assert_holds(
    reader: ZarrChunkReader,
    sample_id: str,
    domain: str,
    expected: Mapping[str, Any],
    rounded: Sequence[str] = ("position", *DERIVED),
) -> None:
    """Compare every value of a domain, in the order of the source, with what is expected in the dtype stored.

    The fields in `rounded` may differ in their last digits, and in others that dtype has to keep the digits of float16.
    """
    rows = source_rows(reader.manifest, sample_id, domain)
    fields = reader.manifest.domains[domain].arrays
    assert set(fields) == {f"{domain}_{name}" for name in expected}
    stored = reader.read_sample(sample_id, fields=list(fields))
    for field, layout in fields.items():
        name = field.removeprefix(f"{domain}_")
        values = np.asarray(expected[name], layout.dtype)
        assert len(values) == len(rows), field
        found, values = stored[field].numpy(), values[rows]
        if name in rounded:
            assert np.allclose(found, values, rtol=1e-3, atol=1e-6), field
        else:
            assert np.array_equal(found, values), field
            kept = np.asarray(expected[name], np.float64)[rows].reshape(found.shape)
            assert np.allclose(found, kept, rtol=2.0**-11, atol=0), f"{field} is too small for {layout.dtype}"


def splits_of(root: Path) -> dict[str, list[str]]:
    """Return the splits of a store."""
    return {path.stem: path.read_text(encoding="utf-8").split() for path in (root / "splits").glob("*.txt")}


def write_splits(source: Path, **lists: Sequence[str]) -> None:
    """Write the manifest of splits as the data sets of neashton at Hugging Face have it."""
    (source / "splits").mkdir()
    (source / "splits" / "manifest.json").write_text(json.dumps(lists), encoding="utf-8")


def write_csv(path: Path, **values: float) -> None:
    """Write a table of one row, with a blank after each comma."""
    lines = (", ".join(map(str, cells)) for cells in (values, values.values()))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def outward(surface: pv.PolyData) -> Any:
    """Return the unit normals of a body whose polygons turn into it, by VTK."""
    turned = surface.compute_normals(consistent_normals=False, auto_orient_normals=False, split_vertices=False)
    return -turned.cell_data["Normals"]


def of_polygons(surface: pv.PolyData, arrays: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a surface by cells: arrays by field, and what its mesh gives."""
    return {
        "position": surface.cell_centers().points,
        "normals": outward(surface),
        "area": surface.compute_cell_sizes().cell_data["Area"],
        **{field: surface.cell_data[array] for field, array in arrays.items()},
    }


def of_cells(volume: pv.UnstructuredGrid, arrays: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a volume by cells: arrays by field, and the means of their vertices."""
    centres = np.stack([np.asarray(volume.points)[cell.point_ids].mean(axis=0) for cell in volume.cell])
    return {"position": centres, **{field: volume.cell_data[array] for field, array in arrays.items()}}


def areas_of_points(surface: pv.DataSet) -> np.ndarray[Any, Any]:
    """Return each point's share of the polygons around it: of one of n corners an n-th."""
    shares = np.zeros(surface.n_points)
    for cell, area in zip(surface.cell, surface.compute_cell_sizes().cell_data["Area"], strict=True):
        shares[cell.point_ids] += area / cell.n_points
    return shares


def outward_at_points(surface: pv.PolyData) -> np.ndarray[Any, Any]:
    """Return the unit normals at the points of a body: the mean of those of the polygons around, weighted by area."""
    normals = np.zeros((surface.n_points, 3))
    areas = surface.compute_cell_sizes().cell_data["Area"]
    for cell, area, normal in zip(surface.cell, areas, outward(surface), strict=True):
        normals[cell.point_ids] += area * normal
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals
