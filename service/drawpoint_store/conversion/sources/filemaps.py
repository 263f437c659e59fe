"""FileMaps: of public data sets, in files of the user's own, and detected from the file names of a tree.

The presets' file names are those of https://github.com/Emmi-AI/noether, `src/noether/data/datasets/cfd`:
`shapenet_car/filemap.py`, `caeml/filemap.py` (AhmedML and DrivAerML), `drivaernet/dataset.py` (DrivAerNet and
DrivAerNet++) and `emmi_wing/dataset.py`, whose preprocessing writes one .pt file a field; and
`drivaerstar/preprocessing.py`, which names the files but writes a store of its own.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.sources.filemap_file import MappedFields, load_filemap
from drawpoint_store.storage.locations import local_path
from drawpoint_store.wording import find_spelled, printable
from drawpoint_store.writing.layout import (
    CANONICAL_TO_SPEC,
    FIELD_SPECS,
    FileMap,
    file_name,
    filename_to_canonical,
    present_specs,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from drawpoint_store.conversion.sources.file_tree import FileTree
    from drawpoint_store.writing.layout import FieldSpec

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


def find_filemap(name: str) -> MappedFields:
    """Return the preset of that name, in any spelling (`DrivAerNet++`), or else the file map in the file `name`.

    Raises ValueError if it is neither, or if the file holds no file map.
    """
    preset = find_spelled(name, PRESETS)
    if preset is not None:
        return MappedFields(PRESETS[preset])
    path = local_path(name)
    if not path.is_file():
        raise ValueError(f"{name!r} is neither a preset (auto, {', '.join(PRESETS)}) nor a file.")
    return load_filemap(path)


def choose_fields(named: MappedFields | None, tree: FileTree, held: Iterable[FieldSpec] = ()) -> MappedFields:
    """Return the fields of a file map as it fits a tree, or for None those that files are named like.

    Those are the FileMap's, and besides those that a store holds already, `held`. DrivAerStar's distances are computed
    on request: its preset drops them where no sample has them. Raises InvalidSample for None where no file, or no
    position of a domain, is named like a field.
    """
    names = tree.file_names
    if named is not None:
        has_distances = PRESETS["drivaerstar"].volume_distance_to_surface in names
        return named if has_distances else named._replace(filemap=_without_distances(named.filemap))
    own = tuple(spec for spec in held if spec.canonical not in CANONICAL_TO_SPEC)
    found = detect_filemap(names)
    fields = {spec.canonical for spec in (*present_specs(found), *own)}
    domains = {spec.domain for spec in present_specs(found)}
    positions = (spec.canonical for spec in FIELD_SPECS if spec.kind == "coord" and spec.domain in domains)
    missing = next((position for position in positions if position not in fields), None)
    if fields and missing is None:
        return MappedFields(found, own)
    presets = fitting_presets(names)
    near = difflib.get_close_matches(f"{missing}.pt", names, 1, 0.85) if missing else []
    if presets:
        remedy = f"its files are those of --filemap {presets[0]}"
    elif near:
        remedy = f"is it {printable(near[0])}? Rename that, or name it with --filemap"
    else:
        remedy = "name its files with --filemap, or give a --recipe, which drawpoint inspect writes for other kinds"
    reason = f"no file of {missing}" if missing else "no files that are named like fields"
    raise InvalidSample(f"{tree.storage} has {reason} (such as surface_position.pt); {remedy}.")


def detect_filemap(file_names: Collection[str]) -> FileMap:
    """Return the FileMap of the files that are named like their field: `surface_pressure.pt` and so on."""
    names = AUTO.model_dump(exclude_none=True)
    return FileMap(**{attribute: name for attribute, name in names.items() if name in file_names})


def fitting_presets(file_names: Collection[str]) -> list[str]:
    """Return the presets whose fields all have their files among `file_names`."""
    return [preset for preset, filemap in PRESETS.items() if filename_to_canonical(filemap).keys() <= set(file_names)]


def is_unmapped_field(name: str, filemap: FileMap, fields: Collection[FieldSpec] = ()) -> bool:
    """Tell whether the file `name` in a sample's directory looks like a field that no file map names.

    A file that is named like a field and that a FileMap of the user's own leaves out is left out on purpose.
    """
    stem, _, suffix = name.rpartition(".")
    if name.startswith(".") or suffix.lower() not in _SUFFIXES or name in filemap.model_dump().values():
        return False
    if name in map(file_name, fields):
        return False
    is_preset = any(filemap in (preset, _without_distances(preset)) for preset in PRESETS.values())
    if not is_preset and name in AUTO.model_dump().values():
        return False
    words = stem.lower().split("_")
    return _METADATA.isdisjoint(words) and (len(words) > 1 or bool(near_fields(name, fields)))


def near_fields(name: str, fields: Collection[FieldSpec] = (), cutoff: float = 0.6) -> list[str]:
    """Return the fields, by FileMap attribute, and of `fields` the names, that are near that of a file.

    `cutoff` is that of `difflib`: 1 is for equal names.
    """
    attributes = dict.fromkeys([spec.filemap_attr for spec in FIELD_SPECS] + [spec.canonical for spec in fields])
    return difflib.get_close_matches(name.rpartition(".")[0].lower(), attributes, cutoff=cutoff)


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
