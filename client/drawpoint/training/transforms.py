"""Augmentation that knows vectors: a sample as a whole is rotated, mirrored, shifted or scaled.

Positions move, vectors turn with them, and scalars stay. What a field is its name says: the part behind the domain,
`velocity` in `volume_velocity`. The random numbers come from a seed, which a SampleDataset takes from the draw.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from drawpoint.draw.philox import PhiloxStream
from drawpoint.draw.seeds import check_seed, fresh_seed
from drawpoint.errors import InvalidParameter
from drawpoint.training.scalars import SCALARS

if TYPE_CHECKING:
    import torch

Kind = Literal["position", "vector", "pseudovector", "scalar"]
Axis = Literal["x", "y", "z"] | Sequence[float]
Range = float | tuple[float, float]
"""A number, or the two (low, high) between which one is drawn, each as likely as the others."""

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]

KINDS: dict[str, Kind] = {
    "position": "position",
    "velocity": "vector",
    "friction": "vector",
    "normals": "vector",
    "vorticity": "pseudovector",
    "pressure": "scalar",
    "area": "scalar",
    "sdf": "scalar",
}
"""What the fields of the format are, by name. A mirror image of a pseudovector has the opposite sign of a vector's."""

POWERS_OF_LENGTH = {"sdf": 1, "area": 2, "vorticity": -1}
"""What `Scale` multiplies by a power of its factor, besides positions: velocities and pressures stay as they are."""

_AXES = ("x", "y", "z")
_DIMENSIONS = 3
_RESOLUTION = 2**53


