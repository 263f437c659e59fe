"""What a check found in a sample, and what of the sample a check needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from drawpoint.errors import InvalidParameter, UnknownScalar
from drawpoint.format.scale import Scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from drawpoint.format.manifest import ArrayLayout

Verdict = Literal["holds", "fails", "remark", "not checked"]
"""A remark is what may be wrong or meant, such as an open surface of which no recipe says that it is closed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check of one sample.

    `found` is to be `expected`, give or take `tolerance`; all three are None where nothing could be found. `message`
    is a sentence on what does not hold, or why it was not checked. `causes` are changes of the data under which the
    check would hold, and other things that may be the reason.
    """

    sample: str
    check: str
    verdict: Verdict
    found: float | None = None
    expected: float | None = None
    tolerance: float | None = None
    message: str = ""
    causes: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        """What was found beyond what is expected."""
        return None if self.found is None or self.expected is None else self.found - self.expected


class NotChecked(Exception):
    """A check has not what it needs; `str()` says what is missing."""


@dataclass(frozen=True, slots=True)
class CheckedSample:
    """A sample with its scalars, and the layouts of the fields that it has, by canonical name."""

    sample_id: str
    scalars: Mapping[str, float]
    fields: Mapping[str, ArrayLayout]

    def field(self, domain: str, name: str, dim: int) -> str:
        """Return the canonical name of a field; raises NotChecked where it is not there or not of `dim` components."""
        field = f"{domain}_{name}"
        if field not in self.fields:
            raise NotChecked(f"there is no field {field}")
        if self.fields[field].dim != dim:
            raise NotChecked(f"{field} has {self.fields[field].dim} components, and {dim} are needed")
        return field

    def number(self, number: float | str) -> float:
        """Return a number, or that of the scalar of this name; raises NotChecked for one that is not there."""
        if not isinstance(number, str):
            return number
        if number not in self.scalars:
            raise NotChecked(
                f"there is no scalar {number!r}; `drawpoint annotate` adds it to the store, or the recipe may state it"
            )
        return self.scalars[number]

    def value(self, expression: str, what: str) -> float:
        """Return the value of an expression in the scalars; raises NotChecked where it cannot be had or divided by."""
        try:
            return Scale(expression).value(self.scalars, what, self.sample_id)
        except UnknownScalar as error:
            lacking = next(name for name in Scale(expression).names if name not in self.scalars)
            try:
                self.number(lacking)
            except NotChecked as reason:
                raise NotChecked(f"{what} is {expression!r}, and {reason}") from error
            raise
        except InvalidParameter as error:
            raise NotChecked(str(error).rstrip(".")) from error

    def float16_remedy(self, field: str) -> str | None:
        """Return how a field that is stored as float16 is stored wider; None for any other."""
        if self.fields[field].dtype != "float16":
            return None
        return f'convert again with --field-dtype {field}=float32, or dtype = "float32" in the recipe\'s field'


class Measure(Protocol):
    """A check of one sample, which is given all rows of a domain, block by block."""

    @property
    def domain(self) -> str:
        """The domain whose rows it takes."""

    @property
    def fields(self) -> Sequence[str]:
        """The fields that it takes, by canonical name."""

    def add(self, block: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Take a block of rows, by components: float64 (dim, N) of each field."""

    def findings(self) -> Sequence[Finding]:
        """Return what was found in the rows that were added."""


def compare(
    place: tuple[str, str],
    found: float,
    expected: float,
    tolerance: float,
    explain: Callable[[], tuple[str, Iterable[str]]],
    otherwise: Verdict = "fails",
) -> Finding:
    """Return the finding of the sample and check in `place`, with the message and causes of `explain` if it fails."""
    if agrees(found, expected, tolerance):
        return Finding(*place, "holds", found, expected, tolerance)
    message, causes = explain()
    if not math.isfinite(found):
        causes = ("its fields hold NaN or inf, or nothing but 0: `drawpoint verify` names the rows",)
    return Finding(*place, otherwise, found, expected, tolerance, message, tuple(causes))


def agrees(found: float, expected: float, tolerance: float) -> bool:
    """Tell whether `found` is `expected` within the tolerance; NaN never is."""
    return math.isfinite(found) and abs(found - expected) <= tolerance


def weighted_sum(vectors: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the sum of vectors (dim, N) times weights (N,): (dim,), the same whatever threads BLAS would take."""
    total: np.ndarray[Any, Any] = np.einsum("in,n->i", vectors, weights)
    return total
