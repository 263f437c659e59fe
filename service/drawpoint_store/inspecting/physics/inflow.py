"""Velocity and pressure at the points that lie most upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from drawpoint_store.inspecting.physics.finding import agrees, compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from drawpoint_store.conversion.recipes.check_recipe import InflowCheck
    from drawpoint_store.inspecting.physics.finding import CheckedSample, Finding

UPSTREAM_POINTS = 300
"""So many points are looked at: few enough to lie at the inlet, and enough that the median is none of a corner."""

_AXES = "xyz"


class Inflow:
    """The positions, velocities and pressures that lie most upstream."""

    def __init__(self, sample: CheckedSample, name: str, recipe: InflowCheck) -> None:
        self.domain = recipe.domain
        self._position = sample.field(self.domain, "position", 3)
        self._velocity = sample.field(self.domain, recipe.velocity, 3)
        self._pressure = sample.field(self.domain, recipe.pressure, 1) if recipe.pressure else None
        self.fields = [field for field in (self._position, self._velocity, self._pressure) if field is not None]
        self._sample, self._name, self._recipe = sample, name, recipe
        self._direction = np.array(recipe.direction)
        self._speed = sample.number(recipe.expected)
        self._p_inf, self._dynamic_pressure = 0.0, 1.0
        if self._pressure is not None:
            self._p_inf = sample.number(recipe.p_inf)
            self._dynamic_pressure = sample.value(recipe.dynamic_pressure, "dynamic_pressure")
        axes = [np.eye(3)[axis] * sign for axis in range(3) for sign in (1, -1)]
        others = [axis for axis in axes if abs(axis @ self._direction) < 1]
        nothing = {field: np.empty((sample.fields[field].dim, 0)) for field in self.fields}
        self._upstream = [(direction, nothing) for direction in (self._direction, *others)]

    def add(self, block: Mapping[str, np.ndarray[Any, Any]]) -> None:
        for number, (direction, kept) in enumerate(self._upstream):
            along = direction @ block[self._position]
            first = np.argpartition(along, UPSTREAM_POINTS)[:UPSTREAM_POINTS] if len(along) > UPSTREAM_POINTS else ...
            joined = {field: np.concatenate([kept[field], block[field][:, first]], axis=1) for field in self.fields}
            best = np.argsort(direction @ joined[self._position], kind="stable")[:UPSTREAM_POINTS]
            self._upstream[number] = direction, {field: values[:, best] for field, values in joined.items()}

    def findings(self) -> list[Finding]:
        velocity = np.median(self._upstream[0][1][self._velocity], axis=1)
        parts = ", ".join(f"{part:.4g}" for part in velocity)
        message = f"{self._velocity} most upstream is {parts}, and not {self._speed:.4g} along the flow"
        found, allowed = float(velocity @ self._direction), self._recipe.tolerance * abs(self._speed)
        place = (self._sample.sample_id, self._name)
        speed = compare(place, found, self._speed, allowed, lambda: (message, self._causes(velocity)))
        return [speed] if self._pressure is None else [speed, self._of_pressure(self._pressure)]

    def _causes(self, velocity: np.ndarray[Any, Any]) -> Iterator[str]:
        along, speed, tolerance = float(velocity @ self._direction), self._speed, self._recipe.tolerance
        if agrees(-along, speed, tolerance * abs(speed)):
            yield "the flow runs the other way: is direction meant so, or the sign of the velocity?"
        if agrees(along, 1.0, tolerance):
            yield f"it is divided by {self._recipe.expected}"
        for direction, kept in self._upstream[1:]:
            if agrees(float(np.median(kept[self._velocity], axis=1) @ direction), speed, tolerance * abs(speed)):
                axis = int(np.abs(direction).argmax())
                sign = "-" if direction[axis] < 0 else ""
                yield f"the flow comes in along {sign}{_AXES[axis]}: the axes are others, or direction is"

    def _of_pressure(self, field: str) -> Finding:
        found = (float(np.median(self._upstream[0][1][field])) - self._p_inf) / self._dynamic_pressure
        allowed = self._recipe.pressure_tolerance
        reference = self._p_inf + found * self._dynamic_pressure
        cause = (
            "it is the total pressure"
            if agrees(found, 1.0, allowed)
            else f"it is absolute, or of another reference: p_inf would be {reference:.6g}"
        )
        message = f"{field} most upstream is {found:.4g} as a coefficient, not about 0"
        place = (self._sample.sample_id, f"{self._name}, pressure")
        return compare(place, found, 0.0, allowed, lambda: (message, [cause]))
