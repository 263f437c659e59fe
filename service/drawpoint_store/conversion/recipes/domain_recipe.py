"""Where the points of a domain come from, and which fields they have."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from drawpoint_store.conversion.recipes.field_recipe import FieldRecipe
from drawpoint_store.conversion.recipes.file_reference import FileNames, FileReference
from drawpoint_store.conversion.recipes.recipe_model import RecipeModel
from drawpoint_store.conversion.recipes.row_condition import RowConditions
from drawpoint_store.data_files.data_file import Place

POSITION = "position"
METRES = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "um": 1e-6, "in": 0.0254, "inch": 0.0254, "ft": 0.3048}
"""Metres in each unit of length; inch and foot as agreed in 1959 (https://doi.org/10.6028/NIST.SP.811e2008, B.6)."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")

Axis = Literal["x", "y", "z", "-x", "-y", "-z"]


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:60]!r} is no name of a domain or field; take lower-case letters, digits and _")
    return name


def _check_axes(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    if len({axis[-1] for axis in axes}) < len(axes):
        raise ValueError(f"it must name x, y and z once each, not {', '.join(axes)}")
    return axes


def _metres(unit: Any) -> Any:
    if isinstance(unit, str):
        if unit not in METRES:
            raise ValueError(f"{unit[:40]!r} is no unit of length; give one of {', '.join(METRES)}, or metres a unit")
        return METRES[unit]
    return unit


def _check_range(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"a range begins with its lower end, not {bounds[0]:g}, {bounds[1]:g}")
    return bounds


def _places(value: Any) -> Any:
    listed = [value] if isinstance(value, str) else value
    if isinstance(listed, list | tuple):
        for each in listed:
            if each not in get_args(Place):
                raise ValueError(f"it must be 'cell', 'point' or 'row', not {each!r:.40}")
        if len(listed) > 1 and (len(set(listed)) < len(listed) or "row" in listed):
            raise ValueError('a list of places is ["cell", "point"] or ["point", "cell"]')
    return listed


def _field(value: Any) -> Any:
    return {"array": value} if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_check_name)]
"""What a domain and a field may be called: a store's arrays and a service's parameters have these names."""

Range = Annotated[tuple[float, float], AfterValidator(_check_range)]
FieldOfRecipe = Annotated[FieldRecipe, BeforeValidator(_field)]


class DomainRecipe(RecipeModel):
    """A domain: its file, whether its points are cells, mesh points or rows, and its fields by name.

    Of several places that one counts at which the file has all arrays that are not optional: the first such.
    `axes` are the file's axes that become x, y and z; `length_unit` is the file's unit of length in metres. `mask` and
    `crop` leave out rows; `crop` is the range of each axis that is kept, ends included, in the store's axes and unit.
    `centre` is what the position of a cell is: the mean of its vertices, or its centroid.
    """

    kind: ClassVar[str] = "a domain"

    file: FileNames | None = None
    member: str | None = None
    place: Annotated[tuple[Place, ...], BeforeValidator(_places)] = ()
    axes: Annotated[tuple[Axis, Axis, Axis], AfterValidator(_check_axes)] | None = None
    length_unit: Annotated[float, BeforeValidator(_metres), Field(gt=0)] = 1.0
    mask: RowConditions = ()
    crop: dict[Literal["x", "y", "z"], Range] = Field(default_factory=dict)
    centre: Literal["mean", "centroid"] = "mean"
    fields: dict[Name, FieldOfRecipe] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.member is not None and self.file is None:
            raise ValueError("member is of an archive or an OpenFOAM case; name that with file")
        derived = [name for name, field in self.fields.items() if field.needs_mesh and field.place in (None, "row")]
        if "row" in self.place and POSITION not in self.fields:
            raise ValueError(
                'rows have no mesh, so that their position has to be named, such as position = "points" or position = '
                '{ components = ["x", "y", "z"] } below fields'
            )
        if "row" in self.place and derived:
            raise ValueError(f"rows have no mesh to derive {derived[0]} from; name an array")
        return self

    @property
    def own_file(self) -> FileReference | None:
        """The file that the points come from; None for the file that is the sample itself."""
        return None if self.file is None else FileReference(self.file, self.member)

    @property
    def all_fields(self) -> dict[str, FieldRecipe]:
        """The fields by name, position first: that of the mesh where none is named."""
        return {POSITION: self.fields.get(POSITION, FieldRecipe(derive="centre")), **self.fields}
