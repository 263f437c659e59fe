"""Normals of unit length and positive areas."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from drawpoint_store.inspecting.physics.finding import compare
from drawpoint_store.wording import count

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from drawpoint_store.inspecting.physics.finding import CheckedSample, Finding

LENGTH_TOLERANCE = 2e-3
"""How far a normal may be from unit length: four times what float16 rounds."""

MOST_WITHOUT = 0.05
"""Up to this share of rows, normals of zero are taken for points of no polygon, as ShapeNet-Car's meshes have them."""

_AREA_VECTORS = 0.01


class NormalsAndAreas:
    """The lengths of the normals and the areas of a domain; either may be missing.

    A cell without area has no direction: rows where both are 0 are let be.
    """

    def __init__(self, sample: CheckedSample, domain: str, normals: str | None, area: str | None) -> None:
        self.domain = domain
        self.fields = [field for field in (normals, area) if field is not None]
        self._sample, self._normals, self._area = sample, normals, area
        self._rows = self._without = self._zero = self._negative = 0
        self._off = 0.0
        self._off_from_area = 0.0

    def add(self, block: Mapping[str, np.ndarray[Any, Any]]) -> None:
        n_rows = block[self.fields[0]].shape[1]
        lengths = areas = np.ones(n_rows)
        if self._normals is not None:
            lengths = np.sqrt(np.einsum("in,in->n", block[self._normals], block[self._normals]))
        if self._area is not None:
            areas = block[self._area][0]
        self._rows += n_rows
        self._zero += int(np.count_nonzero((areas == 0) & (lengths != 0)))
        self._negative += int(np.count_nonzero(~(areas >= 0) | np.isinf(areas)))
        self._without += int(np.count_nonzero((lengths == 0) & (areas != 0)))
        there = lengths != 0
        self._off = max(self._off, _largest(lengths[there] - 1), key=_nan_is_most)
        with np.errstate(divide="ignore"):
            off = _largest(lengths[there] / areas[there] - 1)
        self._off_from_area = max(self._off_from_area, off, key=_nan_is_most)

    def findings(self) -> list[Finding]:
        found = []
        if self._normals is not None:
            found.append(self._of_normals(self._normals))
        if self._area is not None:
            found.append(self._of_areas(self._area))
        return found

    def _of_normals(self, field: str) -> Finding:
        place = (self._sample.sample_id, f"{self.domain} unit normals")
        finding = compare(place, self._off, 0.0, LENGTH_TOLERANCE, lambda: self._explain_length(field))
        if finding.verdict != "holds" or not self._without:
            return finding
        return replace(
            finding,
            verdict="remark" if self._without <= MOST_WITHOUT * self._rows else "fails",
            message=f"{count(self._without, 'row')} of {self._rows:,} of {field} have a normal of 0",
            causes=("these are points of no polygon, or their normals were never computed",),
        )

    def _explain_length(self, field: str) -> tuple[str, list[str]]:
        causes = []
        if self._area is not None and self._off_from_area < _AREA_VECTORS:
            causes.append("they are as long as the areas: divide them by these")
        return f"{field} differ from unit length by up to {self._off:.3g}", causes

    def _of_areas(self, field: str) -> Finding:
        wrong = self._zero + self._negative
        place = (self._sample.sample_id, f"{self.domain} positive areas")
        return compare(place, wrong, 0, 0, lambda: self._explain_areas(field, wrong))

    def _explain_areas(self, field: str, wrong: int) -> tuple[str, list[str]]:
        causes = ["areas were given a sign, or hold NaN or inf"] if self._negative else []
        remedy = self._sample.float16_remedy(field)
        if self._zero and remedy is None:
            causes.append("the source has cells without area, whose normals have a length all the same")
        elif self._zero:
            causes.append(f"float16 makes 0 of what is below 3e-8: {remedy}")
        return f"{count(wrong, 'row')} of {self._rows:,} of {field} are not positive", causes


def _largest(differences: np.ndarray[Any, Any]) -> float:
    return float(np.abs(differences).max(initial=0))


def _nan_is_most(value: float) -> float:
    return math.inf if math.isnan(value) else value
