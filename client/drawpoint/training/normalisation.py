"""Normalisation of fields to zero mean and unit deviation by the statistics of a store, and back."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from drawpoint.draw.selection import name_store
from drawpoint.errors import InvalidParameter, RevisionChanged, UnknownField

if TYPE_CHECKING:
    import torch

    from drawpoint.format.manifest import StoreManifest

GEOMETRY_POSITION = "geometry_position"
"""The key of a dataset's independent draw of surface positions. It is normalised like `surface_position`."""

GEOMETRY_DOMAIN = "surface"
GEOMETRY_SOURCE = "surface_position"


class Normaliser:
    """Normalises each component of a field to (x - mean) / std, and back.

    A component that does not vary (its std is 0 or unknown) is shifted but not divided. Instances can be pickled.

    - `statistics`: What `reader.statistics()` or `calculate_store_statistics` returns, or any mapping from fields to
      `mean` and `std`, each a list with a number a component.
    - `log`: Fields that are first mapped to sign(x) * log1p(abs(x)), such as vorticity, whose values span many orders
      of magnitude. Their `logmean` and `logstd` are used.
    - `leave`: Fields that stay as they are.

    Raises UnknownField for a field of `log` without statistics, and InvalidParameter for invalid statistics.
    """

    def __init__(
        self, statistics: Mapping[str, Any], *, log: Collection[str] = (), leave: Collection[str] = ()
    ) -> None:
        document: Mapping[str, Any] = (
            statistics if isinstance(statistics.get("fields"), Mapping) else {"fields": statistics}
        )
        self.revision: str | None = document.get("revision")
        self.log = frozenset(_check_names("log", log))
        self.leave = frozenset(_check_names("leave", leave))
        self._moments: dict[str, tuple[list[float], list[float]]] = {}
        for field, entry in document["fields"].items():
            logarithmic = "log" if field in self.log else ""
            try:
                # A RunningStats is an entry too.
                found = entry if isinstance(entry, Mapping) else entry.to_dict()
                self._moments[field] = _moments(found[f"{logarithmic}mean"], found[f"{logarithmic}std"])
            except (AttributeError, KeyError, TypeError) as error:
                raise InvalidParameter(
                    f"the statistics of {field!r} have no {logarithmic}mean and {logarithmic}std; "
                    "use those of reader.statistics().",
                    field=field,
                ) from error
        for field in sorted(self.log):
            self._find(field)

    def __repr__(self) -> str:
        names = "".join(f", {name}={sorted(value)}" for name in ("log", "leave") if (value := getattr(self, name)))
        return f"<drawpoint.Normaliser of {len(self._moments)} fields{names}>"

    @property
    def fields(self) -> list[str]:
        """The fields with statistics."""
        return list(self._moments)

    def check(self, manifest: StoreManifest, fields: Collection[str], store: str | None = None) -> None:
        """Check that the statistics cover `fields` and are of this revision of the store. Errors name it `store`.

        Raises RevisionChanged and UnknownField.
        """
        if self.revision is not None and self.revision != manifest.revision:
            raise RevisionChanged(
                f"the statistics are of revision {self.revision}, but {name_store(manifest, store)} is at "
                f"{manifest.revision}; measure them again with `drawpoint stats`.",
                store=store,
            )
        for field in fields:
            if self._source(field) not in self.leave:
                self._find(field)

    def normalise(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return new, normalised tensors of the same fields. Raises UnknownField for a field without statistics."""
        return {field: self._forward(field, tensor) for field, tensor in tensors.items()}

    def denormalise(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return new tensors of the same fields in the units of the store: the inverse of `normalise`."""
        return {field: self._back(field, tensor) for field, tensor in tensors.items()}

    def _forward(self, field: str, tensor: torch.Tensor) -> torch.Tensor:
        if self._source(field) in self.leave:
            return tensor
        mean, std = self._tensors(field, tensor)
        if self._source(field) in self.log:
            tensor = tensor.sign() * tensor.abs().log1p()
        return (tensor - mean) / std

    def _back(self, field: str, tensor: torch.Tensor) -> torch.Tensor:
        if self._source(field) in self.leave:
            return tensor
        mean, std = self._tensors(field, tensor)
        tensor = tensor * std + mean
        return tensor.sign() * tensor.abs().expm1() if self._source(field) in self.log else tensor

    def _tensors(self, field: str, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and deviation of shape (dim,), or () for a scalar field, whose tensor has no component axis."""
        mean, std = (like.new_tensor(values) for values in self._find(field))
        return (mean[0], std[0]) if len(mean) == 1 else (mean, std)

    def _find(self, field: str) -> tuple[list[float], list[float]]:
        source = self._source(field)
        found = self._moments.get(source)
        if found is None:
            raise UnknownField(
                f"there are no statistics of {source!r}; measure them with `drawpoint stats`, or name the field in "
                "Normaliser(..., leave=...) to keep it as it is.",
                field=source,
            )
        return found

    def _source(self, field: str) -> str:
        return GEOMETRY_SOURCE if field == GEOMETRY_POSITION else field


def _moments(mean: Any, std: Any) -> tuple[list[float], list[float]]:
    """Return mean and deviation as lists of floats, with a deviation of 1 for components that do not vary."""
    means, deviations = [float(value) for value in mean], [math.nan if value is None else float(value) for value in std]
    if len(means) != len(deviations):
        raise TypeError("mean and std have different lengths")
    return means, [value if value > 0 else 1.0 for value in deviations]


def _check_names(parameter: str, names: Collection[str]) -> Collection[str]:
    if isinstance(names, str):
        raise InvalidParameter.of(parameter, names, f"a list of field names, such as [{names!r}]")
    return names
