"""The fields of an aerodynamic sample: their names, their files in a data set and their arrays in a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from drawpoint.format.manifest import FIELD_DTYPES, ArrayLayout, DomainLayout

if TYPE_CHECKING:
    from collections.abc import Mapping


class FileMap(BaseModel):
    """The file that each field of a data set lies in; None where it has no such field.

    Positions in m and, where the set has them, pressure, friction, velocity and the rest in the set's own units:
    nothing is converted. `design_parameters` is no point field and is not stored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    surface_position: str | None = None
    surface_pressure: str | None = None
    surface_friction: str | None = None
    surface_normals: str | None = None
    surface_area: str | None = None
    volume_position: str | None = None
    volume_pressure: str | None = None
    volume_velocity: str | None = None
    volume_vorticity: str | None = None
    volume_normals: str | None = None
    surface_position_stl: str | None = None
    surface_position_stl_resampled: str | None = None
    volume_friction: str | None = None
    volume_distance_to_surface: str | None = None
    design_parameters: str | None = None


@dataclass(frozen=True)
class FieldSpec:
    """One field: the FileMap attribute it comes from, and the domain, name and dim it is stored under."""

    filemap_attr: str
    domain: str
    name: str
    dim: int
    kind: Literal["coord", "value"]

    @property
    def canonical(self) -> str:
        """The field's name everywhere else: `<domain>_<name>`."""
        return f"{self.domain}_{self.name}"


_DIMS = {
    "position": 3,
    "friction": 3,
    "normals": 3,
    "velocity": 3,
    "vorticity": 3,
    "pressure": 1,
    "area": 1,
    "sdf": 1,
}
# Attributes that are not `<domain>_<name>`: two point clouds of the geometry are domains of their own.
_RENAMED = {
    "volume_distance_to_surface": ("volume", "sdf"),
    "surface_position_stl": ("surface_stl", "position"),
    "surface_position_stl_resampled": ("surface_stl_resampled", "position"),
}


def _field_spec(attribute: str) -> FieldSpec:
    domain, name = _RENAMED.get(attribute) or tuple(attribute.split("_", 1))
    return FieldSpec(attribute, domain, name, _DIMS[name], "coord" if name == "position" else "value")


FIELD_SPECS: list[FieldSpec] = [
    _field_spec(attribute) for attribute in FileMap.model_fields if attribute != "design_parameters"
]
"""All fields that can be stored, in FileMap order."""

CANONICAL_TO_SPEC: dict[str, FieldSpec] = {spec.canonical: spec for spec in FIELD_SPECS}


def present_specs(filemap: FileMap) -> list[FieldSpec]:
    """Return the specs of the fields that `filemap` names a file for, in FileMap order."""
    return [spec for spec in FIELD_SPECS if getattr(filemap, spec.filemap_attr) is not None]


def filename_to_canonical(filemap: FileMap) -> dict[str, str]:
    """Return the canonical field of each file that `filemap` names."""
    return {getattr(filemap, spec.filemap_attr): spec.canonical for spec in present_specs(filemap)}


def build_domain_layouts(
    filemap: FileMap,
    coords_dtype: str = "float32",
    values_dtype: str = "float16",
    field_dtypes: Mapping[str, str] | None = None,
) -> dict[str, DomainLayout]:
    """Return the layout of each domain that `filemap` has fields of: one array a field, in FileMap order.

    Positions are stored as `coords_dtype`, other fields as `values_dtype`, and what `field_dtypes` names (by
    canonical field) as it says. Raises ValueError unless each domain has exactly one coordinate field, for an
    unknown dtype, and for a `field_dtypes` key that is no field of `filemap`.
    """
    overrides = dict(field_dtypes or {})
    specs = present_specs(filemap)
    unknown = sorted(overrides.keys() - {spec.canonical for spec in specs})
    if unknown:
        names = ", ".join(spec.canonical for spec in specs)
        raise ValueError(f"field_dtypes names fields that are not stored: {', '.join(unknown)}; there is: {names}.")
    for dtype in (coords_dtype, values_dtype, *overrides.values()):
        if dtype not in FIELD_DTYPES:
            raise ValueError(f"dtype {dtype!r} cannot be stored; choose one of {', '.join(FIELD_DTYPES)}.")
    if not specs:
        raise ValueError("the FileMap names no field to store; name at least the file of a position.")
    by_domain: dict[str, list[FieldSpec]] = {}
    for spec in specs:
        by_domain.setdefault(spec.domain, []).append(spec)
    layouts = {}
    for domain, members in by_domain.items():
        coords = [spec.canonical for spec in members if spec.kind == "coord"]
        if len(coords) != 1:
            raise ValueError(
                f"domain {domain!r} needs exactly one coordinate field, has {len(coords)}: "
                f"{', '.join(spec.canonical for spec in members)}; name the file of {domain}_position."
            )
        layouts[domain] = DomainLayout(
            position=coords[0],
            arrays={
                spec.canonical: ArrayLayout(
                    array_name=f"{spec.domain}/{spec.name}",
                    field=spec.canonical,
                    dtype=overrides.get(spec.canonical, coords_dtype if spec.kind == "coord" else values_dtype),
                    dim=spec.dim,
                )
                for spec in members
            },
        )
    return layouts
