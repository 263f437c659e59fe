"""FileMaps: those of public data sets, those in files, and the one that a tree's own file names tell.

The presets' file names are those of https://github.com/Emmi-AI/noether, `src/noether/data/datasets/cfd`:
`shapenet_car/filemap.py`, `caeml/filemap.py` (AhmedML and DrivAerML), `drivaernet/dataset.py` (DrivAerNet and
DrivAerNet++) and `emmi_wing/dataset.py`, whose preprocessing writes one .pt file a field.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from drawpoint.invalid_values import explain
from drawpoint_store.layout import FIELD_SPECS, FileMap
from drawpoint_store.locations import local_path

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

AUTO = FileMap(**{spec.filemap_attr: f"{spec.filemap_attr}.pt" for spec in FIELD_SPECS})
"""Every field in a file of its own name: what `detect_filemap` looks for."""

_CAEML = FileMap(
    surface_position="surface_position_vtp.pt",
    surface_pressure="surface_pressure.pt",
    surface_friction="surface_wallshearstress.pt",
    surface_normals="surface_normal_vtp.pt",
    volume_position="volume_cell_position.pt",
    volume_pressure="volume_cell_totalpcoeff.pt",
    volume_velocity="volume_cell_velocity.pt",
    volume_vorticity="volume_cell_vorticity.pt",
)

PRESETS: dict[str, FileMap] = {
    "shapenet-car": FileMap(
        surface_position="surface_points.pt",
        surface_pressure="surface_pressure.pt",
        surface_normals="surface_normals.pt",
        volume_position="volume_points.pt",
        volume_velocity="volume_velocity.pt",
        volume_normals="volume_normals.pt",
        volume_distance_to_surface="volume_sdf.pt",
    ),
    "ahmedml": _CAEML,
    "drivaerml": _CAEML,
    "drivaernet": FileMap(
        surface_position="surface_position.pt",
        surface_pressure="surface_p.pt",
        surface_friction="surface_wallShearStress.pt",
        volume_position="volume_position.pt",
        volume_pressure="volume_p.pt",
        volume_velocity="volume_U.pt",
        volume_vorticity="volume_vorticity.pt",
        volume_friction="volume_wallShearStress.pt",
    ),
    "emmi-wing": FileMap(
        surface_position="surface_position.pt",
        surface_pressure="surface_pressure.pt",
        surface_friction="surface_wall_shear_stress.pt",
        volume_position="volume_position.pt",
        volume_pressure="volume_pressure.pt",
        volume_velocity="volume_velocity.pt",
        volume_vorticity="volume_vorticity.pt",
        design_parameters="design_parameters.pt",
    ),
}
"""FileMaps of public data sets by name; `volume_pressure` of AhmedML and DrivAerML is total pressure coefficient."""


def find_filemap(name: str) -> FileMap:
    """Return the preset of that name, in any spelling (`DrivAerNet++`), or else the FileMap in the file `name`.

    Raises ValueError if it is neither, or if the file holds no FileMap.
    """
    for preset, filemap in PRESETS.items():
        if _letters(preset) == _letters(name):
            return filemap
    path = local_path(name)
    if not path.is_file():
        raise ValueError(f"{name!r} is neither a preset (auto, {', '.join(PRESETS)}) nor a file.")
    return load_filemap(path)


def load_filemap(path: str | os.PathLike[str]) -> FileMap:
    """Read a FileMap from a TOML or JSON file: FileMap attributes, each with a file name.

    Raises ValueError for anything else, naming the attributes there are.
    """
    data = Path(path).read_bytes()
    try:
        filemap = FileMap.model_validate(_parse(data, Path(path).suffix.lower()))
    except ValidationError as error:
        attributes = ", ".join(FileMap.model_fields)
        raise ValueError(
            f"{path} is no FileMap: {explain(error)}; it gives a file name to some of: {attributes}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is neither TOML nor JSON: {error}.") from error
    names = {spec.filemap_attr: getattr(filemap, spec.filemap_attr) for spec in FIELD_SPECS}
    given = {attribute: name for attribute, name in names.items() if name is not None}
    for attribute, name in given.items():
        if not name or "/" in name:
            raise ValueError(f"{path}: {attribute} must name a file in the sample's directory, not {name!r}.")
        twin = next(other for other, same in given.items() if same == name)
        if twin != attribute:
            raise ValueError(f"{path}: {twin} and {attribute} both name {name!r}; each field has its own file.")
    return filemap


def detect_filemap(file_names: Collection[str]) -> FileMap:
    """Return the FileMap of the files that are called as their field: `surface_pressure.pt` and so on."""
    fields = {spec.filemap_attr: getattr(AUTO, spec.filemap_attr) for spec in FIELD_SPECS}
    return FileMap(**{attribute: name for attribute, name in fields.items() if name in file_names})


def fitting_presets(file_names: Collection[str]) -> list[str]:
    """Return the presets of whose fields all have files among `file_names`."""
    wanted = {
        preset: {getattr(filemap, spec.filemap_attr) for spec in FIELD_SPECS} - {None}
        for preset, filemap in PRESETS.items()
    }
    return [preset for preset, names in wanted.items() if names <= set(file_names)]


def _parse(data: bytes, suffix: str) -> Any:
    if suffix == ".toml":
        return tomllib.loads(data.decode())
    return json.loads(data)


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
