"""Normalisation of fields to zero mean and unit deviation by the statistics of a store, and back."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from drawpoint.draw.selection import name_store
from drawpoint.errors import InvalidParameter, RevisionChanged, UnknownField
from drawpoint.format.scale import Scale, check_samples, check_scaled_fields, parse_scales

if TYPE_CHECKING:
    import torch

    from drawpoint.format.manifest import StoreManifest

GEOMETRY_POSITION = "geometry_position"
"""The key of a dataset's independent draw of surface positions. It is normalised like `surface_position`."""

GEOMETRY_DOMAIN = "surface"
GEOMETRY_SOURCE = "surface_position"

Scalars: TypeAlias = Mapping[str, float] | Sequence[Mapping[str, float]]
"""The scalars of the sample that the tensors are of, or those of each sample of a batch, along the first axis."""


class Normaliser:
    """Normalises each component of a field to (x - mean) / std, and back.

    A component that does not vary (its std is 0 or unknown) is shifted but not divided. Instances can be pickled.

    - `statistics`: What `reader.statistics()` or `calculate_store_statistics` returns, or any mapping from fields to
      `mean` and `std`, each a list with a number a component.
    - `log`: Fields that are first mapped to sign(x) * log1p(abs(x)), such as vorticity, whose values span many orders
      of magnitude. Their `logmean` and `logstd` are used.
    - `leave`: Fields that stay as they are.
    - `scale`: Fields that are first divided by an expression in the scalars of their sample, such as
      `{"surface_pressure": "0.5 * rho_inf * U_inf**2"}`, with all components. Statistics that were measured with
      scales name them, so that this need not. Statistics of values that were divided by something else, or by nothing,
      are refused; a `mean` and `std` of your own, without a `count`, are taken as those of the divided values.

    Raises UnknownField for a field of `log` or `scale` without statistics, and InvalidParameter for invalid statistics
    and scales.
    """

    def __init__(
        self,
        statistics: Mapping[str, Any],
        *,
        log: Collection[str] = (),
        leave: Collection[str] = (),
        scale: Mapping[str, str | Scale] | None = None,
    ) -> None:
        document: Mapping[str, Any] = (
            statistics if isinstance(statistics.get("fields"), Mapping) else {"fields": statistics}
        )
        self.revision: str | None = document.get("revision")
        self.log = frozenset(_check_names("log", log))
        self.leave = frozenset(_check_names("leave", leave))
        self._scales = parse_scales(scale)
        check_scaled_fields(self._scales, document["fields"], "the statistics")
        for field in self._scales.keys() & self.leave:
            raise InvalidParameter(f"{field} is named by scale and by leave; name it in one of them.", field=field)
        self._moments: dict[str, tuple[list[float], list[float]]] = {}
        for field, entry in document["fields"].items():
            logarithmic = "log" if field in self.log else ""
            try:
                # A RunningStats is an entry too.
                found = entry if isinstance(entry, Mapping) else entry.to_dict()
                self._moments[field] = _moments(found[f"{logarithmic}mean"], found[f"{logarithmic}std"])
                self._take_scale(field, found)
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
        scale = f", scale={self.scale}" if self.scale else ""
        return f"<drawpoint.Normaliser of {len(self._moments)} fields{names}{scale}>"

    @property
    def fields(self) -> list[str]:
        """The fields with statistics."""
        return list(self._moments)

    @property
    def scale(self) -> dict[str, str]:
        """The expressions that fields are divided by."""
        return {field: scale.text for field, scale in self._scales.items()}

    def check(
        self,
        manifest: StoreManifest,
        fields: Collection[str],
        sample_ids: Collection[str] = (),
        store: str | None = None,
    ) -> None:
        """Check that the statistics cover `fields`, are of this revision of the store, and can scale these samples.

        Raises RevisionChanged, UnknownField, and what a scale raises that a sample has not the scalars for.
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
        sources = {self._source(field) for field in fields} - self.leave
        scales = {field: self._scales[field] for field in sources & self._scales.keys()}
        check_samples(scales, manifest, sample_ids, store)

    def normalise(self, tensors: Mapping[str, torch.Tensor], scalars: Scalars | None = None) -> dict[str, torch.Tensor]:
        """Return new, normalised tensors of the same fields.

        Fields with a scale need `scalars`: `reader.scalars(sample_id)`, or a list of them for a batch. Raises
        UnknownField for a field without statistics, InvalidParameter without `scalars`, UnknownScalar for one that
        is not among them.
        """
        return {field: self._forward(field, tensor, scalars) for field, tensor in tensors.items()}

    def denormalise(
        self, tensors: Mapping[str, torch.Tensor], scalars: Scalars | None = None
    ) -> dict[str, torch.Tensor]:
        """Return new tensors of the same fields in the units of the store: the inverse of `normalise`."""
        return {field: self._back(field, tensor, scalars) for field, tensor in tensors.items()}

    def _forward(self, field: str, tensor: torch.Tensor, scalars: Scalars | None) -> torch.Tensor:
        if self._source(field) in self.leave:
            return tensor
        mean, std = self._tensors(field, tensor)
        if self._source(field) in self._scales:
            tensor = tensor / self._divisor(field, tensor, scalars)
        if self._source(field) in self.log:
            tensor = tensor.sign() * tensor.abs().log1p()
        return (tensor - mean) / std

    def _back(self, field: str, tensor: torch.Tensor, scalars: Scalars | None) -> torch.Tensor:
        if self._source(field) in self.leave:
            return tensor
        mean, std = self._tensors(field, tensor)
        tensor = tensor * std + mean
        if self._source(field) in self.log:
            tensor = tensor.sign() * tensor.abs().expm1()
        return tensor * self._divisor(field, tensor, scalars) if self._source(field) in self._scales else tensor

    def _divisor(self, field: str, like: torch.Tensor, scalars: Scalars | None) -> float | torch.Tensor:
        """Return the value of the field's scale, for a batch one a sample along the first axis of `like`."""
        source = self._source(field)
        scale = self._scales[source]
        if scalars is None:
            raise InvalidParameter(
                f"{field} is divided by {scale.text!r}, which needs the scalars of its sample; give them as "
                "scalars=reader.scalars(sample_id).",
                field=field,
            )
        if isinstance(scalars, Mapping):
            return scale.value(scalars, source)
        if like.ndim == 0 or len(scalars) != len(like):
            raise InvalidParameter(
                f"scalars are those of {len(scalars)} samples, but {field} has the shape {tuple(like.shape)}; give one "
                "mapping for each sample of a batch, or a mapping for a single sample.",
                field=field,
            )
        values = like.new_tensor([scale.value(each, source) for each in scalars])
        return values.reshape(-1, *(1 for _ in like.shape[1:]))

    def _take_scale(self, field: str, entry: Mapping[str, Any]) -> None:
        """Take the scale that an entry of the statistics names; raises InvalidParameter where another one is wanted."""
        measured = None if entry.get("scale") is None else Scale(entry["scale"])
        wanted = self._scales.get(field)
        if wanted is None:
            if measured is not None:
                self._scales[field] = measured
        elif wanted != measured and (measured is not None or "count" in entry):
            divided = "as they are stored" if measured is None else f"divided by {measured.text!r}"
            raise InvalidParameter(
                f"the statistics of {field} are of values {divided}, not divided by {wanted.text!r}; measure them "
                f"again with `drawpoint stats STORE_ROOT --scale '{field}={wanted.text}'`.",
                field=field,
            )

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
