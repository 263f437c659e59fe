"""Runs whose drag is published hold, and each mistake of a conversion is found and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from checked import Arrays, ahmed_recipe, arrays_of_run, findings_of, write_checked
from conftest import AHMED, AHMED_VTK, real_run
from drawpoint_store import ZarrStoreWriter
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.convert import convert
from drawpoint_store.inspecting.physics.physics_check import check_physics

SWAPPED = [2, 1, 0]

VTK_RECIPE = """
name = "vtk"
sample = "{set}_{n}"
[surface]
file = "boundary.vtp"
place = "cell"
centre = "centroid"
[surface.fields]
pressure = "p"
friction = "wallShearStress"
normals = { derive = "normals", mode = "flip" }
area = { derive = "area", dtype = "float32" }
[checks.drag]
check = "force"
"""


def flip_normals(arrays: Arrays) -> None:
    arrays["surface_normals"] *= -1


def flip_friction(arrays: Arrays) -> None:
    arrays["surface_friction"] *= -1


def flip_pressure(arrays: Arrays) -> None:
    arrays["surface_pressure"] *= -1


def flip_both(arrays: Arrays) -> None:
    flip_normals(arrays)
    flip_friction(arrays)


def pascal(arrays: Arrays) -> None:
    arrays["surface_pressure"] *= 1.225


def coefficient(arrays: Arrays) -> None:
    arrays["surface_pressure"] /= 800


def friction_in_pascal(arrays: Arrays) -> None:
    arrays["surface_friction"] *= 1.225


def swap_normals(arrays: Arrays) -> None:
    arrays["surface_normals"] = arrays["surface_normals"][:, SWAPPED]


def swap_axes(arrays: Arrays) -> None:
    for field in ("surface_position", "surface_normals", "surface_friction", "volume_position", "volume_velocity"):
        arrays[field] = arrays[field][:, SWAPPED]


def square_millimetres(arrays: Arrays) -> None:
    arrays["surface_area"] *= 1e6


def square_feet_taken_for_square_metres(arrays: Arrays) -> None:
    arrays["surface_area"] /= 0.3048**2


def square_inches_taken_for_square_metres(arrays: Arrays) -> None:
    arrays["surface_area"] /= 0.0254**2


def area_vectors(arrays: Arrays) -> None:
    arrays["surface_normals"] *= arrays["surface_area"][:, None]


def drop_faces(arrays: Arrays) -> None:
    kept = np.random.default_rng(0).random(len(arrays["surface_area"])) >= 0.05
    for field in [name for name in arrays if name.startswith("surface_")]:
        arrays[field] = arrays[field][kept]


def negative_areas(arrays: Arrays) -> None:
    arrays["surface_area"][::7] *= -1


def total_pressure(arrays: Arrays) -> None:
    arrays["volume_pressure"] = arrays["volume_pressure"] + 0.5 * (arrays["volume_velocity"] ** 2).sum(axis=1)


def absolute_pressure(arrays: Arrays) -> None:
    arrays["volume_pressure"] += 101325.0 / 1.2


def turned_flow(arrays: Arrays) -> None:
    arrays["volume_velocity"] *= -1


def flow_as_a_ratio(arrays: Arrays) -> None:
    arrays["volume_velocity"] /= 40


FAULTS: list[tuple[Callable[[Arrays], None], str, str]] = [
    (flip_normals, "drag", 'if the normals pointed the other way (mode = "flip", or scale = -1)'),
    (flip_normals, "body, outward", "the normals point into the body"),
    (flip_friction, "drag", "with friction of the other sign (friction_sign = 1)"),
    (flip_both, "drag", "with the other sign of both normals and friction, of direction"),
    (flip_pressure, "drag", "with surface_pressure of the other sign"),
    (pascal, "drag", "with surface_pressure divided by the density 1.225"),
    (pascal, "stagnation", "the dynamic pressure, 800, would have to be 995"),
    (coefficient, "drag", "with surface_pressure times the dynamic pressure 800"),
    (coefficient, "stagnation", "it is a coefficient itself"),
    (friction_in_pascal, "drag", "with surface_friction divided by the density 1.2"),
    (swap_normals, "drag", "with z of surface_normals for its x"),
    (swap_normals, "body, outward", "x, y, z of the positions are z, y, x of the normals"),
    (swap_axes, "drag", "along z: the axes are others, or direction is"),
    (swap_axes, "inflow", "the flow comes in along z"),
    (square_millimetres, "drag", "with the areas converted from mm2 to m2"),
    (square_millimetres, "body, size", "areas and positions are in different units"),
    (square_feet_taken_for_square_metres, "drag", "with the areas converted from ft2 to m2"),
    (square_inches_taken_for_square_metres, "drag", "with the areas converted from inch2 to m2"),
    (area_vectors, "surface unit normals", "they are as long as the areas"),
    (drop_faces, "drag", "faces may be missing"),
    (drop_faces, "body", "faces are missing"),
    (negative_areas, "surface positive areas", "areas were given a sign"),
    (total_pressure, "inflow, pressure", "it is the total pressure"),
    (absolute_pressure, "inflow, pressure", "p_inf would be 844"),
    (turned_flow, "inflow", "the flow runs the other way"),
    (flow_as_a_ratio, "inflow", "it is divided by U_inf"),
]
OF_VOLUME = (swap_axes, total_pressure, absolute_pressure, turned_flow, flow_as_a_ratio)


@pytest.fixture(scope="module")
def run_arrays() -> Arrays:
    return arrays_of_run()


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory, run_arrays: Arrays) -> Callable[[Callable[[Arrays], None]], Path]:
    """Write the store of a run with a fault, once."""
    written: dict[str, Path] = {}

    def write(fault: Callable[[Arrays], None]) -> Path:
        name = fault.__name__
        if name not in written:
            thin = {"surface": 1, **({"volume": 4} if fault in OF_VOLUME else {})}
            arrays = {
                field: values[:: thin[field.partition("_")[0]]].copy()
                for field, values in run_arrays.items()
                if field.startswith(tuple(thin)) and field not in ("volume_vorticity", "volume_distance_to_surface")
            }
            fault(arrays)
            written[name] = write_checked(tmp_path_factory.mktemp(name), arrays)
        return written[name]

    return write


@pytest.mark.parametrize(("fault", "check", "cause"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_is_found_and_named(
    fault: Callable[[Arrays], None],
    check: str,
    cause: str,
    run_of: Callable[[Callable[[Arrays], None]], Path],
) -> None:
    finding = findings_of(run_of(fault), ahmed_recipe())[check]
    assert finding.verdict == "fails"
    assert finding.message
    assert any(cause in each for each in finding.causes), finding.causes


def test_faults_of_sign_axis_and_unit_have_one_explanation(
    run_of: Callable[[Callable[[Arrays], None]], Path],
) -> None:
    unambiguous = (
        *(flip_normals, flip_friction, swap_normals, coefficient, friction_in_pascal),
        *(square_millimetres, square_inches_taken_for_square_metres),
    )
    for fault in unambiguous:
        assert len(findings_of(run_of(fault), ahmed_recipe())["drag"].causes) == 1, fault.__name__


def test_the_shipped_runs_hold(tmp_path: Path) -> None:
    source = RecipeSource.scan(AHMED, ahmed_recipe())
    convert(source, ZarrStoreWriter(tmp_path, **source.writer_settings))
    for findings in check_physics(tmp_path, ahmed_recipe()):
        assert len(findings) == 9
        assert {finding.verdict for finding in findings} == {"holds"}
        drag = next(finding for finding in findings if finding.check == "drag")
        # examples/data/ahmed/README.md gives three digits
        assert round(drag.found or 0, 3) == drag.expected == {"slant_0": 0.329, "slant_25": 0.318}[drag.sample]


def check_vtk(tmp_path: Path, source: Path, sample: str, **numbers: float) -> float:
    """Convert one run's boundary.vtp by a recipe, check it, and return the drag coefficient."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / sample).symlink_to(source)
    scalars = "".join(f"{name} = {{ value = {value} }}\n" for name, value in numbers.items())
    recipe = parse_recipe(f'{VTK_RECIPE}expected = "Cd"\ntolerance = 0.005\n[scalars]\n{scalars}', "the test's")
    found = RecipeSource.scan(tmp_path / "runs", recipe)
    convert(found, ZarrStoreWriter(tmp_path / "store", **found.writer_settings))
    findings = findings_of(tmp_path / "store", recipe)
    assert {finding.verdict for finding in findings.values()} == {"holds"}, findings
    return findings["drag"].found or 0.0