@dataclass(frozen=True, eq=False)
class Similarity:
    """One map of space, x -> factor * matrix @ x + shift, with an orthogonal matrix; what an augmentation draws.

    `kinds` says what fields are whose names do not say it.
    """

    matrix: Matrix
    factor: float
    shift: Vector
    kinds: Mapping[str, Kind]

    def apply(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return a new item with the tensors mapped: (T, 3) or (..., T, 3) for positions and vectors.

        What is no tensor, such as `sample_id`, stays as it is, and so do the `scalars` of the sample. Raises
        InvalidParameter for a field whose kind is not known, and for a vector without three components.
        """
        return {
            field: self._map(field, value) if hasattr(value, "new_tensor") and field != SCALARS else value
            for field, value in item.items()
        }

    def inverse(self) -> Similarity:
        """Return the map that undoes this one."""
        back = self.matrix.T
        return Similarity(back, 1 / self.factor, -(back @ self.shift) / self.factor, self.kinds)

    def followed_by(self, other: Similarity) -> Similarity:
        """Return the map that does this one first and `other` on its result."""
        return Similarity(
            other.matrix @ self.matrix,
            other.factor * self.factor,
            other.factor * (other.matrix @ self.shift) + other.shift,
            {**self.kinds, **other.kinds},
        )

    def _map(self, field: str, tensor: torch.Tensor) -> torch.Tensor:
        name, kind = find_kind(field, self.kinds)
        if kind == "scalar":
            return self._scale(tensor, POWERS_OF_LENGTH.get(name, 0))
        _check_components(field, kind, tensor.shape[-1] if tensor.ndim > 1 else 1)
        matrix = self.matrix if kind != "pseudovector" else np.linalg.det(self.matrix).round() * self.matrix
        if not (matrix == np.eye(_DIMENSIONS)).all():
            tensor = tensor @ tensor.new_tensor(matrix.T)
        if kind == "position":
            tensor = self._scale(tensor, 1)
            return tensor + tensor.new_tensor(self.shift) if self.shift.any() else tensor
        return self._scale(tensor, POWERS_OF_LENGTH.get(name, 0))

    def _scale(self, tensor: torch.Tensor, power: int) -> torch.Tensor:
        return tensor if self.factor == 1 or power == 0 else tensor * self.factor**power


class Augmentation(ABC):
    """A random map of a sample, or a fixed one, for `SampleDataset(augment=...)` or to be called with any item.

    `kinds` maps names of fields to `position`, `vector`, `pseudovector` or `scalar`, where their names do not say it.
    It pickles. Raises InvalidParameter for invalid arguments.
    """

    def __init__(self, kinds: Mapping[str, Kind] | None = None) -> None:
        for field, kind in (kinds or {}).items():
            if kind not in KINDS.values():
                raise InvalidParameter.of(f"kinds[{field!r}]", str(kind), *dict.fromkeys(KINDS.values()))
        self.kinds: dict[str, Kind] = dict(kinds or {})

    def __call__(self, item: Mapping[str, Any], *, seed: int | None = None) -> dict[str, Any]:
        """Return a new item with the map that `seed` draws applied to it; without a seed, one of fresh entropy."""
        return self.draw(fresh_seed() if seed is None else seed).apply(item)

    def draw(self, seed: int) -> Similarity:
        """Return the map that `seed`, an integer in 0..2**63-1, draws; raises InvalidDraw for another."""
        return self.draw_from(PhiloxStream("augment/1", check_seed(seed)))

    @abstractmethod
    def draw_from(self, random: PhiloxStream) -> Similarity:
        """Return a map drawn with the next numbers of `random`."""

    def check(self, dims: Mapping[str, int]) -> None:
        """Raise InvalidParameter for one of the fields, given with their components, that no map can be applied to."""
        for field, dim in dims.items():
            _, kind = find_kind(field, self.kinds)
            if kind != "scalar":
                _check_components(field, kind, dim)

    def _similarity(
        self, matrix: Matrix | None = None, factor: float = 1.0, shift: Sequence[float] | Vector = (0.0, 0.0, 0.0)
    ) -> Similarity:
        found = np.eye(_DIMENSIONS) if matrix is None else matrix
        return Similarity(found, factor, np.asarray(shift, np.float64), self.kinds)


class Rotate(Augmentation):
    """Rotates by `degrees`, counterclockwise seen from the tip of `axis`, about an axis through `centre`.

    - `degrees`: A number, or (low, high), between which it is drawn.
    - `axis`: `x`, `y`, `z` or a vector of three numbers.
    - `centre`: A point that stays where it is, in the units of the positions.
    """

    def __init__(
        self,
        degrees: Range,
        axis: Axis = "z",
        *,
        centre: Sequence[float] = (0.0, 0.0, 0.0),
        kinds: Mapping[str, Kind] | None = None,
    ) -> None:
        super().__init__(kinds)
        self.degrees = _check_range("degrees", degrees)
        self.axis = _check_axis(axis)
        self.centre = _check_vector("centre", centre)

    def draw_from(self, random: PhiloxStream) -> Similarity:
        angle = math.radians(_draw_number(self.degrees, random))
        x, y, z = self.axis
        across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        # Rodrigues' formula.
        matrix = np.eye(_DIMENSIONS) + math.sin(angle) * across + (1 - math.cos(angle)) * (across @ across)
        return self._similarity(matrix, shift=self.centre - matrix @ self.centre)


class Mirror(Augmentation):
    """Mirrors at the plane across `axis` (`x`, `y` or `z`) at `offset`, with `probability`.

    Mirror("y") swaps left and right of a car that drives along x.
    Velocities, friction and normals are mirrored, and vorticity as a pseudovector: the curl of the mirrored velocity.
    """

    def __init__(
        self,
        axis: Literal["x", "y", "z"] = "y",
        *,
        offset: float = 0.0,
        probability: float = 1.0,
        kinds: Mapping[str, Kind] | None = None,
    ) -> None:
        super().__init__(kinds)
        if axis not in _AXES:
            raise InvalidParameter.of("axis", str(axis), *_AXES)
        self.axis = axis
        self.offset = _as_number(offset)
        if math.isnan(self.offset):
            raise InvalidParameter.of("offset", str(offset), "a finite number")
        self.probability = _as_number(probability)
        if not 0 <= self.probability <= 1:
            raise InvalidParameter.of("probability", str(probability), "a number in 0..1")

    def draw_from(self, random: PhiloxStream) -> Similarity:
        if _draw_number((0.0, 1.0), random) >= self.probability:
            return self._similarity()
        across = np.array([each == self.axis for each in _AXES], np.float64)
        return self._similarity(np.diag(1 - 2 * across), shift=2 * self.offset * across)


class Translate(Augmentation):
    """Shifts positions by `shift`: three entries, each a number or (low, high), between which it is drawn.

    It changes no other field.
    """

    def __init__(self, shift: Sequence[Range], *, kinds: Mapping[str, Kind] | None = None) -> None:
        super().__init__(kinds)
        if not isinstance(shift, Sequence | np.ndarray) or len(shift) != _DIMENSIONS:
            raise InvalidParameter.of("shift", str(shift), "three entries, each a number or (low, high)")
        self.shift = tuple(_check_range(f"shift[{index}]", each) for index, each in enumerate(shift))

    def draw_from(self, random: PhiloxStream) -> Similarity:
        return self._similarity(shift=[_draw_number(each, random) for each in self.shift])


class Scale(Augmentation):
    """Scales lengths by `factor`, a number or (low, high), from `centre`, and leaves velocities and pressures alone.

    Positions and distances (`sdf`) are multiplied by the factor, areas by its square; vorticity, velocity per length,
    is divided by it. That is the flow at another size and the same speed, where viscosity is scaled too or does not
    matter: at a fixed viscosity the Reynolds number changes with the factor. A field of `kinds` does not change,
    unless it is a position.
    """

    def __init__(
        self,
        factor: Range,
        *,
        centre: Sequence[float] = (0.0, 0.0, 0.0),
        kinds: Mapping[str, Kind] | None = None,
    ) -> None:
        super().__init__(kinds)
        self.factor = _check_range("factor", factor)
        if self.factor[0] <= 0:
            raise InvalidParameter.of("factor", str(factor), "greater than 0")
        self.centre = _check_vector("centre", centre)

    def draw_from(self, random: PhiloxStream) -> Similarity:
        factor = _draw_number(self.factor, random)
        return self._similarity(factor=factor, shift=(1 - factor) * self.centre)


class Compose(Augmentation):
    """Does several augmentations, one after the other, as one map. Each draws numbers of its own."""

    def __init__(self, augmentations: Iterable[Augmentation]) -> None:
        self.augmentations = tuple(augmentations)
        strange = [each for each in self.augmentations if not isinstance(each, Augmentation)]
        if strange or not self.augmentations:
            raise InvalidParameter.of(
                "augment", repr(strange[0]) if strange else "[]", "one of drawpoint.transforms, or a list of them"
            )
        super().__init__({field: kind for each in self.augmentations for field, kind in each.kinds.items()})

    def draw_from(self, random: PhiloxStream) -> Similarity:
        found = self._similarity()
        for each in self.augmentations:
            found = found.followed_by(each.draw_from(random))
        return found


def find_kind(field: str, kinds: Mapping[str, Kind]) -> tuple[str, Kind]:
    """Return the name of a field without its domain, and its kind, by `kinds` or else by that name.

    A field of `kinds` has no such name. Raises InvalidParameter where neither says it.
    """
    if field in kinds:
        return "", kinds[field]
    name = next((name for name in KINDS if field == name or field.endswith(f"_{name}")), None)
    if name is None:
        raise InvalidParameter(
            f"an augmentation cannot tell whether {field!r} is a vector: say what it is, as in kinds={{{field!r}: "
            f"'scalar'}}; there is {', '.join(dict.fromkeys(KINDS.values()))}. A tensor, such as a stress, is none of "
            "these: leave it out of the dataset's fields.",
            field=field,
        )
    return name, KINDS[name]


def _check_components(field: str, kind: Kind, found: int) -> None:
    if found != _DIMENSIONS:
        raise InvalidParameter(
            f"{field!r} is a {kind} by name and has {found} components, not {_DIMENSIONS}; say what it is, as in "
            f"kinds={{{field!r}: 'scalar'}}.",
            field=field,
        )


def _draw_number(between: tuple[float, float], random: PhiloxStream) -> float:
    """Return a number in low..high; where both are one, it is that one, and no number of `random` is taken."""
    low, high = between
    return low if low == high else low + (high - low) * (random.below(_RESOLUTION) / _RESOLUTION)


def _check_range(name: str, value: Range) -> tuple[float, float]:
    match value:
        case [first, last]:
            low, high = _as_number(first), _as_number(last)
        case _:
            low = high = _as_number(value)
    if not low <= high:  # so that NaN is refused
        raise InvalidParameter.of(name, str(value), "a finite number", "two of them, (low, high)")
    return low, high


def _check_vector(name: str, value: Sequence[float]) -> Vector:
    numbers = [_as_number(each) for each in value] if isinstance(value, Sequence | np.ndarray) else []
    if len(numbers) != _DIMENSIONS or not all(map(math.isfinite, numbers)):
        raise InvalidParameter.of(name, str(value), "three finite numbers")
    return np.array(numbers)


def _check_axis(axis: Axis) -> Vector:
    if isinstance(axis, str):
        if axis not in _AXES:
            raise InvalidParameter.of("axis", axis, *_AXES, "a vector of three numbers")
        return np.array([each == axis for each in _AXES], np.float64)
    vector = _check_vector("axis", axis)
    length = float(np.linalg.norm(vector))
    if not length:
        raise InvalidParameter.of("axis", str(axis), *_AXES, "a vector that is not zero")
    return vector / length


def _as_number(value: object) -> float:
    """Return a finite real number as a float, NaN for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        return math.nan
    return float(value)
