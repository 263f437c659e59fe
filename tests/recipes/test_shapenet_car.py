"""The recipe shapenet-car on a tree with the names, arrays, files and traps of ShapeNet-Car."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from drawpoint_store.conversion.recipes.recipe_file import load_recipe
from shipped import assert_holds, convert_by, splits_of
from vtk_files import block

INCOMPLETE = (
    "param2/854bb96a96a4d1b338acbabdc1252e2f",
    "param2/85bb9748c3836e566f81b21e2305c824",
    "param5/9ec13da6190ab1a3dd141480e2c154d3",
    "param8/c5079a5b8d59220bc3fb0d224baae2a",
)


def quad_body(seed: int) -> tuple[pv.UnstructuredGrid, np.ndarray]:
    """Return a box of quads, some turned into it, with a point of none, and the normals out of it at its points."""
    size = np.random.default_rng(seed).uniform(1, 2, 3).round(2)
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)]) - 0.5
    outside = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
    quads = [face[::-1] if number % 2 else face for number, face in enumerate(outside)]
    points = np.vstack([corners[:3] * size, [[9, 9, 9]], corners[3:] * size]).astype(np.float32)
    cells = np.array([[4, *(point + (point >= 3) for point in quad)] for quad in quads])
    normals = np.sign(points) / size  # each side has the same share, of the area across it
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals[3] = 0
    return pv.UnstructuredGrid(cells.ravel(), np.full(6, pv.CellType.QUAD), points), normals


def write_case(case: Path, seed: int) -> dict[str, np.ndarray]:
    """Write legacy files whose active arrays are the pressure and the velocity, among others."""
    case.mkdir(parents=True)
    rng = np.random.default_rng([seed, 5])
    surface, normals = quad_body(seed)
    volume = block(seed)
    volume.points = np.asarray(volume.points).round(3)  # as many digits as text keeps
    made = {
        "pressure": rng.standard_normal(surface.n_points, np.float32).round(3),
        "velocity": rng.standard_normal((volume.n_points, 3), np.float32).round(3),
        "normals": normals,
        "surface": np.asarray(surface.points),
        "volume": np.asarray(volume.points),
    }
    surface.point_data["other"] = np.zeros(surface.n_points, np.float32)
    surface.point_data["point_scalars"] = made["pressure"]
    surface.point_data.active_scalars_name = "point_scalars"
    volume.point_data["point_vectors"] = made["velocity"]
    volume.point_data["other"] = np.zeros((volume.n_points, 3), np.float32)
    volume.point_data.active_vectors_name = "point_vectors"
    surface.save(case / "quadpress_smpl.vtk", binary=False)
    volume.save(case / "hexvelo_smpl.vtk", binary=False)
    np.save(case / "press.npy", made["pressure"].astype(np.float64))
    np.save(case / "velo.npy", made["velocity"].astype(np.float64).ravel())
    (case / "cd.txt").write_text("0.3\n", encoding="utf-8")
    return made


@pytest.mark.parametrize("above", ["", "training_data"])
def test_active_arrays_are_read_and_the_first_fold_is_the_test_set(above: str, tmp_path: Path) -> None:
    source = tmp_path / "set"
    ids = ["param0/1a0bc9ab92c915167ae33d942430658c", "param1/1a1dcd236a1e6133860800e6696b8284", "param8/1e1b2c3d"]
    made = {sample_id: write_case(source / above / sample_id, seed) for seed, sample_id in enumerate(ids)}
    for number, sample_id in enumerate(INCOMPLETE):
        write_case(source / above / sample_id, number)
        (source / above / sample_id / "quadpress_smpl.vtk").unlink()
    (source / above / "param0" / ".DS_Store").touch()
    report, reader = convert_by("shapenet-car", source, tmp_path / "store")
    assert (report.converted, report.broken) == (ids, {})
    assert splits_of(tmp_path / "store") == {"train": ids[1:], "test": ids[:1]}
    assert reader.scalars(ids[0]) == {"U_inf": 20.0}
    for sample_id, case in made.items():
        surface = {"position": case["surface"], "pressure": case["pressure"], "normals": case["normals"]}
        assert_holds(reader, sample_id, "surface", surface, rounded=["normals"])
        volume = {"position": case["volume"], "velocity": case["velocity"]}
        assert_holds(reader, sample_id, "volume", volume, rounded=[])


def test_the_ids_left_out_are_those_without_a_surface() -> None:
    assert load_recipe("shapenet-car").exclude == INCOMPLETE
