"""What the values of a data set must fulfil by physics: forces, pressure coefficients, inflow and closed surfaces."""

from __future__ import annotations

import difflib
import math
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from drawpoint.errors import InvalidParameter
from drawpoint.format.scalars import check_scalar_name
from drawpoint.format.scale import Scale
from drawpoint_store.conversion.recipes.domain_recipe import Name
from drawpoint_store.conversion.recipes.recipe_model import RecipeModel

AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
_DIRECTIONS = "give an axis such as 'x' or '-z', or three numbers"


def _vector(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip("-") in AXES and len(value) <= len("-x"):
        sign = -1.0 if value.startswith("-") else 1.0
        return tuple(sign * part for part in AXES[value[-1]])
    if isinstance(value, str):
        raise ValueError(f"{value[:40]!r} is no direction; {_DIRECTIONS}")  # noqa: TRY004  pydantic wants ValueError
    if isinstance(value, list | tuple) and len(value) != len(AXES):
        raise ValueError(f"it has {len(value)} numbers; {_DIRECTIONS}")
    return value


def _unit(vector: tuple[float, float, float]) -> tuple[float, float, float]:
    length = math.hypot(*vector)
    if not length > 0 or not math.isfinite(length):
        raise ValueError(f"it has no direction; {_DIRECTIONS}")
    return (vector[0] / length, vector[1] / length, vector[2] / length)


def _text(value: Any) -> Any:
    return repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _check_expression(text: str) -> str:
    try:
        Scale(text)
    except InvalidParameter:
        raise ValueError(
            f"{text[:60]!r} is no expression in scalars, such as '0.5 * rho_inf * U_inf**2': it has numbers, names, "
            "+ - * / ** and parentheses"
        ) from None
    return text


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("it is a number or the name of a scalar, not true or false")  # noqa: TRY004  pydantic wants ValueError
    return value


def _refuse_true(value: Any) -> Any:
    if value is not False and not isinstance(value, str):
        raise ValueError("it is the name of a field, or false for none")
    return value


def _check_number(value: float | str) -> float | str:
    if isinstance(value, str):
        check_scalar_name(value)
    return value


Direction = Annotated[tuple[float, float, float], BeforeValidator(_vector), AfterValidator(_unit)]
"""A unit vector, of an axis by its name or of three numbers."""

Expression = Annotated[str, BeforeValidator(_text), AfterValidator(_check_expression)]
"""An expression in the scalars of a sample, or a number."""

Number = Annotated[float | str, BeforeValidator(_refuse_bool), AfterValidator(_check_number)]
"""A number, or the name of a scalar."""

OptionalField = Annotated[Name | Literal[False], BeforeValidator(_refuse_true)]
"""The name of a field, or false for none."""

Tolerance = Annotated[float, Field(ge=0)]
_DYNAMIC_PRESSURE = "0.5 * U_inf**2"
"""Where pressure is divided by the density."""


class CheckModel(RecipeModel):
    """A table of `[checks]`; `check` says which kind it is. Fields are called as in their domain."""

    kind: ClassVar[str] = "a check"

    domain: Name = "surface"

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the domain that are read."""
        raise NotImplementedError


class ForceCheck(CheckModel):
    """The sum of pressure and friction over a surface, as a coefficient, against the one that was published.

    The force is that of the flow on the body: `sum((p_inf - pressure) * normals * area + friction_sign * friction *
    area)`, for normals out of the body. OpenFOAM writes a wall shear stress that is opposite to it, with the sign -1.
    Its part along `direction`, divided by `dynamic_pressure * reference_area`, agrees with `expected` within
    `tolerance * |expected|` or within `absolute_tolerance`, whichever is more.
    """

    check: Literal["force"]
    expected: Number
    direction: Direction = AXES["x"]
    dynamic_pressure: Expression = _DYNAMIC_PRESSURE
    reference_area: Expression = "A_ref"
    p_inf: Number = 0.0
    pressure: Name = "pressure"
    friction: OptionalField = "friction"
    friction_sign: Literal[-1, 1] = -1
    normals: Name = "normals"
    area: Name = "area"
    tolerance: Tolerance = 0.02
    absolute_tolerance: Tolerance = 0.0

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.normals, self.area, self.pressure, *([self.friction] if self.friction else []))


class CoefficientCheck(CheckModel):
    """The pressure as a coefficient, (pressure - p_inf) / dynamic_pressure, against the field that holds it.

    The root of their mean squared difference is at most `tolerance` times that of the field.
    """

    check: Literal["pressure_coefficient"]
    expected: Name = "pressure_coefficient"
    pressure: Name = "pressure"
    p_inf: Number = 0.0
    dynamic_pressure: Expression = _DYNAMIC_PRESSURE
    tolerance: Tolerance = 0.01

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.pressure, self.expected)


class StagnationCheck(CheckModel):
    """The largest pressure coefficient, which of incompressible flow past a body at rest is 1.

    It is `expected` within `tolerance`.
    """

    check: Literal["stagnation"]
    expected: Number = 1.0
    pressure: Name = "pressure"
    p_inf: Number = 0.0
    dynamic_pressure: Expression = _DYNAMIC_PRESSURE
    tolerance: Tolerance = 0.1

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.pressure,)


class InflowCheck(CheckModel):
    """Velocity and pressure where the flow comes in: the points of the domain that lie most upstream.

    Their median velocity along `direction` is `expected` (U_inf) within `tolerance` of it. Their median pressure
    coefficient is 0 within `pressure_tolerance`; `pressure = false` leaves it out.
    """

    check: Literal["inflow"]
    domain: Name = "volume"
    expected: Number = "U_inf"
    direction: Direction = AXES["x"]
    velocity: Name = "velocity"
    tolerance: Tolerance = 0.02
    pressure: OptionalField = "pressure"
    p_inf: Number = 0.0
    dynamic_pressure: Expression = _DYNAMIC_PRESSURE
    pressure_tolerance: Tolerance = 0.1

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.velocity, *([self.pressure] if self.pressure else []))


class ClosedCheck(CheckModel):
    """A surface without holes whose normals point out of the body.

    The sum of normals * area is at most `tolerance` times the area. The volume that is enclosed is positive, and the
    same within `volume_tolerance` of it whether found along x, y or z.
    """

    check: Literal["closed"]
    normals: Name = "normals"
    area: Name = "area"
    tolerance: Tolerance = 0.01
    volume_tolerance: Tolerance = 0.1

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.normals, self.area)


CheckRecipe: TypeAlias = ForceCheck | CoefficientCheck | StagnationCheck | InflowCheck | ClosedCheck
KINDS: dict[str, type[CheckModel]] = {
    get_args(model.model_fields["check"].annotation)[0]: model for model in get_args(CheckRecipe)
}


def _name_kind(value: Any) -> Any:
    given = value.get("check") if isinstance(value, dict) else None
    if isinstance(value, dict) and not (isinstance(given, str) and given in KINDS):
        near = difflib.get_close_matches(str(given), KINDS)
        what = f"near names: {', '.join(near)}" if near else f"there is: {', '.join(KINDS)}"
        said = "does not say what it checks" if given is None else f"checks {given!r:.40}, which is no kind of check"
        raise ValueError(f"it {said}; give it a key check; {what}")
    return value


CheckOfRecipe = Annotated[CheckRecipe, Field(discriminator="check"), BeforeValidator(_name_kind)]
"""A check of whichever kind its key `check` names."""


def check_fields(check: CheckModel, fields: dict[str, list[str]]) -> None:
    """Raise ValueError, with near names, for a domain or field that a recipe with these fields by domain has not."""
    if check.domain not in fields:
        raise ValueError(f"it is of {check.domain!r}, which is no domain of the recipe; there is: {', '.join(fields)}")
    for field in check.fields:
        known = fields[check.domain]
        if field not in known:
            near = ", ".join(difflib.get_close_matches(field, known) or known)
            optional = "; friction = false leaves it out" if field == getattr(check, "friction", None) else ""
            raise ValueError(
                f"it reads {field!r} of {check.domain}, which has no such field{optional}; near names: {near}"
            )
