"""Distances and vorticity that recipes derive, against VTK's, and against brute force and what is known.

    python tests/benchmarks/derived.py

Each way computes in a process of its own. The error of a distance is the largest against the brute force, that of
vorticity the median and the 95th percentile of the relative error against the known curl.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
from peak_memory import peak_bytes

QUERIES = 20_000
CHECKED = 50
SIDE = 60
FLOOR = "brute force in NumPy, of a few"
DISTANCES = ("drawpoint", "drawpoint, signed", "VTK", FLOOR)
CURLS = ("drawpoint, cells", "drawpoint, cells, gauss", "VTK, cells", "drawpoint, points", "VTK, points")

Array = np.ndarray[Any, Any]


def surface() -> tuple[Array, Array]:
    """Return a bumpy body of 81,920 triangles."""
    import pyvista as pv  # noqa: PLC0415  processes load what they measure

    ball = pv.Icosphere(nsub=6)
    points = np.array(ball.points, np.float64)
    points *= 1 + 0.05 * np.sin(9 * points[:, :1]) * np.cos(7 * points[:, 1:2])
    return points * [2.0, 1.0, 0.6], np.array(ball.faces).reshape(-1, 4)[:, 1:].astype(np.int64)


def queries(vertices: Array) -> Array:
    """Return points of which half lie in a layer at the body and half around it, in the order of a mesh's cells."""
    rng = np.random.default_rng(0)
    layer = vertices[rng.integers(0, len(vertices), QUERIES // 2)] * (1 + rng.exponential(0.01, (QUERIES // 2, 1)))
    around = rng.uniform(-4, 4, (QUERIES - len(layer), 3))
    points = np.concatenate([layer, around])
    return points[np.lexsort(np.floor(points * 8).T)]


def brute_force(points: Array, vertices: Array, triangles: Array) -> Array:
    """Return distances by looking at each side and each face of each triangle."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a)
    size = np.linalg.norm(normal, axis=1)
    nearest = np.empty(len(points))
    for number, point in enumerate(points):
        above = np.ones(len(triangles), bool)
        found = np.inf
        for begin, end in ((a, b), (b, c), (c, a)):
            side = end - begin
            above &= np.vecdot(np.cross(side, point - begin), normal) >= 0
            share = np.clip(np.vecdot(point - begin, side) / np.vecdot(side, side), 0, 1)
            found = min(found, float(np.linalg.norm(point - begin - share[:, None] * side, axis=1).min()))
        heights = np.abs(np.vecdot(point - a, normal)) / size
        nearest[number] = min(found, float(heights[above].min(initial=np.inf)))
    return nearest


def by_vtk(vertices: Array, triangles: Array, points: Array) -> Array:
    """Return distances by vtkImplicitPolyDataDistance, in float64."""
    import pyvista as pv  # noqa: PLC0415  processes load what they measure
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy  # noqa: PLC0415  as above
    from vtkmodules.vtkCommonCore import vtkDoubleArray  # noqa: PLC0415  as above
    from vtkmodules.vtkFiltersCore import vtkImplicitPolyDataDistance  # noqa: PLC0415  as above

    distance, found = vtkImplicitPolyDataDistance(), vtkDoubleArray()
    distance.SetInput(pv.PolyData.from_regular_faces(vertices, triangles))
    places: Any = numpy_to_vtk(points)  # type: ignore[no-untyped-call]  # VTK's has no types
    distance.EvaluateFunction(places, found)
    return np.abs(vtk_to_numpy(found))  # type: ignore[no-untyped-call,no-any-return]  # VTK's has no types


def vorticity(way: str) -> tuple[float, Array, Array]:
    """Return the seconds for the curl of a smooth velocity on moved hexahedra, the curl, and the one that is known."""
    import pyvista as pv  # noqa: PLC0415  processes load what they measure
    from vtkmodules.vtkFiltersGeneral import vtkGradientFilter  # noqa: PLC0415  as above

    from drawpoint_store.data_files.curls import cell_curls, point_curls  # noqa: PLC0415  as above
    from drawpoint_store.data_files.geometry import cell_centres  # noqa: PLC0415  as above
    from drawpoint_store.data_files.vtk_library import VtkMesh  # noqa: PLC0415  as above

    rng = np.random.default_rng(0)
    grid = pv.ImageData(dimensions=(SIDE + 1,) * 3).cast_to_structured_grid().cast_to_unstructured_grid()
    grid.points = (np.asarray(grid.points, np.float64) + rng.uniform(-0.15, 0.15, (grid.n_points, 3))) / SIDE
    mesh, at_cells = VtkMesh(grid, "the mesh"), "cells" in way
    x, y, z = (cell_centres(mesh, "centroid") if at_cells else mesh.points()).T * 6
    velocity = np.stack([np.sin(y) * np.cos(z), np.sin(z), np.cos(x) * y], axis=1)
    known = 6 * np.stack(
        [np.cos(x) - np.cos(z), -np.sin(y) * np.sin(z) + y * np.sin(x), -np.cos(y) * np.cos(z)], axis=1
    )
    begin = time.perf_counter()
    if way.startswith("VTK"):
        (grid.cell_data if at_cells else grid.point_data)["u"] = velocity
        vtk = vtkGradientFilter()
        vtk.SetInputData(grid)
        vtk.SetInputScalars(int(at_cells), "u")
        vtk.ComputeGradientOff()
        vtk.ComputeVorticityOn()
        vtk.Update()
        output = pv.wrap(vtk.GetOutput())
        found = np.array((output.cell_data if at_cells else output.point_data)["Vorticity"])
    elif at_cells:
        found = cell_curls(mesh, velocity, "gauss" if "gauss" in way else "least-squares")
    else:
        found = point_curls(mesh, velocity)
    return time.perf_counter() - begin, found, known


def distance(way: str) -> tuple[float, Array, Array]:
    """Return the seconds for distances, those that are checked, and their brute force."""
    from drawpoint_store.data_files.surface_distance import surface_distances  # noqa: PLC0415  as above

    vertices, triangles = surface()
    points = queries(vertices)
    checked = np.random.default_rng(1).choice(len(points), CHECKED, replace=False)
    known = brute_force(points[checked], vertices, triangles)
    begin = time.perf_counter()
    if way == "VTK":
        found = by_vtk(vertices, triangles, points)
    elif way == FLOOR:
        found = brute_force(points[checked], vertices, triangles)
        return (time.perf_counter() - begin) * len(points) / CHECKED, found, known
    else:
        found = np.abs(surface_distances(points, vertices, triangles, "signed" if "signed" in way else "unsigned"))
    return time.perf_counter() - begin, found[checked], known


def measure(way: str) -> None:
    """Print what one way takes, and its errors: for distances the largest, for vorticity quantiles of relative ones."""
    if way in DISTANCES:
        seconds, found, known = distance(way)
        errors = [float(np.abs(found - known).max())]
    else:
        seconds, found, known = vorticity(way)
        relative = np.linalg.norm(found - known, axis=1) / np.linalg.norm(known, axis=1)
        errors = np.quantile(relative, [0.5, 0.95]).tolist()
    print(json.dumps({"seconds": seconds, "errors": errors, "peak": peak_bytes()}))


def main() -> None:
    """Measure each way in a process of its own, and print the tables."""
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    for title, ways in ((f"{QUERIES:,} distances to 81,920 triangles", DISTANCES), (f"{SIDE**3:,} hexahedra", CURLS)):
        print(f"{title}\n\n| way | s | over drawpoint | peak MB | error |\n|---|---|---|---|---|")
        first = 0.0
        for way in ways:
            run = subprocess.run([sys.executable, __file__, way], check=True, capture_output=True, text=True)
            told = json.loads(run.stdout)
            first = first or told["seconds"]
            errors = " / ".join(f"{each:.1e}" for each in told["errors"])
            ratio = told["seconds"] / first
            print(f"| {way} | {told['seconds']:.1f} | {ratio:.1f} | {told['peak'] / 1e6:.0f} | {errors} |")
        print()


if __name__ == "__main__":
    main()
