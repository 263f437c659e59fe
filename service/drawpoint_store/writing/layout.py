"""The fields of an aerodynamic sample: their names, their files in a data set and their arrays in a store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from drawpoint.format.manifest import FIELD_DTYPES, ArrayLayout, DomainLayout, check_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class FileMap(BaseModel):
    """The file that each field of a data set lies in; None where it has no such field.

    Positions in m and, where the set has them, pressure, friction, velocity and the rest in the set's own units:
    nothing is converted. `design_parameters` is no point field: its numbers are scalars of the sample.
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
    """One field: what it comes from, and the domain, name and dim (components a point) it is stored under.

    `filemap_attr` is the FileMap attribute that names its file, or of a field of your own the file itself (`T.pt`), or
    its name without `.pt`. `units` and `description` are for people.
    """

    filemap_attr: str
    domain: str
    name: str
    dim: int
    kind: Literal["coord", "value"]
    units: str | None = None
    description: str | None = None

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


def named_spec(key: str, domain: str | None = None) -> FieldSpec:
    """Return the field that `key` says: of `domain`, or of what stands before the first `_`, called what is left of it.

    Names that the format knows have its dim, others 1.
    """
    if domain is None and key in _RENAMED:
        domain, name = _RENAMED[key]
    else:
        domain = key.partition("_")[0] if domain is None else domain
        name = key.removeprefix(f"{domain}_")
    return FieldSpec(key, domain, name, _DIMS.get(name, 1), "coord" if name == "position" else "value")


FIELD_SPECS: list[FieldSpec] = [
    named_spec(attribute) for attribute in FileMap.model_fields if attribute != "design_parameters"
]
"""All fields that can be stored, in FileMap order."""

MAX_DIM = 16

RESERVED_DOMAINS = frozenset(
    ("domains", "draw", "dtype", "fields", "num_points", "part", "revision", "seed", "selection")
)
"""Parameters of requests, beside which a domain's own name is that of its count, and their names in OpenAPI."""

