"""The checks of shipped recipes, on a solved run in the files of their data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from checked import findings_of
from conftest import AHMED_VTK
from drawpoint_store.conversion.recipes.check_recipe import ForceCheck
from drawpoint_store.conversion.recipes.recipe_file import load_recipe, shipped_recipes
from drawpoint_store.inspecting.physics.finding import Finding
from shipped import convert_by, write_csv
from vtk_files import add_arrays, block, save

DRAG, AREA, SPEED = 0.3176, 0.389 * 0.288, 40.0
"""Of the run: its drag coefficient (examples/data/ahmed/README.md), and what that refers to."""


def solved_surface() -> pv.PolyData:
    """Return the surface of a run as OpenFOAM wrote it: its polygons turn into the body."""
    return pv.PolyData(pv.read(AHMED_VTK / "slant_25" / "boundary.vtp"))


def check_run(
    tmp_path: Path, name: str, surface: pv.DataSet, arrays: Mapping[str, int], forces: str, **coefficients: float
) -> dict[str, Finding]:
    """Convert a data set of one run with these arrays of the volume by a shipped recipe, and check it."""
    run = tmp_path / "set" / "run_1"
    save(surface, run / f"boundary_1.{'vtp' if isinstance(surface, pv.PolyData) else 'vtu'}")
    write_csv(run / forces, **coefficients)
    volume = block(1)
    add_arrays(volume, arrays)
    if "CpMeanTrim" in arrays:
        volume.cell_data["CpMeanTrim"] = volume.cell_data["pMeanTrim"] / (0.5 * 38.889**2)
    save(volume, run / "volume_1.vtu")
    convert_by(name, tmp_path / "set", tmp_path / "store")
    return findings_of(tmp_path / "store", load_recipe(name))


def test_drivaerml(tmp_path: Path) -> None:
    surface, factor = solved_surface(), (38.889 / SPEED) ** 2
    pressure, friction = surface.cell_data["p"] * factor, surface.cell_data["wallShearStress"] * factor
    surface.clear_data()
    surface.cell_data["pMeanTrim"], surface.cell_data["wallShearStressMeanTrim"] = pressure, friction
    surface.cell_data["CpMeanTrim"] = pressure / (0.5 * 38.889**2)
    arrays = {"pMeanTrim": 1, "CpMeanTrim": 1, "UMeanTrim": 3}
    findings = check_run(tmp_path, "drivaerml", surface, arrays, "force_mom_constref_1.csv", Cd=DRAG * AREA / 2.17)
    assert {finding.verdict for finding in findings.values()} == {"holds"}
    assert {"drag", "surface_pressure", "volume_pressure"} <= findings.keys()


def test_ahmedml(tmp_path: Path) -> None:
    surface = solved_surface()
    pressure, friction = surface.cell_data["p"] / SPEED**2, surface.cell_data["wallShearStress"] / SPEED**2
    surface.clear_data()
    surface.cell_data["pMean"], surface.cell_data["wallShearStressMean"] = pressure, friction
    surface.cell_data["static(p)_coeffMean"] = 2 * pressure
    arrays = {"pMean": 1, "UMean": 3, "total(p)_coeffMean": 1, "vorticityMean": 3}
    findings = check_run(tmp_path, "ahmedml", surface, arrays, "force_mom_1.csv", cd=DRAG * AREA / 0.112)
    assert {finding.verdict for finding in findings.values()} == {"holds"}
    assert {"drag", "surface_pressure"} <= findings.keys()


def test_windsorml(tmp_path: Path) -> None:
    surface = solved_surface()
    inward = surface.compute_normals(consistent_normals=False, auto_orient_normals=False, split_vertices=False)
    points = surface.cell_data_to_point_data().point_data
    pressure, friction = points["p"] / (0.5 * SPEED**2), -points["wallShearStress"] / (0.5 * SPEED**2)
    surface.clear_data()
    data = surface.point_data
    data["cpavg"], data["cpvar"], data["yplusavg"] = pressure, pressure, pressure
    # y is up in the data set.
    turned = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    data["cfxavg"], data["cfyavg"], data["cfzavg"] = (friction @ turned).T
    data["Normals"] = -inward.point_data["Normals"] @ turned
    surface.points = surface.points @ turned
    arrays = dict.fromkeys(("velocityxavg", "velocityyavg", "velocityzavg", "pressureavg"), 1)
    grid = surface.cast_to_unstructured_grid()
    findings = check_run(tmp_path, "windsorml", grid, arrays, "force_mom_1.csv", cd=DRAG * AREA / 0.112)
    assert {finding.verdict for finding in findings.values()} == {"holds"}
    assert "drag" in findings


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_sign_of_friction_is_that_of_its_description(name: str) -> None:
    recipe = load_recipe(name)
    for check in recipe.checks.values():
        if isinstance(check, ForceCheck) and check.friction:
            description = recipe.domains[check.domain].fields[check.friction].description or ""
            assert ("opposite to drag" in description) == (check.friction_sign == -1)
