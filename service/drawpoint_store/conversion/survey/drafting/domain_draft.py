"""The domains that a first recipe has: what is known of them, and what a person has to decide."""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drawpoint_store.conversion.recipes.domain_recipe import POSITION
from drawpoint_store.conversion.recipes.reading.array_choice import MAX_COMPONENTS
from drawpoint_store.conversion.survey.drafting.field_name import (
    domain_name,
    field_name,
    is_centre,
    is_mean,
    is_position,
    position_axes,
    snake,
)
from drawpoint_store.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drawpoint_store.conversion.survey.array_survey import ArraySurvey, FileSurvey
    from drawpoint_store.data_files.data_file import Place

_LARGE, _SMALL = 2e4, 1e-3
"""Values beyond these are stored as float32: float16 ends at 65504, and is coarse below 6e-5."""

_SURFACE, _VOLUME = 2, 3
_VECTOR = 3
_STL, _OPENFOAM = ".stl", ".foam"


@dataclass
class FieldDraft:
    """A field: its array, the file where that is not the domain's, and what else its line says."""

    name: str
    array: str | None
    file: str | None = None
    components: tuple[str, ...] = ()
    dtype: str | None = None
    optional: bool = False
    comment: str = ""

    def line(self) -> str:
        """Return the line of a recipe."""
        parts = {
            "array": self.array,
            "components": list(self.components) or None,
            "file": self.file,
            "dtype": self.dtype,
            "optional": self.optional or None,
        }
        given = {key: toml(value) for key, value in parts.items() if value is not None}
        value = (
            given["array"]
            if given.keys() == {"array"}
            else f"{{ {', '.join(f'{k} = {v}' for k, v in given.items())} }}"
        )
        return f"{self.name} = {value}" + (f"  # {printable(self.comment)}" if self.comment else "")


@dataclass
class DomainDraft:
    """A domain: its file, its place where that is clear, its fields, and remarks, each a line of comment."""

    name: str
    file: str
    place: Place | None
    fields: list[FieldDraft] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    places: str = ""

    def lines(self) -> Iterator[str]:
        """Yield the lines of a recipe."""
        yield f"[{self.name}]"
        if self.file:
            yield f"file = {toml(self.file)}"
        if self.place is not None:
            yield f"place = {toml(self.place)}"
        else:
            yield f'# place = "cell"  # or "point": {printable(self.places)}. Choose one: it is never guessed.'
        yield ""
        yield f"[{self.name}.fields]"
        yield from (draft.line() for draft in self.fields)
        yield from (f"# {printable(remark)}" for remark in self.remarks)


