"""The pressure as a coefficient: against the field that holds it, and its largest value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from drawpoint_store.inspecting.physics.finding import agrees, compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from drawpoint_store.conversion.recipes.check_recipe import CoefficientCheck, StagnationCheck
    from drawpoint_store.inspecting.physics.finding import CheckedSample, Finding


class CoefficientComparison:
    """The differences of pressures as coefficients from a field of coefficients."""

    def __init__(self, sample: CheckedSample, name: str, recipe: CoefficientCheck) -> None:
        self.domain = recipe.domain
        self._pressure = sample.field(self.domain, recipe.pressure, 1)
        self._coefficient = sample.field(self.domain, recipe.expected, 1)
        self.fields = [self._pressure, self._coefficient]
        self._sample, self._name, self._recipe = sample, name, recipe
        self._p_inf = sample.number(recipe.p_inf)
        self._dynamic_pressure = sample.value(recipe.dynamic_pressure, "dynamic_pressure")
        self._rows = 0
        # Sums of the pressure as a coefficient, found, of the field, held, and of their squares and products.
        self._found = self._held = self._held2 = self._product = self._difference2 = 0.0

    def add(self, block: Mapping[str, np.ndarray[Any, Any]]) -> None:
        found, held = (block[self._pressure][0] - self._p_inf) / self._dynamic_pressure, block[self._coefficient][0]
        self._rows += len(held)
        self._found += float(found.sum())
        self._held += float(held.sum())
        self._held2 += float(held @ held)
        self._product += float(found @ held)
        self._difference2 += float(((found - held) ** 2).sum())

    def findings(self) -> list[Finding]:
        found = math.sqrt(self._difference2 / self._held2) if self._held2 > 0 else math.nan
        message = (
            f"{self._pressure} / {self._dynamic_pressure:.6g} differs from {self._coefficient} by {found:.3g} of it"
        )
        place = (self._sample.sample_id, self._name)
        return [compare(place, found, 0.0, self._recipe.tolerance, lambda: (message, self._causes()))]

    def _causes(self) -> Iterator[str]:
        """Yield the line that fits best: found = slope * held + offset."""
        spread = self._held2 - self._held**2 / self._rows if self._rows else math.nan
        if not spread > 0:
            yield "one of the two is constant, or holds NaN or inf"
            return
        slope = (self._product - self._found * self._held / self._rows) / spread
        offset = (self._found - slope * self._held) / self._rows
        rest = self._difference2 - self._explained(slope, offset)
        if not rest <= (max(self._recipe.tolerance, 1e-3) * abs(slope)) ** 2 * self._held2:
            yield "they are no multiple of each other: is one of them the total pressure, or that of another instant?"
            return
        q = self._dynamic_pressure
        if abs(slope - 1) > self._recipe.tolerance:
            sign = "; its sign is the other one" if slope < 0 else ""
            yield f"it would hold with a dynamic pressure of {abs(slope) * q:.6g}{sign}"
            if abs(slope * q - 1) <= self._recipe.tolerance:
                yield f"{self._pressure} is a coefficient itself"
        if abs(offset) > self._recipe.tolerance:
            yield f"it would hold with p_inf = {self._p_inf + offset * q:.6g}"

    def _explained(self, slope: float, offset: float) -> float:
        """Return what of the squared differences the line explains: that of slope * held + offset from held."""
        # difference = (slope - 1) held + offset + rest, and the rest is orthogonal to held and to 1.
        return (slope - 1) ** 2 * self._held2 + 2 * (slope - 1) * offset * self._held + self._rows * offset**2


class LargestPressure:
    """The largest and the smallest pressure, as coefficients."""

    def __init__(self, sample: CheckedSample, name: str, recipe: StagnationCheck) -> None:
        self.domain = recipe.domain
        self._pressure = sample.field(self.domain, recipe.pressure, 1)
        self.fields = [self._pressure]
        self._sample, self._name, self._recipe = sample, name, recipe
        self._expected = sample.number(recipe.expected)
        self._p_inf = sample.number(recipe.p_inf)
        self._dynamic_pressure = sample.value(recipe.dynamic_pressure, "dynamic_pressure")
        self._low, self._high = math.inf, -math.inf

    def add(self, block: Mapping[str, np.ndarray[Any, Any]]) -> None:
        pressure = block[self._pressure]
        self._low = float(np.minimum(self._low, pressure.min()))
        self._high = float(np.maximum(self._high, pressure.max()))

    def findings(self) -> list[Finding]:
        found = (self._high - self._p_inf) / self._dynamic_pressure
        message = f"the largest coefficient of {self._pressure} is {found:.4g}, not about {self._expected:.4g}"
        place = (self._sample.sample_id, self._name)
        return [compare(place, found, self._expected, self._recipe.tolerance, lambda: (message, self._causes(found)))]

    def _causes(self, found: float) -> Iterator[str]:
        q, allowed = self._dynamic_pressure, self._recipe.tolerance
        if agrees((self._p_inf - self._low) / q, self._expected, allowed):
            yield "its sign is the other one"
        elif agrees(self._high - self._p_inf, self._expected, allowed):
            yield "it is a coefficient itself"
        elif found * self._expected > 0:
            yield f"the dynamic pressure, {q:.6g}, would have to be {found / self._expected * q:.4g}, or p_inf another"