def test_a_file_of_vtk_gives_the_drag_of_its_run(tmp_path: Path) -> None:
    found = check_vtk(tmp_path, AHMED_VTK / "slant_25", "ahmed_25", Cd=0.318, U_inf=40.0, A_ref=0.112032)
    assert round(found, 3) == 0.318


def test_the_motorbike_from_a_file_of_vtk_has_its_drag(tmp_path: Path) -> None:
    # Reference area and speed of OpenFOAM's tutorial.
    found = check_vtk(tmp_path, real_run("motorbike/run_1"), "bike_1", Cd=0.408, U_inf=20.0, A_ref=0.75)
    assert round(found, 3) == 0.408


@pytest.mark.parametrize(
    ("run", "speed", "coefficient"), [("run_1", 20.0, 0.408), ("run_2", 30.0, 0.409), ("run_3", 20.0, 0.511)]
)
def test_the_motorbike_holds_and_its_flipped_normals_are_named(
    tmp_path: Path, run: str, speed: float, coefficient: float
) -> None:
    arrays = arrays_of_run(real_run("motorbike/run_1").parent / run, "surface")
    scalars = {"U_inf": speed, "A_ref": 0.75, "Cd": coefficient}
    checks = (
        '[checks.drag]\ncheck = "force"\nexpected = "Cd"\ntolerance = 0.005\n[checks.stagnation]\ncheck = "stagnation"'
    )
    recipe = parse_recipe(VTK_RECIPE.partition("[checks")[0] + checks, "the test's")
    findings = findings_of(write_checked(tmp_path / "store", arrays, run, scalars), recipe)
    assert {finding.verdict for finding in findings.values()} == {"holds"}
    flip_normals(arrays)
    found = findings_of(write_checked(tmp_path / "flipped", arrays, run, scalars), recipe)
    assert "if the normals pointed the other way" in found["drag"].causes[0]
    assert found["surface closed, outward"].verdict == "remark"
