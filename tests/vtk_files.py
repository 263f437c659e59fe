"""Files as VTK's own writers make them, of small bodies with arrays on cells and points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv

Arrays = Mapping[str, np.ndarray[Any, Any]]


def body(seed: int = 0) -> pv.PolyData:
    """Return a box of 3 quads and 6 triangles around 8 points that turn into it, as OpenFOAM's boundaries do."""
    rng = np.random.default_rng(seed)
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float32)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1]]
    triangles = [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    faces = [[len(face), *face] for face in (*quads, *triangles)]
    return pv.PolyData(corners * rng.uniform(1, 2, 3).astype(np.float32), np.concatenate(faces))


def block(seed: int = 0, size: int = 3) -> pv.UnstructuredGrid:
    """Return size x (size + 1) x size hexahedra whose inner points are moved at random."""
    rng = np.random.default_rng(seed)
    grid = pv.ImageData(dimensions=(size + 1, size + 2, size + 1)).cast_to_unstructured_grid()
    grid.points = np.asarray(grid.points, np.float32) + rng.uniform(-0.1, 0.1, (grid.n_points, 3)).astype(np.float32)
    return grid


def add_arrays(mesh: pv.DataSet, cell: Mapping[str, int] = {}, point: Mapping[str, int] = {}, seed: int = 0) -> None:
    """Add random float32 arrays of the given numbers of components to cells and points."""
    rng = np.random.default_rng([seed, 1])
    for arrays, held, count in ((cell, mesh.cell_data, mesh.n_cells), (point, mesh.point_data, mesh.n_points)):
        for name, dim in arrays.items():
            shape = (count,) if dim == 1 else (count, dim)
            held[name] = rng.standard_normal(shape, dtype=np.float32)


def save(mesh: pv.DataSet, path: Path) -> None:
    """Write a mesh in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh.save(path)


def split(path: Path, pieces: int) -> None:
    """Cut a file in pieces `.00.part`, `.01.part` and so on, as data sets ship files that are too large for one."""
    data = path.read_bytes()
    size = -(-len(data) // pieces)
    for number in range(pieces):
        path.with_name(f"{path.name}.{number:02}.part").write_bytes(data[number * size : (number + 1) * size])
    path.unlink()
