"""FileMaps: of public data sets, in files of the user's own, and detected from the file names of a tree.

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
from typing import TYPE_CHECKING

from pydantic import ValidationError

from drawpoint.errors import InvalidSample
from drawpoint.format.invalid_values import explain
from drawpoint_store.storage.locations import local_path
from drawpoint_store.wording import printable
from drawpoint_store.writing.layout import FIELD_SPECS, FileMap, filename_to_canonical, present_specs

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

    from drawpoint_store.conversion.sources.file_tree import FileTree

AUTO = FileMap(**{spec.filemap_attr: f"{spec.filemap_attr}.pt" for spec in FIELD_SPECS})
"""Every field in a file of its own name, such as `surface_pressure.pt`."""

_SUFFIXES = ("pt", "pth")
_METADATA = frozenset(
    ("design", "parameters", "params", "metadata", "meta", "info", "config", "settings", "statistics")
)
"""Words in the names of files that describe a sample and hold no values of points."""

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
    text, is_toml = Path(path).read_bytes(), Path(path).suffix.lower() == ".toml"
    try:
        filemap = FileMap.model_validate(tomllib.loads(text.decode()) if is_toml else json.loads(text))
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
            raise ValueError(f"{path}: {twin} and {attribute} both name {name!r}; give each field its own file.")
    return filemap


def choose_filemap(filemap: FileMap | None, tree: FileTree) -> FileMap:
    """Return `filemap` as it fits a tree, or for None the FileMap of the files that are named like fields.

    DrivAerStar's distances are computed on request: its preset drops them where no sample has them. Raises
    InvalidSample for None where no file, or no position of a domain, is named like a field.
    """
    names = tree.file_names
    if filemap is not None:
        has_distances = PRESETS["drivaerstar"].volume_distance_to_surface in names
        return filemap if has_distances else _without_distances(filemap)
    found = detect_filemap(names)
    fields = {spec.canonical for spec in present_specs(found)}
    domains = {spec.domain for spec in present_specs(found)}
    positions = (spec.canonical for spec in FIELD_SPECS if spec.kind == "coord" and spec.domain in domains)
    missing = next((position for position in positions if position not in fields), None)
    if fields and missing is None:
        return found
    presets = fitting_presets(names)
    near = difflib.get_close_matches(f"{missing}.pt", names, 1, 0.85) if missing else []
    if presets:
        remedy = f"its files are those of --filemap {presets[0]}"
    elif near:
        remedy = f"is it {printable(near[0])}? Rename that, or name it with --filemap"
    else:
        remedy = "name its files with --filemap"
    reason = f"no file of {missing}" if missing else "no files that are named like fields"
    raise InvalidSample(f"{tree.storage} has {reason} (such as surface_position.pt); {remedy}.")


def detect_filemap(file_names: Collection[str]) -> FileMap:
    """Return the FileMap of the files that are named like their field: `surface_pressure.pt` and so on."""
    names = AUTO.model_dump(exclude_none=True)
    return FileMap(**{attribute: name for attribute, name in names.items() if name in file_names})


def fitting_presets(file_names: Collection[str]) -> list[str]:
    """Return the presets whose fields all have their files among `file_names`."""
    return [preset for preset, filemap in PRESETS.items() if filename_to_canonical(filemap).keys() <= set(file_names)]


def is_unmapped_field(name: str, filemap: FileMap) -> bool:
    """Tell whether the file `name` in a sample's directory looks like a field that `filemap` does not name.

    A file that is named like a field and that a FileMap of the user's own leaves out is left out on purpose.
    """
    stem, _, suffix = name.rpartition(".")
    if name.startswith(".") or suffix.lower() not in _SUFFIXES or name in filemap.model_dump().values():
        return False
    is_preset = any(filemap in (preset, _without_distances(preset)) for preset in PRESETS.values())
    if not is_preset and name in AUTO.model_dump().values():
        return False
    words = stem.lower().split("_")
    return _METADATA.isdisjoint(words) and (len(words) > 1 or bool(near_fields(name)))


def near_fields(name: str) -> list[str]:
    """Return the fields, by FileMap attribute, whose names are near that of a file."""
    attributes = [spec.filemap_attr for spec in FIELD_SPECS]
    return difflib.get_close_matches(name.rpartition(".")[0].lower(), attributes)


def find_preset(name: str, file_names: Collection[str]) -> tuple[str, str] | None:
    """Return the preset that names the file `name`, and its field; of several the one with most of `file_names`."""
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


def _without_distances(filemap: FileMap) -> FileMap:
    """Return DrivAerStar's preset without its distances, and every other FileMap as it is."""
    if filemap != PRESETS["drivaerstar"]:
        return filemap
    return filemap.model_copy(update={"volume_distance_to_surface": None})


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
