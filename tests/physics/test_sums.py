"""Sums over closed surfaces whose force is known: of a linear pressure it is the volume times the gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from checked import Arrays, ellipsoid, findings_of, write_checked
from drawpoint_store import ArrayLayout
from drawpoint_store.conversion.recipes.check_recipe import (
    ClosedCheck,
    CoefficientCheck,
    ForceCheck,
    InflowCheck,
    StagnationCheck,
)
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.inspecting.physics.closed_surface import ClosedSurface
from drawpoint_store.inspecting.physics.finding import CheckedSample, Finding, Measure
from drawpoint_store.inspecting.physics.force import ForceIntegral
from drawpoint_store.inspecting.physics.inflow import UPSTREAM_POINTS, Inflow
from drawpoint_store.inspecting.physics.pressure import CoefficientComparison, LargestPressure

OF_A_SPHERE = """
name = "sphere"
sample = "run_{n}"
[surface]
file = "b.vtp"
[surface.fields]
pressure = "p"
normals = { derive = "normals" }
area = { derive = "area" }
"""

numbers = st.floats(-10, 10)
vectors = st.tuples(numbers, numbers, numbers)
lengths = st.floats(0.1, 10)


def sample_of(arrays: Mapping[str, np.ndarray[Any, Any]], **scalars: float) -> CheckedSample:
    layouts = {
        field: ArrayLayout(
            array_name=field, field=field, dtype="float64", dim=1 if values.ndim == 1 else values.shape[1]
        )
        for field, values in arrays.items()
    }
    return CheckedSample("made", scalars, layouts)


def measured(measure: Measure, arrays: Arrays, blocks: int = 1) -> list[Finding]:
    """Give a measure rows in blocks, and return what it finds."""
    columns = {field: values.reshape(len(values), -1).T for field, values in arrays.items()}
    for block in np.array_split(np.arange(len(next(iter(arrays.values())))), blocks):
        measure.add({field: columns[field][:, block] for field in measure.fields})
    return list(measure.findings())


def volume_of(arrays: Arrays) -> float:
    x, n, a = arrays["surface_position"], arrays["surface_normals"], arrays["surface_area"]
    return float((x * n).sum(axis=1) @ a) / 3


@given(
    half_axes=st.tuples(lengths, lengths, lengths),
    gradient=vectors,
    friction=vectors,
    offset=numbers,
    speed=lengths,
    blocks=st.integers(1, 5),
    axis=st.sampled_from([0, 1, 2]),
    sign=st.sampled_from([-1, 1]),
)
def test_the_force_of_a_linear_pressure_is_the_volume_times_its_gradient(
    half_axes: tuple[float, float, float],
    gradient: tuple[float, float, float],
    friction: tuple[float, float, float],
    offset: float,
    speed: float,
    blocks: int,
    axis: int,
    sign: int,
) -> None:
    arrays = ellipsoid(half_axes)
    arrays["surface_pressure"] = arrays["surface_position"] @ np.array(gradient) + offset
    arrays["surface_friction"] = np.tile(np.array(friction), (len(arrays["surface_area"]), 1))
    total = arrays["surface_area"].sum()
    force = -volume_of(arrays) * gradient[axis] + sign * friction[axis] * total
    sample = sample_of(arrays, U_inf=speed, C=force / (0.5 * speed**2 * 3.0))
    # float64 leaves this much of sums that cancel.
    largest = (np.abs(arrays["surface_pressure"]).max() + 10) * total / (0.5 * speed**2 * 3.0)
    recipe = ForceCheck.model_validate(
        {
            "check": "force",
            "expected": "C",
            "direction": "xyz"[axis],
            "reference_area": 3.0,
            "friction_sign": sign,
            "tolerance": 1e-9,
            "absolute_tolerance": 1e-12 * largest,
        }
    )
    (finding,) = measured(ForceIntegral(sample, "force", recipe), arrays, blocks)
    assert finding.verdict == "holds", finding


@given(gradient=st.floats(1, 10), friction=st.floats(-0.2, 0.2), fault=st.sampled_from(["normals", "friction"]))
def test_the_sign_that_was_turned_is_named(gradient: float, friction: float, fault: str) -> None:
    arrays = ellipsoid()
    arrays["surface_pressure"] = -gradient * arrays["surface_position"][:, 0]
    arrays["surface_friction"] = np.tile([-friction, 0.0, 0.0], (len(arrays["surface_area"]), 1))
    pressure, along = gradient * volume_of(arrays), friction * arrays["surface_area"].sum()
    # What turning it changes is more than is allowed, and the two do not cancel.
    assume(abs(2 * (along if fault == "friction" else pressure)) > 0.05 * abs(pressure + along) > 1e-3)
    sample = sample_of(arrays, U_inf=2.0, Cd=(pressure + along) / 2.0)
    arrays[f"surface_{fault}"] = -arrays[f"surface_{fault}"]
    recipe = ForceCheck(check="force", expected="Cd", reference_area="1.0")
    (finding,) = measured(ForceIntegral(sample, "drag", recipe), arrays)
    assert finding.verdict == "fails"
    assert any(f"{fault} " in cause and ("other way" in cause or "other sign" in cause) for cause in finding.causes)


@given(p_inf=st.floats(-1e5, 1e5))
def test_a_reference_of_the_pressure_is_taken_off_an_open_surface(p_inf: float) -> None:
    arrays = {field: values[:100] for field, values in ellipsoid().items()}
    directed = arrays["surface_normals"] * arrays["surface_area"][:, None]
    arrays["surface_pressure"] = arrays["surface_position"][:, 0] + p_inf
    expected = -float(arrays["surface_position"][:, 0] @ directed[:, 0])
    recipe = ForceCheck(
        check="force",
        expected=expected,
        dynamic_pressure="1.0",
        reference_area="1.0",
        p_inf="p_inf",
        friction=False,
        absolute_tolerance=1e-9,
    )
    (finding,) = measured(ForceIntegral(sample_of(arrays, p_inf=p_inf), "drag", recipe), arrays)
    assert finding.verdict == "holds"


@given(half_axes=st.tuples(lengths, lengths, lengths), shift=vectors, blocks=st.integers(1, 4))
def test_a_closed_surface_is_one_wherever_it_lies(
    half_axes: tuple[float, float, float], shift: tuple[float, float, float], blocks: int
) -> None:
    arrays = ellipsoid(half_axes)
    arrays["surface_position"] = arrays["surface_position"] + 100 * np.array(shift)
    recipe = ClosedCheck(check="closed", tolerance=1e-9, volume_tolerance=1e-6)
    findings = measured(ClosedSurface(sample_of(arrays), "body", recipe, is_demanded=True), arrays, blocks)
    assert [finding.verdict for finding in findings] == ["holds", "holds", "holds"]


def closed(arrays: Arrays) -> dict[str, Finding]:
    recipe = ClosedCheck(check="closed")
    findings = measured(ClosedSurface(sample_of(arrays), "body", recipe, is_demanded=True), arrays)
    return {finding.check: finding for finding in findings}


def faulty_surfaces() -> Iterator[tuple[str, Arrays, str, str]]:
    arrays = ellipsoid((2.0, 1.0, 0.5))
    turned = arrays["surface_normals"] * np.where(arrays["surface_position"][:, :1] > 0, 1, -1)
    yield "half turned", {**arrays, "surface_normals": turned}, "body", "faces are missing"
    random = arrays["surface_normals"] * np.random.default_rng(0).choice([-1.0, 1.0], (len(turned), 1))
    yield "turned at random", {**arrays, "surface_normals": random}, "body, outward", "some normals point in"
    mirrored = arrays["surface_normals"] * [1, -1, 1]
    yield "mirrored", {**arrays, "surface_normals": mirrored}, "body, outward", "are x, -y, z of the normals"
    rolled = arrays["surface_normals"][:, [1, 2, 0]]
    yield "rolled", {**arrays, "surface_normals": rolled}, "body, outward", "are z, x, y of the normals"
    small = {**arrays, "surface_area": arrays["surface_area"] / 1e4}
    yield "small areas", small, "body, size", "different units"
    half = {field: values[arrays["surface_position"][:, 1] > 0] for field, values in arrays.items()}
    yield "half a model", half, "body", "open one"


@pytest.mark.parametrize(("arrays", "check", "cause"), [each[1:] for each in faulty_surfaces()])
def test_what_is_wrong_with_a_surface_is_named(arrays: Arrays, check: str, cause: str) -> None:
    finding = closed(arrays)[check]
    assert finding.verdict == "fails"
    assert cause in finding.causes[0]


def test_no_volume_is_spoken_of_where_a_surface_is_open() -> None:
    arrays = {field: values[:150] for field, values in ellipsoid().items()}
    assert list(closed(arrays)) == ["body"]


@given(slope=st.floats(-5, 5).filter(lambda slope: abs(slope) > 0.1), offset=st.floats(-1, 1), blocks=st.integers(1, 3))
def test_a_pressure_of_another_scale_or_reference_is_told_which(slope: float, offset: float, blocks: int) -> None:
    held = np.random.default_rng(1).uniform(-1, 1, 500)
    arrays = {"surface_pressure": 800 * (slope * held + offset), "surface_pressure_coefficient": held}
    recipe = CoefficientCheck(check="pressure_coefficient", dynamic_pressure="800.0")
    (finding,) = measured(CoefficientComparison(sample_of(arrays), "cp", recipe), arrays, blocks)
    wrong = np.sqrt(((slope * held + offset - held) ** 2).mean() / (held**2).mean())
    assert (finding.verdict == "holds") == (wrong <= 0.01)
    if abs(slope - 1) > 0.011:
        assert any(f"a dynamic pressure of {abs(slope) * 800:.6g}" in cause for cause in finding.causes)
        assert any("its sign is the other one" in cause for cause in finding.causes) == (slope < 0)
    if abs(offset) > 0.011:
        assert f"it would hold with p_inf = {offset * 800:.6g}" in finding.causes


def test_a_pressure_that_is_no_multiple_of_the_coefficient_is_named() -> None:
    rng = np.random.default_rng(1)
    arrays = {"surface_pressure": rng.normal(size=500), "surface_pressure_coefficient": rng.normal(size=500)}
    recipe = CoefficientCheck(check="pressure_coefficient", dynamic_pressure="1.0")
    (finding,) = measured(CoefficientComparison(sample_of(arrays), "cp", recipe), arrays)
    assert finding.verdict == "fails"
    assert "they are no multiple of each other" in finding.causes[0]


def test_a_pressure_of_the_other_sign_has_its_stagnation_in_the_suction() -> None:
    arrays = {"surface_pressure": -np.array([1.0, 0.2, -1.6])}
    recipe = StagnationCheck(check="stagnation", dynamic_pressure="1.0")
    (finding,) = measured(LargestPressure(sample_of(arrays), "stagnation", recipe), arrays)
    assert (finding.verdict, finding.causes) == ("fails", ("its sign is the other one",))


@given(seed=st.integers(0, 99), blocks=st.integers(1, 9), count=st.integers(1, 1500))
def test_the_inflow_is_that_of_the_rows_most_upstream(seed: int, blocks: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {"volume_position": rng.uniform(size=(count, 3)), "volume_velocity": rng.normal(size=(count, 3))}
    recipe = InflowCheck(check="inflow", expected=1.0, direction=(0.0, -1.0, 0.0), pressure=False)
    (finding,) = measured(Inflow(sample_of(arrays), "inflow", recipe), arrays, min(blocks, count))
    upstream = np.argsort(-arrays["volume_position"][:, 1])[:UPSTREAM_POINTS]
    assert finding.found == pytest.approx(np.median(-arrays["volume_velocity"][upstream, 1]))


@pytest.mark.usefixtures("unchecked_writer")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["surface_position", "surface_normals", "surface_area", "surface_pressure"])
def test_a_value_that_is_not_finite_fails_or_is_remarked(tmp_path: Path, field: str, value: float) -> None:
    arrays = ellipsoid()
    arrays["surface_pressure"] = arrays["surface_position"][:, 0].copy()
    arrays[field].flat[7] = value
    root = write_checked(tmp_path, arrays, scalars={"U_inf": 1.0, "A_ref": 1.0})
    text = OF_A_SPHERE + '[checks.drag]\ncheck = "force"\nexpected = -8.0\nfriction = false\ntolerance = 0.1'
    found = findings_of(root, parse_recipe(text, "the test's"))
    concerned = {
        "surface_position": {"surface closed, outward", "surface closed, size"},
        "surface_pressure": {"drag"},
    }.get(field, {"drag", "surface closed", f"surface {'unit normals' if 'normals' in field else 'positive areas'}"})
    assert {check for check, finding in found.items() if finding.verdict != "holds"} == concerned
    assert all(finding.message for finding in found.values() if finding.verdict != "holds")


@pytest.mark.parametrize(
    ("dtypes", "scale", "p_inf", "cause"),
    [
        ({"surface_area": "float16"}, 3e-4, 0.0, "of the areas are below 6e-5, where float16 is coarse"),
        (
            {"surface_pressure": "float16"},
            1.0,
            5e4,
            "surface_pressure is absolute, and float16 keeps three digits",
        ),
        ({}, 1.0, 0.0, "no single change of sign, axis, unit or density explains it"),
    ],
)
def test_a_dtype_that_may_be_the_reason_is_named(
    tmp_path: Path, dtypes: dict[str, str], scale: float, p_inf: float, cause: str
) -> None:
    arrays = ellipsoid()
    arrays["surface_area"] *= scale
    arrays["surface_pressure"] = arrays["surface_position"][:, 0] + p_inf
    root = write_checked(tmp_path, arrays, scalars={"U_inf": 1.0, "p_inf": p_inf}, **dtypes)
    text = OF_A_SPHERE + '[checks.drag]\ncheck = "force"\nexpected = 0.123\nfriction = false\n'
    recipe = parse_recipe(text + 'reference_area = 1.0\np_inf = "p_inf"', "the test's")
    assert any(cause in each for each in findings_of(root, recipe)["drag"].causes)


@pytest.mark.parametrize(
    ("expected", "p_inf", "cause"),
    [
        (1e-3, 0.0, "give the check an absolute_tolerance"),
        (0.123, 5e4, "surface_pressure is 0 in the mean, and p_inf 5e+04: is one absolute?"),
    ],
)
def test_a_coefficient_near_0_and_another_reference_of_the_pressure_are_told(
    expected: float, p_inf: float, cause: str
) -> None:
    arrays = ellipsoid()
    arrays["surface_pressure"] = np.zeros((len(arrays["surface_position"]), 1))
    recipe = ForceCheck(
        check="force", expected=expected, p_inf=p_inf, dynamic_pressure="0.5", reference_area="1", friction=False
    )
    (finding,) = measured(ForceIntegral(sample_of(arrays), "drag", recipe), arrays)
    assert finding.verdict == "fails"
    assert any(cause in each for each in finding.causes), finding.causes


def test_areas_that_float16_made_zero_name_the_dtype_that_helps(tmp_path: Path) -> None:
    arrays = ellipsoid()
    arrays["surface_area"][:9] = 2e-8
    root = write_checked(tmp_path, arrays, surface_area="float16")
    finding = findings_of(root)["surface positive areas"]
    assert finding.verdict == "fails"
    assert (
        "float16 makes 0 of what is below 3e-8: convert again with --field-dtype surface_area=float32"
        in (finding.causes[0])
    )
    assert findings_of(write_checked(tmp_path / "wide", arrays))["surface positive areas"].verdict == "holds"


def test_cells_without_area_need_no_normal_and_points_of_no_polygon_are_a_remark(tmp_path: Path) -> None:
    arrays = ellipsoid()
    arrays["surface_normals"][5], arrays["surface_area"][5] = 0, 0
    found = findings_of(write_checked(tmp_path / "cells", arrays))
    assert {finding.verdict for finding in found.values()} == {"holds"}
    points = {field: values for field, values in arrays.items() if field != "surface_area"}
    found = findings_of(write_checked(tmp_path / "points", points))
    assert found["surface unit normals"].verdict == "remark"
    points["surface_normals"][:40] = 0  # of 528
    found = findings_of(write_checked(tmp_path / "lost", points))
    assert found["surface unit normals"].verdict == "fails"


def test_the_findings_are_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    root = write_checked(tmp_path, ellipsoid(rings=40))
    assert findings_of(root, max_workers=1) == findings_of(root, max_workers=3)
