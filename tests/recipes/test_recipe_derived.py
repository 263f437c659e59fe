"""Vorticity and distances that a recipe derives: their units, axes and rows, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv

from drawpoint.errors import InvalidSample, InvalidSettings
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.conversion.survey.recipe_check import check_recipe
from vtk_files import add_arrays, block, save

HEAD = """
name = "made"
sample = "run_{n}"
[volume]
file = "volume_{n}.vtu"
place = "cell"
"""
VORTICITY = 'vorticity = { derive = "vorticity", from = "U" }\n'
DISTANCE = 'distance = { derive = "distance", from = "body_{n}.stl" }\n'

Source = Callable[..., RecipeSource]


def ball() -> pv.PolyData:
    return pv.Icosphere(nsub=2, radius=0.8, center=(1.5, 2.0, 1.5))


@pytest.fixture
def grid(tmp_path: Path) -> pv.UnstructuredGrid:
    """Two runs with a volume, whose velocity is linear, around a ball."""
    gradient = np.array([[0.5, -1.0, 2.0], [3.0, 0.25, -1.5], [1.0, 2.5, -0.5]])
    for number in (1, 2):
        mesh = block(number)
        add_arrays(mesh, {"p": 1, "two": 2}, {"p": 1})
        mesh.cell_data["U"] = (centroids(mesh) @ gradient).astype(np.float32)
        for axis, name in enumerate("uvw"):
            mesh.cell_data[name] = np.array(mesh.cell_data["U"])[:, axis].copy()
        mesh.point_data["V"] = (np.asarray(mesh.points) @ gradient).astype(np.float32)
        save(mesh, tmp_path / f"run_{number}" / f"volume_{number}.vtu")
        save(ball(), tmp_path / f"run_{number}" / f"body_{number}.stl")
    return mesh


CURL = np.array([-1.5 - 2.5, 1.0 - 2.0, -1.0 - 3.0])


def centroids(mesh: pv.UnstructuredGrid) -> np.ndarray[Any, Any]:
    return np.array([np.asarray(cell.points).mean(axis=0) for cell in mesh.cell])


@pytest.fixture
def source(tmp_path: Path, grid: pv.UnstructuredGrid) -> Source:
    def scan(fields: str, head: str = HEAD) -> RecipeSource:
        return RecipeSource.scan(tmp_path, parse_recipe(f"{head}\n[volume.fields]\n{fields}\n", "test.toml"))

    return scan


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(InvalidSample) as caught:
        call()
    return str(caught.value)


def test_vorticity_is_the_curl_of_an_array_or_of_three(source: Source) -> None:
    text = VORTICITY + 'of_three = { derive = "vorticity", components = ["u", "v", "w"] }\n'
    found = source(text + 'of_points = { derive = "vorticity", from = "V", place = "point" }')
    assert {spec.name: spec.dim for spec in found.specs}["vorticity"] == 3
    assert found.where("volume_vorticity") == "vorticity of U of volume_{n}.vtu"
    assert found.where("volume_of_three") == "vorticity of u, v, w of volume_{n}.vtu"
    of_cells = found.read("run_1", "volume_vorticity")
    # The cells' centroids are those of their vertices but for the corners that were moved.
    assert np.abs(np.median(of_cells, axis=0) - CURL).max() < 0.2
    assert np.array_equal(of_cells, found.read("run_1", "volume_of_three"))


def test_points_have_a_vorticity_too(source: Source) -> None:
    found = source('vorticity = { derive = "vorticity", from = "V" }', HEAD.replace('"cell"', '"point"'))
    assert found.read("run_1", "volume_vorticity") == pytest.approx(np.broadcast_to(CURL, (80, 3)), abs=1e-4)
    gauss = source(
        'vorticity = { derive = "vorticity", from = "V", mode = "gauss" }', HEAD.replace('"cell"', '"point"')
    )
    assert 'mode = "gauss" is for velocities of cells' in reason(lambda: gauss.read("run_1", "volume_vorticity"))


@pytest.mark.parametrize(("axes", "sign"), [(["x", "-z", "y"], 1), (["x", "y", "-z"], -1), (["y", "x", "z"], -1)])
def test_vorticity_is_the_curl_in_the_stores_axes_and_unit(source: Source, axes: list[str], sign: int) -> None:
    head = HEAD.replace('"cell"', '"point"') + f'axes = {axes}\nlength_unit = "mm"\n'.replace("'", '"')
    found = source('velocity = "V"\nvorticity = { derive = "vorticity", from = "V", scale = 2.0 }', head)
    position = found.read("run_1", "volume_position").astype(np.float64)
    velocity = found.read("run_1", "volume_velocity").astype(np.float64)
    fit = np.linalg.lstsq(np.column_stack([position, np.ones(len(position))]), velocity)[0]
    expected = [2 * (fit[i, j] - fit[j, i]) for i, j in ((1, 2), (2, 0), (0, 1))]
    vorticity = found.read("run_1", "volume_vorticity")
    assert vorticity == pytest.approx(np.broadcast_to(expected, vorticity.shape), rel=1e-3)
    turned = [CURL["xyz".index(axis[-1])] * (-1 if axis.startswith("-") else 1) for axis in axes]
    assert expected == pytest.approx(np.array(turned) * sign * 2000, rel=1e-3)


def test_a_distance_is_that_of_the_domains_points_in_the_stores_unit(source: Source) -> None:
    signed = 'signed = { derive = "distance", from = "body_{n}.stl", mode = "signed" }'
    head = HEAD + 'axes = ["x", "-z", "y"]\nlength_unit = "cm"\n'
    plain, turned = source(DISTANCE + signed), source(DISTANCE + signed, head)
    assert plain.where("volume_distance") == "distance to body_{n}.stl"
    position = plain.read("run_1", "volume_position")
    radius = np.linalg.norm(position - [1.5, 2.0, 1.5], axis=1)
    found = plain.read("run_1", "volume_distance")[:, 0]
    assert np.abs(found - np.abs(radius - 0.8)).max() < 0.03  # the ball has flat triangles
    assert (found >= 0).all()
    signs = np.sign(plain.read("run_1", "volume_signed")[:, 0])
    assert {-1.0, 1.0} == set(signs[np.abs(radius - 0.8) > 0.05])
    assert np.array_equal(signs[np.abs(radius - 0.8) > 0.05], np.sign(radius - 0.8)[np.abs(radius - 0.8) > 0.05])
    for name in ("distance", "signed"):
        here, there = (each.read("run_1", f"volume_{name}") for each in (plain, turned))
        assert there == pytest.approx(here * 0.01, rel=1e-5, abs=1e-8)


def test_mask_crop_and_scale_hold_for_derived_fields(source: Source) -> None:
    whole = source(VORTICITY + DISTANCE)
    text = VORTICITY.replace("derive", "scale = [1.0, 2.0, 3.0], derive")
    text += DISTANCE.replace("derive", "scale = -1.0, derive", 1)
    some = source(text, HEAD + 'mask = { array = "p", greater = 0.0 }\ncrop = { x = [0.0, 2.0] }\n')
    position = whole.read("run_1", "volume_position")
    kept = np.isin(position[:, 0], some.read("run_1", "volume_position")[:, 0])
    assert 0 < kept.sum() < len(position)
    assert some.read("run_1", "volume_vorticity") == pytest.approx(
        whole.read("run_1", "volume_vorticity")[kept] * [1, 2, 3], rel=1e-6
    )
    assert np.array_equal(some.read("run_1", "volume_distance"), -whole.read("run_1", "volume_distance")[kept])


def test_rows_without_a_mesh_have_a_distance_and_no_vorticity(source: Source, tmp_path: Path) -> None:
    position = source(DISTANCE).read("run_1", "volume_position")
    for number in (1, 2):
        np.save(tmp_path / f"run_{number}" / "points.npy", position)
    head = HEAD.replace("volume_{n}.vtu", "points.npy").replace('"cell"', '"row"')
    rows = source(f"position = {{}}\n{DISTANCE}", head)
    assert np.array_equal(rows.read("run_1", "volume_distance"), source(DISTANCE).read("run_1", "volume_distance"))
    with pytest.raises(InvalidSettings, match="rows have no mesh to derive vorticity from"):
        source(f"position = {{}}\n{VORTICITY}", head)


def test_the_surface_is_one_of_the_samples_files_so_that_a_changed_one_is_noticed(
    source: Source, tmp_path: Path
) -> None:
    before = {file.path: file for file in source(DISTANCE).files("run_1")}
    assert set(before) == {"run_1/volume_1.vtu", "run_1/body_1.stl"}
    save(ball().scale(1.1), tmp_path / "run_1" / "body_1.stl")
    after = {file.path: file for file in source(DISTANCE).files("run_1")}
    assert {path for path in before if before[path] != after[path]} == {"run_1/body_1.stl"}
    (tmp_path / "run_1" / "body_1.stl").unlink()
    assert source(DISTANCE).broken == {"run_1": "lacks body_1.stl"}
    assert source(DISTANCE.replace("derive =", "optional = true, derive =")).broken == {}


def test_inspect_says_what_a_field_is_derived_from_and_counts_its_array_as_read(source: Source) -> None:
    found = source(VORTICITY + DISTANCE)
    shown = str(check_recipe(found))
    assert "vorticity, derived from cell array 'U' (3 components) of volume_1.vtu" in shown
    assert "distance, derived of body_1.stl" in shown


BAD_RECIPES = {
    'v = { derive = "vorticity" }': 'name its array, such as from = "U"',
    'v = { derive = "vorticity", from = "U", components = ["u", "v", "w"] }': "leave out from",
    'v = { derive = "vorticity", array = "U" }': "vorticity has no array; name the array of the velocity with from",
    'v = { derive = "vorticity", from = "U", mode = "exact" }': "'least-squares' or 'gauss', not 'exact'",
    'v = { derive = "distance" }': 'name its file, such as from = "body.stl"',
    'v = { derive = "distance", from = "b.stl", mode = "inside" }': "'unsigned' or 'signed', not 'inside'",
    'v = { derive = "distance", from = "b.stl", place = "point" }': "has no place",
    'v = { derive = "distance", from = "b.stl", file = "c.stl" }': "has no file",
    'v = { derive = "area", components = [0] }': "has no components",
    'v = { derive = "distance", from = "../b.stl" }': "is no path below the source",
}


@pytest.mark.parametrize("text", BAD_RECIPES)
def test_a_recipe_that_derives_what_cannot_be_is_refused(source: Source, text: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        source(text)
    assert BAD_RECIPES[text] in str(caught.value)


BAD_FIELDS = {
    'v = { derive = "vorticity", from = "W" }': "no cell array 'W'",
    'v = { derive = "vorticity", from = "two" }': "'two' (2 components), and vorticity is derived from the 3",
    'v = { derive = "vorticity", components = ["u", "v"] }': "vorticity is derived from the 3 components",
    'v = { derive = "vorticity", from = "U", file = "/table.csv" }': "has no mesh to derive vorticity from",
    'v = { derive = "distance", from = "/table.csv" }': "table.csv is no surface that a distance could be to",
    'v = { derive = "distance", from = "volume_{n}.vtu" }': "volume_1.vtu: cell 0 is a volume cell",
    'v = { derive = "distance", from = "/empty.stl" }': "empty.stl: it has no triangles",
    'v = { derive = "distance", from = "/nan.stl" }': "nan.stl: 1 of its vertices are not finite",
    'v = { derive = "distance", from = "/open.stl", mode = "signed" }': "open.stl: it is open",
}


@pytest.mark.parametrize("text", BAD_FIELDS)
def test_files_that_a_field_cannot_be_derived_from_are_named(source: Source, tmp_path: Path, text: str) -> None:
    (tmp_path / "table.csv").write_text("U,p\n1,2\n", encoding="utf-8")
    (tmp_path / "empty.stl").write_bytes(bytes(84))
    facet = "facet normal 0 0 1 outer loop vertex 0 0 0 vertex 1 0 0 vertex 0 1 0 endloop endfacet"
    (tmp_path / "open.stl").write_text(f"solid a\n{facet}\nendsolid a\n", encoding="utf-8")
    (tmp_path / "nan.stl").write_text(f"solid a\n{facet.replace('1 0 0', 'nan 0 0')}\nendsolid a\n", encoding="utf-8")
    message = reason(lambda: source(text).read("run_1", "volume_v"))
    assert BAD_FIELDS[text] in message
    assert ".vtu" in message or ".stl" in message or ".csv" in message
