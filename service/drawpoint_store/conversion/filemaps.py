"""FileMaps: those of public data sets, those in files, and the one that a tree's own file names tell.

The presets' file names are those of https://github.com/Emmi-AI/noether, `src/noether/data/datasets/cfd`:
`shapenet_car/filemap.py`, `caeml/filemap.py` (AhmedML and DrivAerML), `drivaernet/dataset.py` (DrivAerNet and
DrivAerNet++) and `emmi_wing/dataset.py`, whose preprocessing writes one .pt file a field; and
`drivaerstar/preprocessing.py`, which names the files but writes a store of its own.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from drawpoint.format.invalid_values import explain
from drawpoint_store.storage.locations import local_path
from drawpoint_store.writing.layout import FIELD_SPECS, FileMap

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

AUTO = FileMap(**{spec.filemap_attr: f"{spec.filemap_attr}.pt" for spec in FIELD_SPECS})
"""Every field in a file of its own name: what `detect_filemap` looks for."""

_SUFFIXES = ("pt", "pth")
_METADATA = frozenset(
    ("design", "parameters", "params", "metadata", "meta", "info", "config", "settings", "statistics")
)
"""Words in the names of files that describe a sample, and hold no value a point."""

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
    "drivaerstar": FileMap(
        surface_position="surface_position.pt",
        surface_pressure="surface_pressure.pt",
        surface_friction="surface_wallshearstress.pt",
        surface_normals="surface_normals.pt",
        volume_position="volume_position.pt",
        volume_pressure="volume_pressure.pt",
        volume_velocity="volume_velocity.pt",
        volume_distance_to_surface="volume_sdf.pt",
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


def without_absent_sdf(filemap: FileMap, file_names: Collection[str]) -> FileMap:
    """Return a preset as it fits a tree: DrivAerStar's distances are computed on request, and may be in no sample."""
    optional = PRESETS["drivaerstar"]
    if filemap == optional and optional.volume_distance_to_surface not in file_names:
        return filemap.model_copy(update={"volume_distance_to_surface": None})
    return filemap


def looks_left_out(name: str, filemap: FileMap) -> bool:
    """Tell whether the file `name` in a sample's directory looks like a field that `filemap` has not.

    Fields that a map of the user's own leaves out, although their files are called as they should be, are left out on
    purpose.
    """
    stem, _, suffix = name.rpartition(".")
    if name.startswith(".") or suffix.lower() not in _SUFFIXES or name in set(filemap.model_dump().values()):
        return False
    if not is_preset(filemap) and name in AUTO.model_dump().values():
        return False
    words = stem.lower().split("_")
    return _METADATA.isdisjoint(words) and (len(words) > 1 or bool(near_fields(name)))


def near_fields(name: str) -> list[str]:
    """Return the fields, by FileMap attribute, whose names are near that of a file."""
    attributes = [spec.filemap_attr for spec in FIELD_SPECS]
    return difflib.get_close_matches(name.rpartition(".")[0].lower(), attributes)


def preset_with(name: str, file_names: Collection[str]) -> tuple[str, str] | None:
    """Return the preset that has a field in the file `name`, and which; of several the one that fits the names best."""
    found = {
        preset: attribute
        for preset, filemap in PRESETS.items()
        for attribute, file in filemap.model_dump(exclude_none=True).items()
        if file == name
    }
    if not found:
        return None
    preset = max(found, key=lambda each: len({*PRESETS[each].model_dump().values()}.intersection(file_names)))
    return preset, found[preset]


def is_preset(filemap: FileMap) -> bool:
    """Tell whether `filemap` is that of a public set."""
    return any(filemap in (preset, without_absent_sdf(preset, ())) for preset in PRESETS.values())


def _parse(data: bytes, suffix: str) -> Any:
    if suffix == ".toml":
        return tomllib.loads(data.decode())
    return json.loads(data)


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
