"""Recipes for files of rows: arrays and tables that have no mesh, and arrays that hold all samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource

RNG = np.random.default_rng(0)
XYZ, P, U = (RNG.standard_normal(shape, dtype=np.float32) for shape in ((20, 3), 20, (20, 3)))


def write_npz(folder: Path) -> tuple[str, str]:
    np.savez(folder / "a.npz", points=XYZ, p=P, U=U)
    return 'file = "a.npz"\n', 'position = "points"\npressure = "p"\nvelocity = "U"'


def write_hdf5(folder: Path) -> tuple[str, str]:
    with h5py.File(folder / "a.h5", "w") as file:
        file["mesh/points"], file["t0/p"], file["t1/U"] = XYZ, P, U
    return 'file = "a.h5"\n', 'position = "mesh/points"\npressure = "t0/p"\nvelocity = "t1/U"'


def write_csv(folder: Path) -> tuple[str, str]:
    table = np.column_stack([XYZ, P, U])
    np.savetxt(folder / "a.csv", table, delimiter=",", header="x,y,z,p,Ux,Uy,Uz", comments="", fmt="%.9g")
    names = 'position = { components = ["x", "y", "z"] }\nvelocity = { components = ["Ux", "Uy", "Uz"] }'
    return 'file = "a.csv"\n', f'{names}\npressure = "p"'


def write_pt(folder: Path) -> tuple[str, str]:
    for name, values in (("x", XYZ), ("p", P), ("U", U)):
        torch.save(torch.from_numpy(values), folder / f"{name}.pt")
    return 'file = "x.pt"\n', 'position = {}\npressure = { file = "p.pt" }\nvelocity = { file = "U.pt" }'


@pytest.mark.parametrize("write", [write_npz, write_hdf5, write_csv, write_pt])
def test_rows_of_arrays_and_tables_are_read_as_they_are(write: Any, tmp_path: Path) -> None:
    (tmp_path / "run_1").mkdir()
    file, fields = write(tmp_path / "run_1")
    text = f'name = "rows"\nsample = "run_{{n}}"\n[volume]\n{file}place = "row"\n[volume.fields]\n{fields}\n'
    found = RecipeSource.scan(tmp_path, parse_recipe(text, "test.toml"))
    assert np.array_equal(found.read("run_1", "volume_position").astype(np.float32), XYZ)
    assert np.array_equal(found.read("run_1", "volume_pressure").astype(np.float32), P[:, None])
    assert np.array_equal(found.read("run_1", "volume_velocity").astype(np.float32), U)


def test_a_file_without_a_mesh_has_neither_cells_nor_points(tmp_path: Path) -> None:
    (tmp_path / "run_1").mkdir()
    write_npz(tmp_path / "run_1")
    text = 'name = "rows"\nsample = "run_{n}"\n[volume]\nfile = "a.npz"\nplace = "cell"\n'
    found = RecipeSource.scan(tmp_path, parse_recipe(text, "test.toml"))
    with pytest.raises(InvalidSample, match=r'a.npz has no mesh .* row arrays points \(3\), p, U \(3\).*place = "row"'):
        _ = found.specs


SUPERWING = """
name = "all-in-one"
sample = "run_{n}"
[surface]
file = "/geometry.npy"
place = "row"
[surface.fields]
position = { index = "{n}" }
pressure = { file = "/data.npy", index = "{n}", components = [0] }
both = { file = "/data.npy", index = "{n}", components = [2, 1] }
rows = { file = "/rows.npy", index = "{n}" }
"""


def test_a_sample_is_a_row_of_arrays_of_all_samples_whose_short_axis_holds_the_components(tmp_path: Path) -> None:
    geometry, data = (RNG.standard_normal((4, 3, 20, 30), dtype=np.float32) for _ in range(2))
    rows = RNG.standard_normal((4, 600), dtype=np.float32)
    for name, array in (("geometry", geometry), ("data", data), ("rows", rows)):
        np.save(tmp_path / f"{name}.npy", array)
    for number in (0, 3, 4):
        (tmp_path / f"run_{number}").mkdir()
        (tmp_path / f"run_{number}" / "about.txt").touch()
    found = RecipeSource.scan(tmp_path, parse_recipe(SUPERWING, "test.toml"))
    assert [spec.dim for spec in found.specs] == [3, 1, 2, 1]
    for number in (0, 3):
        read = {spec.name: found.read(f"run_{number}", spec.canonical) for spec in found.specs}
        assert np.array_equal(read["position"], geometry[number].reshape(3, 600).T)
        assert np.array_equal(read["pressure"][:, 0], data[number, 0].ravel())
        assert np.array_equal(read["both"], data[number, [2, 1]].reshape(2, 600).T)
        assert np.array_equal(read["rows"][:, 0], rows[number])
    with pytest.raises(InvalidSample, match=r"index '4' is no row of .* of data.npy, which has 4"):
        found.read("run_4", "surface_pressure")


def test_the_rows_of_one_array_may_be_the_samples(tmp_path: Path) -> None:
    geometry = RNG.standard_normal((3, 50, 3), dtype=np.float32)
    (tmp_path / "wings").mkdir()
    np.save(tmp_path / "wings" / "geometry.npy", geometry)
    np.save(tmp_path / "wings" / "cp.npy", geometry[:, :, 0])
    text = """
    name = "rows"
    sample = "wings/geometry.npy[{n}]"
    [surface]
    place = "row"
    [surface.fields]
    position = { index = "{n}" }
    pressure = { file = "cp.npy", index = "{n}" }
    """
    first = text.replace('position = { index = "{n}" }', "position = { index = 0 }")
    found = RecipeSource.scan(tmp_path, parse_recipe(text, "test.toml"))
    assert found.sample_ids == ["wings/geometry/0", "wings/geometry/1", "wings/geometry/2"]
    for row, sample_id in enumerate(found.sample_ids):
        assert np.array_equal(found.read(sample_id, "surface_position"), geometry[row])
        assert np.array_equal(found.read(sample_id, "surface_pressure")[:, 0], geometry[row, :, 0])
    alike = RecipeSource.scan(tmp_path, parse_recipe(first, "test.toml"))
    assert np.array_equal(alike.read("wings/geometry/2", "surface_position"), geometry[0])
    named = RecipeSource.scan(tmp_path, parse_recipe(text.replace("[surface]", 'id = "wing_{n}"\n[surface]', 1), "t"))
    assert named.sample_ids == ["wing_0", "wing_1", "wing_2"]


def test_of_short_axes_that_one_holds_components_which_leaves_the_points_of_the_domain(tmp_path: Path) -> None:
    xyz, velocity = (RNG.standard_normal((4, 10, 3)) for _ in range(2))
    tensor, grid = RNG.standard_normal((4, 6, 10)), RNG.standard_normal((4, 5, 2))
    np.savez(tmp_path / "all.npz", xyz=xyz, tensor=tensor, grid=grid, velocity=velocity)
    text = """
    name = "small"
    sample = "all.npz[{n}]"
    [volume]
    place = "row"
    [volume.fields]
    position = { array = "xyz", index = "{n}" }
    tensor = { array = "tensor", index = "{n}" }
    grid = { array = "grid", index = "{n}" }
    velocity = { array = "velocity", index = "{n}" }
    """
    found = RecipeSource.scan(tmp_path, parse_recipe(text, "test.toml"))
    assert {spec.name: spec.dim for spec in found.specs} == {"position": 3, "velocity": 3, "tensor": 6, "grid": 1}
    read = {spec.name: found.read("all/2", spec.canonical) for spec in found.specs}
    assert np.array_equal(read["position"], xyz[2])
    assert np.array_equal(read["velocity"], velocity[2])
    assert np.array_equal(read["tensor"], tensor[2].T)
    assert np.array_equal(read["grid"][:, 0], grid[2].ravel())


def test_an_array_with_two_short_axes_is_not_guessed_at(tmp_path: Path) -> None:
    np.save(tmp_path / "geometry.npy", np.zeros((4, 5, 8, 30)))
    (tmp_path / "run_1").mkdir()
    text = SUPERWING.partition("pressure")[0]
    found = RecipeSource.scan(tmp_path, parse_recipe(text, "test.toml"))
    with pytest.raises(InvalidSample, match=r"has the shape \(4, 5, 8, 30\), in which .* save it with one such axis"):
        _ = found.specs
