"""Names of domains and fields, made of the names of arrays and files."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from drawpoint_store.conversion.recipes.recipe import Recipe
from drawpoint_store.writing.layout import RESERVED_DOMAINS, RESERVED_FIELDS

if TYPE_CHECKING:
    from collections.abc import Container

_MEANS = frozenset(("mean", "avg", "average", "trim", "proj", "time"))
"""Words that say how an array was averaged, and not what it is."""

_KNOWN = {
    1: {
        **dict.fromkeys(("p", "pressure", "static_pressure"), "pressure"),
        **dict.fromkeys(("cp", "pressure_coefficient"), "pressure_coefficient"),
        **dict.fromkeys(("cpt", "total_pressure_coefficient"), "total_pressure_coefficient"),
        **dict.fromkeys(("t", "temperature"), "temperature"),
        **dict.fromkeys(("rho", "density"), "density"),
        **dict.fromkeys(("nut", "eddy_viscosity"), "eddy_viscosity"),
        **dict.fromkeys(("sdf", "implicit_distance", "distance_to_surface"), "distance_to_surface"),
        **dict.fromkeys(("y_plus", "yplus"), "y_plus"),
        **dict.fromkeys(("area", "areas", "cell_area", "cell_areas"), "area"),
    },
    3: {
        **dict.fromkeys(("u", "v", "vel", "velocity", "velocities"), "velocity"),
        **dict.fromkeys(("wall_shear_stress", "wallshearstress", "wss", "tau_wall", "friction"), "friction"),
        **dict.fromkeys(("vorticity", "omega"), "vorticity"),
        **dict.fromkeys(("normals", "normal", "surface_normals"), "normals"),
    },
}
"""What arrays are commonly called, by components: the names that stores and drawpoint's recipes use for them."""

_CENTRES = frozenset(("c", "cc", "cell_centers", "cell_centres", "cell_center", "cell_centre"))
"""What OpenFOAM and others call the centres of cells."""

_POSITIONS = frozenset(
    {
        *("position", "positions", "pos", "points", "point", "coords", "coord", "coordinates", "xyz", "mesh_pos"),
        *("centers", "centres", "center", "centre", "nodes", "node", "vertices", *(_CENTRES - {"c", "cc"})),
    }
)
_AXES = (
    ("x", "y", "z"),
    ("pos_x", "pos_y", "pos_z"),
    ("points_0", "points_1", "points_2"),
    ("coord_x", "coord_y", "coord_z"),
)
_DOMAINS = ("surface", "volume")


def snake(name: str) -> str:
    """Return a name in lower-case letters, digits and _: `CpMeanTrim` is `cp_mean_trim`; without units in brackets."""
    plain = unicodedata.normalize("NFKD", _without_unit(name)).encode("ascii", "ignore").decode()
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain)
    words = re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")
    return words if words[:1].isalpha() else f"field_{words}".rstrip("_")


def field_name(name: str, components: int, domain: str, taken: Container[str]) -> str:
    """Return what the field of an array is called; `taken` are the names of the domain's other fields.

    It is the common name where the array's is known, else the array's own. A mesh has positions of its own, so that no
    other field is called `position`.
    """
    own = _own(name)
    for prefix in (domain, *_DOMAINS):
        rest = own.removeprefix(f"{prefix}_")
        own = rest if rest[:1].isalpha() else own
    words = [word for word in own.split("_") if word not in _MEANS]
    known = _KNOWN.get(components, {})
    found = known.get("_".join(words)) or known.get(own)
    if found is not None and found not in taken:
        return found
    if own == "position" or f"{domain}_{own}" in RESERVED_FIELDS:
        own = f"{own}_array"
    return distinct(own, taken)


def domain_name(label: str, taken: Container[str]) -> str:
    """Return what a domain is called that comes from files of this name."""
    name = snake(label) if label else "points"
    if name in RESERVED_DOMAINS or name in Recipe.model_fields or not label:
        name = f"{name}_points" if label else name
    return distinct(name, taken)


def distinct(name: str, taken: Container[str]) -> str:
    """Return a name that is not taken: itself, or with the first number that is free."""
    number = 2
    found = name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def is_mean(name: str) -> bool:
    """Tell whether an array says that it is averaged over time."""
    return bool(_MEANS.intersection(snake(name).split("_")))


def is_centre(name: str) -> bool:
    """Tell whether a cell array of three components is commonly the cells' centres."""
    return snake(name) in _CENTRES


def is_position(name: str) -> bool:
    """Tell whether an array of three components is commonly the positions of rows."""
    own = _own(name)
    return any(each in _POSITIONS for each in (own, *(own.removeprefix(f"{prefix}_") for prefix in _DOMAINS)))


def position_axes(names: dict[str, str]) -> tuple[str, ...] | None:
    """Return the arrays of one component each, of `names` by their snake case, that are the positions of rows."""
    for axes in _AXES:
        if all(axis in names for axis in axes):
            return tuple(names[axis] for axis in axes)
    return None


def _own(name: str) -> str:
    """Return the name of an array without the groups that it lies in."""
    return snake(_without_unit(name).rpartition("/")[2])


def _without_unit(name: str) -> str:
    return re.sub(r"\s+[(\[].*[)\]]\s*$", "", name)