def toml(value: str | bool | Sequence[str]) -> str:
    """Return a value as TOML writes it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def draft_meshes(files: Sequence[FileSurvey]) -> list[DomainDraft]:
    """Return a domain for each kind of mesh file: the only surface and the only volume are called so.

    Triangles of an STL file are a domain only where there is no other mesh.
    """
    meshes = [each for each in files if each.is_mesh and each.n_points]
    meshes = [each for each in meshes if each.kind != _STL] or meshes
    dimensions = [each.cells for each in meshes]
    drafts: list[DomainDraft] = []
    for each in meshes:
        taken = {draft.name for draft in drafts}
        alone = dimensions.count(each.cells) == 1
        known = {_SURFACE: "surface", _VOLUME: "volume"}.get(each.cells) if alone else None
        drafts.append(_draft_mesh(each, known if known and known not in taken else domain_name(each.label, taken)))
    return drafts


def _draft_mesh(file: FileSurvey, name: str) -> DomainDraft:
    usable = [array for array in file.arrays if is_field(array) and not _is_rare(array, file)]
    places: list[Place] = [place for place in ("cell", "point") if any(array.place == place for array in usable)]
    place: Place | None = places[0] if len(places) == 1 else None
    if not any(file.n_cells.values()):
        place = "point"
    draft = DomainDraft(name, file.pattern, place, places=_both_places(usable))
    centres = [each for each in usable if each.place == "cell" and each.components == _VECTOR and is_centre(each.name)]
    shown: dict[str, list[ArraySurvey]] = {}
    for array in usable:
        if array not in centres:
            shown.setdefault(array.name, []).append(array)
    taken = {POSITION}
    for found in sorted(shown.values(), key=lambda found: not is_mean(found[0].name)):
        array = found[0]
        line = _draft_field(array, field_name(array.name, array.components, name, taken))
        if place is None:
            line.optional = len(found) < len(places)
            line.comment = f"{' and '.join(sorted(each.place for each in found))}: {line.comment}"
        taken.add(line.name)
        draft.fields.append(line)
    order = list(shown)
    draft.fields.sort(key=lambda each: order.index(str(each.array)))
    draft.remarks += [
        f"position = {toml(array.name)}  # in place of what the cells' points give; it seems to be their centres"
        for array in centres
    ]
    draft.remarks += [_left_out(array, file) for array in file.arrays if array not in usable]
    if file.kind == _OPENFOAM:
        draft.remarks.append(f'a domain with file = {toml(file.pattern)} and member = "body*" has the faces of patches')
    draft.remarks += _derivable(file, draft, taken)
    return draft


def _derivable(file: FileSurvey, draft: DomainDraft, taken: set[str]) -> Iterator[str]:
    """Yield what the mesh gives that the file has no arrays of."""
    velocity = next((each.array for each in draft.fields if each.name == "velocity"), None)
    if file.cells == _VOLUME and draft.place and velocity and "vorticity" not in taken:
        yield f'vorticity = {{ derive = "vorticity", from = {toml(velocity)}, dtype = "float32" }}'
    if file.cells == _SURFACE and draft.place != "point":
        missing = [each for each in ("normals", "area") if each not in taken]
        yield from (f'{each} = {{ derive = "{each}", dtype = "float32" }}' for each in missing)
        if "normals" in missing:
            yield '(mode = "flip" where the polygons turn into the body, "orient" where they turn anyhow)'


def draft_rows(files: Sequence[FileSurvey], sample: str) -> tuple[list[DomainDraft], list[str]]:
    """Return the domains of arrays without a mesh, and remarks on those that belong to none.

    Arrays of as many rows, in one file or group of a file, or in files of one array each, make a domain, if one of them
    is named like positions. `sample` is the pattern of the samples, where these are files.
    """
    together: dict[tuple[str, str, int], list[tuple[FileSurvey, ArraySurvey]]] = {}
    remarks = []
    for file in files:
        for array in file.arrays:
            if not is_field(array) or _is_rare(array, file):
                remarks.append(f"{file.name}: {_left_out(array, file)}")
                continue
            label = _label(file, array)
            container = "" if len(file.arrays) == 1 else f"{file.pattern}:{posixpath.dirname(array.name)}"
            prefix = next((each for each in ("surface", "volume") if snake(label).startswith(each)), "")
            together.setdefault((container, prefix, next(iter(array.rows.values()))), []).append((file, array))
    drafts: list[DomainDraft] = []
    for (container, prefix, n_rows), held in together.items():
        taken = {draft.name for draft in drafts}
        group = posixpath.basename(container.partition(":")[2])
        name = domain_name(prefix or group or (held[0][0].label if container else ""), taken)
        draft = _draft_table(name, held, sample)
        if draft is None:
            shown = ", ".join(_label(file, array) for file, array in held)
            remarks.append(
                f"left out: {shown} ({n_rows:,} rows), of which none is named like positions (x, y, z, points)"
            )
        else:
            drafts.append(draft)
    return drafts, remarks


def _draft_table(name: str, held: Sequence[tuple[FileSurvey, ArraySurvey]], sample: str) -> DomainDraft | None:
    """Return the domain of arrays of as many rows, None where none of them is named like positions."""
    vectors = [(f, a) for f, a in held if a.components == _VECTOR and is_position(_label(f, a))]
    scalars = {snake(posixpath.basename(_label(f, a))): a.name for f, a in held if a.components == 1 and a.name}
    axes = position_axes(scalars)
    if vectors:
        file, own = vectors[0]
        position = FieldDraft(POSITION, own.name or None, comment=describe_values(own))
        used = [own]
    elif axes is not None:
        used = [array for _, array in held if array.name in axes]
        file = next(file for file, array in held if array is used[0])
        position = FieldDraft(POSITION, None, components=axes)
    else:
        return None
    if position.array is None and not axes:  # the only array of its file
        position.file = file.pattern or f"/{sample}"
    draft = DomainDraft(name, file.pattern, "row", [position])
    taken = {POSITION}
    for other, array in held:
        if not any(array is each for each in used):
            line = _draft_field(array, field_name(_label(other, array), array.components, name, taken))
            line.file = None if other is file and line.array else other.pattern or f"/{sample}"
            taken.add(line.name)
            draft.fields.append(line)
    if len(vectors) > 1:
        draft.remarks.append(f"{' and '.join(_label(f, a) for f, a in vectors)} are all named like positions")
    return draft


def _draft_field(array: ArraySurvey, name: str) -> FieldDraft:
    largest = max(abs(array.low or 0.0), abs(array.high or 0.0))
    is_fine = array.low is None or largest == 0 or _SMALL <= largest <= _LARGE
    return FieldDraft(name, array.name or None, dtype=None if is_fine else "float32", comment=describe_values(array))


def describe_values(array: ArraySurvey) -> str:
    """Return what an array's values are: `float32 x 3, -1.2 to 40.5`."""
    text = array.dtype + (f" x {array.components}" if array.components > 1 else "")
    if array.low is not None:
        text += f", {array.low:.4g} to {array.high:.4g}" if array.low != array.high else f", all {array.low:.4g}"
    return text + (f", with {array.nan:,} NaN or infinite, which no store holds: see mask" if array.nan else "")


def is_field(array: ArraySurvey) -> bool:
    """Tell whether a first recipe makes a field of an array: real numbers in no more components than a store has."""
    return array.is_number and array.components <= MAX_COMPONENTS and not array.problem


def _is_rare(array: ArraySurvey, file: FileSurvey) -> bool:
    """Tell whether some of the samples that were looked at lack an array, so that a field of it would break them."""
    return len(array.rows) < file.n_opened


def _left_out(array: ArraySurvey, file: FileSurvey) -> str:
    if is_field(array):
        why = f"in {len(array.rows)} of the {file.n_opened} samples looked into; those without it would be broken"
    elif array.shape:
        why = f"of the shape {array.shape}, so of several samples or a grid: see index"
    elif not array.dtype.startswith("float"):
        why = f"{array.dtype}, whole numbers, as of ids"
    else:
        why = array.problem or f"{array.components} components, and a field has at most {MAX_COMPONENTS}"
    return f"left out: {array.place} array {toml(array.name)}, {why}"


def _both_places(usable: Sequence[ArraySurvey]) -> str:
    names = {place: [array.name for array in usable if array.place == place] for place in ("cell", "point")}
    if not any(names.values()):
        return "there are no arrays"
    return "; ".join(f"{place} arrays {', '.join(found)}" for place, found in names.items() if found)


def _label(file: FileSurvey, array: ArraySurvey) -> str:
    return array.name or file.label