RESERVED_FIELDS = frozenset(("geometry_position", "sample_id"))
"""Keys that an item of a SampleDataset gives to something else."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")

CANONICAL_TO_SPEC: dict[str, FieldSpec] = {spec.canonical: spec for spec in FIELD_SPECS}


def present_specs(filemap: FileMap) -> list[FieldSpec]:
    """Return the specs of the fields that `filemap` names a file for, in FileMap order."""
    return [spec for spec in FIELD_SPECS if getattr(filemap, spec.filemap_attr) is not None]


def filename_to_canonical(filemap: FileMap, *, fields: Iterable[FieldSpec] = ()) -> dict[str, str]:
    """Return the canonical field of each file that `filemap` names, and of the files of `fields` of your own."""
    own = {file_name(spec): spec.canonical for spec in fields}
    return {getattr(filemap, spec.filemap_attr): spec.canonical for spec in present_specs(filemap)} | own


def file_name(spec: FieldSpec) -> str:
    """Return the file that a field of your own lies in: `T.pt` for the attribute `T.pt` or `T`."""
    return spec.filemap_attr if "." in spec.filemap_attr else f"{spec.filemap_attr}.pt"


def build_domain_layouts(
    filemap: FileMap,
    coords_dtype: str = "float32",
    values_dtype: str = "float16",
    field_dtypes: Mapping[str, str] | None = None,
    *,
    fields: Iterable[FieldSpec] = (),
) -> dict[str, DomainLayout]:
    """Return the layout of each domain that there are fields of: one array a field.

    Those of `filemap` come first, in FileMap order, then `fields` of your own; `FileMap()` has none. Positions are
    stored as `coords_dtype`, other fields as `values_dtype`, and what `field_dtypes` names (by canonical field) as it
    says. Raises ValueError unless each domain has exactly one coordinate field, for an unknown dtype, for a
    `field_dtypes` key that is no field of these, and for a field that cannot be stored: a domain or name that is not
    `[a-z][a-z0-9_]*`, a dim that is not 1 to 16 (of positions: 3), a name that another field has.
    """
    overrides = dict(field_dtypes or {})
    specs = [*present_specs(filemap), *fields]
    check_specs(specs)
    unknown = sorted(overrides.keys() - {spec.canonical for spec in specs})
    if unknown:
        names = ", ".join(spec.canonical for spec in specs)
        raise ValueError(f"field_dtypes names fields that are not stored: {', '.join(unknown)}; there is: {names}.")
    for dtype in (coords_dtype, values_dtype, *overrides.values()):
        if dtype not in FIELD_DTYPES:
            raise ValueError(f"dtype {dtype!r} cannot be stored; choose one of {', '.join(FIELD_DTYPES)}.")
    by_domain: dict[str, list[FieldSpec]] = {}
    for spec in specs:
        by_domain.setdefault(spec.domain, []).append(spec)
    return {
        domain: DomainLayout(
            position=next(spec.canonical for spec in members if spec.kind == "coord"),
            arrays={
                spec.canonical: ArrayLayout(
                    array_name=f"{spec.domain}/{spec.name}",
                    field=spec.canonical,
                    dtype=overrides.get(spec.canonical, coords_dtype if spec.kind == "coord" else values_dtype),
                    dim=spec.dim,
                    units=spec.units,
                    description=spec.description,
                )
                for spec in members
            },
        )
        for domain, members in by_domain.items()
    }


def check_specs(specs: Sequence[FieldSpec]) -> None:
    """Raise ValueError, naming the field, unless a store can hold all of these fields; see build_domain_layouts."""
    if not specs:
        raise ValueError("the FileMap names no field to store; name at least the file of a position.")
    seen: dict[str, FieldSpec] = {}
    for spec in specs:
        if not isinstance(spec, FieldSpec):
            raise ValueError(f"fields holds {spec!r:.80}, which is no FieldSpec.")  # noqa: TRY004  a ValueError like the others here
        if problem := _problem(spec):
            raise ValueError(f"field {spec.canonical!r:.80} of domain {spec.domain!r:.80} {problem}.")
        if spec.canonical in seen:
            twins = " and ".join(f"{each.domain}/{each.name}" for each in (seen[spec.canonical], spec))
            raise ValueError(f"two fields are called {spec.canonical}: {twins}; give each another name.")
        seen[spec.canonical] = spec
    for domain in dict.fromkeys(spec.domain for spec in specs):
        members = [spec for spec in specs if spec.domain == domain]
        coords = [spec.canonical for spec in members if spec.kind == "coord"]
        if len(coords) != 1:
            raise ValueError(
                f"domain {domain!r} needs exactly one coordinate field, has {len(coords)}: "
                f"{', '.join(spec.canonical for spec in members)}; name the file of {domain}_position."
            )


def _problem(spec: FieldSpec) -> str | None:
    """Return why a store cannot hold a field, as the end of a sentence about it."""
    for what, name in (("domain", spec.domain), ("name", spec.name)):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return f"has the {what} {name!r:.80}; take lower-case letters, digits and _, a letter first"
    try:
        for what, text in (("units", spec.units), ("description", spec.description)):
            check_text(what, text)
    except ValueError as error:
        return f"is refused: {error}"
    kind, coord_dim = spec.kind, _DIMS["position"]
    problems = (
        (spec.domain in RESERVED_DOMAINS, "is of a domain whose name is a parameter of HTTP requests; rename it"),
        (
            spec.canonical in RESERVED_FIELDS,
            "has the name that items of a SampleDataset give to something else; rename it",
        ),
        (kind not in ("coord", "value"), f"has the kind {kind!r:.80}; take 'coord' for positions, or 'value'"),
        (kind == "value" and spec.name == "position", "has the kind 'value'; make it 'coord', or rename it"),
        (
            type(spec.dim) is not int or not 1 <= spec.dim <= MAX_DIM,
            f"has the dim {spec.dim!r:.80}; it is the number of components, from 1 to {MAX_DIM}",
        ),
        (kind == "coord" and spec.dim != coord_dim, f"has the dim {spec.dim!r:.80}; coordinates have {coord_dim}"),
    )
    return next((problem for found, problem in problems if found), None)
