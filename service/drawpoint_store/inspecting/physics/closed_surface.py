"""Whether a surface is closed, whether its normals point out of it, and whether its areas fit its positions.

By Gauss's theorem the sum of normals * area over a closed surface is 0, and that of position[i] * normals[j] * area its
volume where i is j, else 0. The volume is at most that of the box around it, and that of the sphere of equal area.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from drawpoint_store.inspecting.physics.finding import compare, weighted_sum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from drawpoint_store.conversion.recipes.check_recipe import ClosedCheck
    from drawpoint_store.inspecting.physics.finding import CheckedSample, Finding, Verdict

OPEN = 0.05
"""From this gap on, as a share of the area, no volume is spoken of."""

_SIZE_TOLERANCE = 0.05
_AXES = "xyz"


class ClosedSurface:
    """The sums over positions, normals and areas of a surface.

    Without a recipe that calls the surface closed (`is_demanded`), what does not hold is a remark: half models and the
    walls of a channel are open, and of a cavity the normals point in.
    """

    def __init__(self, sample: CheckedSample, name: str, recipe: ClosedCheck, *, is_demanded: bool) -> None:
        self.domain = recipe.domain
        self.fields = [
            sample.field(self.domain, "position", 3),
            sample.field(self.domain, recipe.normals, 3),
            sample.field(self.domain, recipe.area, 1),
        ]
        self._sample, self._name, self._recipe = sample, name, recipe
        self._otherwise: Verdict = "fails" if is_demanded else "remark"
        self._area = 0.0
        self._gap, self._middle, self._moments = np.zeros(3), np.zeros(3), np.zeros((3, 3))
        self._low, self._high = np.full(3, np.inf), np.full(3, -np.inf)

    def add(self, block: Mapping[str, np.ndarray[Any, Any]]) -> None:
        position, normals, (area,) = (block[field] for field in self.fields)
        self._area += float(area.sum())
        self._gap += weighted_sum(normals, area)
        self._middle += weighted_sum(position, area)
        self._moments += np.einsum("in,jn->ij", position, normals * area)
        self._low = np.minimum(self._low, position.min(axis=1))
        self._high = np.maximum(self._high, position.max(axis=1))

    def findings(self) -> list[Finding]:
        gap = float(np.linalg.norm(self._gap)) / self._area if self._area else math.nan
        closed = self._compare(
            "",
            (gap, 0.0, self._recipe.tolerance),
            lambda: (
                f"normals * area sum up to {gap:.3g} of the area, not to 0",
                ["faces are missing or there twice, or the surface is an open one"],
            ),
        )
        if not gap <= OPEN:
            return [closed]
        # About the middle, so that a gap that is left makes the least of an error.
        volumes = self._moments - np.outer(self._middle / self._area, self._gap)
        return [closed, self._outward(volumes), self._size(abs(float(np.trace(volumes))) / 3)]

    def _compare(
        self,
        part: str,
        numbers: tuple[float, float, float],
        explain: Callable[[], tuple[str, Iterable[str]]],
    ) -> Finding:
        return compare((self._sample.sample_id, f"{self._name}{part}"), *numbers, explain, self._otherwise)

    def _outward(self, volumes: np.ndarray[Any, Any]) -> Finding:
        diagonal, largest = np.diag(volumes), float(np.abs(volumes).max())
        found = float(diagonal.min()) / largest if largest else math.nan
        return self._compare(
            ", outward", (found, 1.0, self._recipe.volume_tolerance), lambda: self._explain_outward(volumes)
        )

    def _explain_outward(self, volumes: np.ndarray[Any, Any]) -> tuple[str, list[str]]:
        """Name which axes of the normals are which of the positions, where that would make it hold."""
        message = f"the volume is {', '.join(f'{volume:.3g}' for volume in np.diag(volumes))} along x, y and z"
        chosen = np.abs(volumes).argmax(axis=1)
        found = volumes[range(len(_AXES)), chosen]
        least = (1 - self._recipe.volume_tolerance) * float(np.abs(found).max())
        if len(set(chosen)) < len(_AXES) or float(np.abs(found).min()) < least:
            return message, ['some normals point in and others out (mode = "orient"), or belong to other positions']
        if list(chosen) == sorted(chosen) and (found < 0).all():
            return message, ['the normals point into the body (mode = "flip", or scale = -1), or the flow is inside']
        named = ", ".join(f"{'-' if value < 0 else ''}{_AXES[each]}" for value, each in zip(found, chosen, strict=True))
        return message, [f"x, y, z of the positions are {named} of the normals"]

    def _size(self, volume: float) -> Finding:
        box = float(np.prod(self._high - self._low))
        in_box = volume / box if box else math.nan
        in_sphere = 6 * math.sqrt(math.pi) * volume / self._area**1.5
        found = max(max(in_box, in_sphere) - 1, 0.0) if box else math.nan
        wrong = ("large", "the box around them has") if in_box > in_sphere else ("small", "any body of that area has")
        return self._compare(
            ", size",
            (found, 0.0, _SIZE_TOLERANCE),
            lambda: (
                "the areas are too {} for the positions: they enclose a larger volume than {}".format(*wrong),
                ["areas and positions are in different units, such as mm2 and m"],
            ),
        )
