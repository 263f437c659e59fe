"""The force on a surface as a coefficient, and which mistakes would explain another one than was published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from drawpoint_store.conversion.recipes.domain_recipe import METRES
from drawpoint_store.inspecting.physics.finding import agrees, compare, weighted_sum

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from drawpoint_store.conversion.recipes.check_recipe import ForceCheck
    from drawpoint_store.inspecting.physics.finding import CheckedSample, Finding

DENSITIES = ("rho_inf", "rho", "rho_ref")
"""Scalars that hold the density, if a sample has one."""

AIR = (1.184, 1.2, 1.204, 1.225)
"""Densities of air in kg/m3 that data sets are made with, at 25, about 20, 20 and 15 degrees Celsius."""

_NORMAL16 = 2.0**-14
"""Below it float16 loses digits."""

_MOST_COARSE = 0.1
_MOST_GAP = 1e-3
_NEAR_ZERO = 0.02
_MOST_COEFFICIENT = 10.0
"""A mean pressure that is more dynamic pressures away from p_inf has another reference."""

_AXES = "xyz"


class ForceIntegral:
    """The sums over normals, areas, pressure and friction of a surface."""

    def __init__(self, sample: CheckedSample, name: str, recipe: ForceCheck) -> None:
        self.domain = recipe.domain
        self._normals = sample.field(self.domain, recipe.normals, 3)
        self._area = sample.field(self.domain, recipe.area, 1)
        self._pressure = sample.field(self.domain, recipe.pressure, 1)
        self._friction = sample.field(self.domain, recipe.friction, 3) if recipe.friction else None
        self.fields = [self._normals, self._area, self._pressure]
        if self._friction is not None:
            self.fields.append(self._friction)
        self._sample, self._name, self._recipe = sample, name, recipe
        self._direction = np.array(recipe.direction)
        self._expected = sample.number(recipe.expected)
        self._p_inf = sample.number(recipe.p_inf)
        self._dynamic_pressure = sample.value(recipe.dynamic_pressure, "dynamic_pressure")
        self._force_of_1 = self._dynamic_pressure * sample.value(recipe.reference_area, "reference_area")
        self._of_pressure, self._of_friction, self._gap = np.zeros(3), np.zeros(3), np.zeros(3)
        self._total = self._weighted_pressure = 0.0
        self._rows = self._coarse = 0

    def add(self, block: Mapping[str, np.ndarray[Any, Any]]) -> None:
        normals, (area,), (pressure,) = (block[field] for field in self.fields[:3])
        self._of_pressure -= weighted_sum(normals, (pressure - self._p_inf) * area)
        if self._friction is not None:
            self._of_friction += self._recipe.friction_sign * weighted_sum(block[self._friction], area)
        self._gap += weighted_sum(normals, area)
        self._total += float(area.sum())
        self._weighted_pressure += float(pressure @ area)
        self._rows += len(area)
        self._coarse += int(np.count_nonzero(area < _NORMAL16))

    def findings(self) -> list[Finding]:
        found = sum(self._along(self._direction))
        place = (self._sample.sample_id, self._name)
        return [compare(place, found, self._expected, self._allowed, self._explain)]

    def _explain(self) -> tuple[str, list[str]]:
        pressure, friction = self._along(self._direction)
        by_friction = "" if self._friction is None else f" and {friction:.4g} by friction"
        message = f"{pressure:.4g} by pressure{by_friction} is not {self._expected:.4g}"
        return message, list(self._explanations()) or list(self._other_reasons())

    @property
    def _allowed(self) -> float:
        return max(self._recipe.tolerance * abs(self._expected), self._recipe.absolute_tolerance)

    def _along(self, direction: np.ndarray[Any, Any]) -> tuple[float, float]:
        """Return the parts of the coefficient by pressure and by friction."""
        return (
            float(self._of_pressure @ direction) / self._force_of_1,
            float(self._of_friction @ direction) / self._force_of_1,
        )

    def _explanations(self) -> Iterator[str]:
        """Yield each single change of the data under which the check would hold, that which comes nearest first."""
        for cause, value in sorted(self._changes(), key=lambda change: abs(change[1] - self._expected)):
            if agrees(value, self._expected, self._allowed):
                yield f"it would be {value:.4g} {cause}"

    def _changes(self) -> Iterator[tuple[str, float]]:
        pressure, friction = self._along(self._direction)
        other_sign = -self._recipe.friction_sign
        flipped = 'if the normals pointed the other way (mode = "flip", or scale = -1)'
        yield f"{flipped}, or with {self._pressure} of the other sign", friction - pressure
        if self._friction is not None:
            yield f"with friction of the other sign (friction_sign = {other_sign})", pressure - friction
            yield f"without {self._friction}", pressure
        yield (
            "with the other sign of both normals and friction, of direction, or of what is expected",
            -pressure - friction,
        )
        yield from self._turned(pressure, friction)
        density = next((self._sample.scalars[name] for name in DENSITIES if name in self._sample.scalars), 1.0)
        densities = (density,) if density != 1 else AIR
        yield from self._scaled(pressure, friction, {f"times the density {each:g}": each for each in densities})
        yield from self._scaled(
            pressure, friction, {f"divided by the density {each:g}": 1 / each for each in densities}
        )
        q = self._dynamic_pressure
        yield from self._scaled(pressure, friction, {f"times the dynamic pressure {q:.4g}, as of a coefficient": q})
        yield "twice: half a model, or a dynamic pressure without 0.5", 2 * (pressure + friction)
        yield "halved: a body that is there twice, or a dynamic pressure with 0.5 twice", (pressure + friction) / 2
        for metres, unit in {metres: unit for unit, metres in METRES.items()}.items():  # an inch has two names
            if metres != 1:
                yield f"with the areas converted from {unit}2 to m2", (pressure + friction) * metres**2
                yield f"with the areas converted from m2 to {unit}2", (pressure + friction) / metres**2

    def _scaled(self, pressure: float, friction: float, factors: Mapping[str, float]) -> Iterator[tuple[str, float]]:
        """Yield the coefficient for other pressure, friction or both, each with the factor that fits it best."""
        kinds = [(self._pressure, 1, 0)]
        if self._friction is not None:
            kinds += [(self._friction, 0, 1), (f"{self._pressure} and {self._friction}", 1, 1)]
        for fields, of_pressure, of_friction in kinds:
            values = {
                f"with {fields} {what}": pressure * factor**of_pressure + friction * factor**of_friction
                for what, factor in factors.items()
            }
            yield min(values.items(), key=lambda each: abs(each[1] - self._expected))

    def _turned(self, pressure: float, friction: float) -> Iterator[tuple[str, float]]:
        """Yield the coefficient for other axes in place of that which the direction is along, if it is along one."""
        axis = int(np.abs(self._direction).argmax())
        if abs(self._direction[axis]) < 1:
            return
        for other in range(3):
            for sign in (1.0, -1.0) if other != axis else ():
                by_pressure, by_friction = self._along(np.eye(3)[other] * sign * self._direction[axis])
                name = f"{'-' if sign < 0 else ''}{_AXES[other]}"
                yield f"with {name} of {self._normals} for its {_AXES[axis]}", by_pressure + friction
                if self._friction is not None:
                    yield f"with {name} of {self._friction} for its {_AXES[axis]}", pressure + by_friction
                    yield f"along {name}: the axes are others, or direction is", by_pressure + by_friction

    def _other_reasons(self) -> Iterator[str]:
        """Yield what may be the reason where no single change is."""
        yield "no single change of sign, axis, unit or density explains it: is it of this run, area and speed?"
        found, q = sum(self._along(self._direction)), abs(self._dynamic_pressure)
        if max(abs(found - self._expected), abs(self._expected)) < _NEAR_ZERO:
            yield "a coefficient near 0 is met by no relative tolerance: give the check an absolute_tolerance"
        mean = self._weighted_pressure / self._total if self._total else 0.0
        has_reference = abs(mean - self._p_inf) <= _MOST_COEFFICIENT * q
        if not has_reference:
            yield f"{self._pressure} is {mean:.4g} in the mean, and p_inf {self._p_inf:.4g}: is one absolute?"
        gap = float(np.linalg.norm(self._gap)) / self._total if self._total else 0.0
        if gap > _MOST_GAP:
            yield f"the surface is open by {gap:.2g} of its area: faces may be missing, or patches left out"
        remedy = self._sample.float16_remedy(self._area)
        if remedy is not None and self._coarse > _MOST_COARSE * self._rows:
            share = self._coarse / self._rows
            yield f"{share:.0%} of the areas are below 6e-5, where float16 is coarse: {remedy}"
        remedy = self._sample.float16_remedy(self._pressure)
        if remedy is not None and has_reference and abs(self._p_inf) > q:
            yield f"{self._pressure} is absolute, and float16 keeps three digits of it: {remedy}"
