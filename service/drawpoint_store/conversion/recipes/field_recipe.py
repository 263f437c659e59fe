"""Where one field of a domain comes from, and what is done to its values."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from drawpoint.format.manifest import DtypeName
from drawpoint_store.conversion.recipes.file_reference import FileNames, FileReference
from drawpoint_store.conversion.recipes.pattern import Pattern
from drawpoint_store.conversion.recipes.recipe_model import RecipeModel
from drawpoint_store.data_files.data_file import Place

Derivation = Literal["normals", "area", "volume", "centre", "vorticity", "distance"]
_MODES = {
    "normals": ("shipped", "flip", "orient"),
    "centre": ("mean", "centroid"),
    "vorticity": ("least-squares", "gauss"),
    "distance": ("unsigned", "signed"),
}
_SHIPPED_NORMALS = "Normals"
"""What VTK's filters call the normals that they write."""


def _tuple_of(value: Any) -> Any:
    return (value,) if isinstance(value, int | float | str) and not isinstance(value, bool) else value


Numbers = Annotated[tuple[float, ...], BeforeValidator(_tuple_of), Field(min_length=1)]
"""A number for all components, or one for each."""


class FieldRecipe(RecipeModel):
    """One field: an array or something derived from the mesh, then `scale * values + offset`.

    `array` names an array at the domain's `place`; without it that is the active one, or the only one. `components`
    are the names of arrays that make up a vector (with `array`, that one is taken where a file has not all of them), or
    numbers of the array's components, from 0. `file` is another file than the domain's: row by row, or with
    `join = "position"` by the positions of both. `index` takes a row of an array that holds all samples. `derive` makes
    the field of the mesh (of the file `from`, if given): `mode` says how, and for `mode = "shipped"` `from` names the
    array. Vorticity is derived from the velocity: `from` names its array, or `components` those of its components, of
    the domain's file or of `file`. `from` of a distance is the file of the surface. An `optional` field is left out
    where the data set has none.
    """

    kind: ClassVar[str] = "a field"

    array: str | None = None
    components: tuple[str, ...] | tuple[Annotated[int, Field(ge=0)], ...] | None = Field(default=None, min_length=1)
    scale: Numbers = (1.0,)
    offset: Numbers = (0.0,)
    units: str | None = None
    description: str | None = None
    dtype: DtypeName | None = None
    file: FileNames | None = None
    member: str | None = None
    place: Place | None = None
    join: Literal["position"] | None = None
    index: str | Annotated[int, Field(ge=0)] | None = None
    optional: bool = False
    derive: Derivation | None = None
    mode: str | None = None
    origin: str | None = Field(default=None, alias="from")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.derive is None:
            self._check_array()
        else:
            self._check_derived(self.derive)
        if self.member is not None and self.file is None:
            raise ValueError("member is of a file of the field's own; name that with file, or give the domain a member")
        return self

    def _check_array(self) -> None:
        for key, value in (("mode", self.mode), ("from", self.origin)):
            if value is not None:
                raise ValueError(f"{key} says how a field is derived; say what with derive")
        if self.join is not None and self.file is None:
            raise ValueError('join = "position" is with another file; name that with file')
        if self.join is not None and self.index is not None:
            raise ValueError("a row of an array that holds all samples cannot be joined by position")

    def _check_derived(self, derive: str) -> None:
        allowed: tuple[str, ...] = ("components", "file") if derive == "vorticity" else ()
        named = [key for key in ("array", "components", "file", "join", "index") if key not in allowed]
        if derive == "distance":
            named.append("place")
        given = [key for key in named if getattr(self, key) is not None]
        if given and derive == "vorticity":
            raise ValueError(f"vorticity has no {given[0]}; name the array of the velocity with from")
        if given:
            raise ValueError(f"a field that is derived has no {given[0]}; what it is derived from is named by from")
        if derive == "vorticity" and self.origin is None and not self._names_components:
            raise ValueError('vorticity is derived from a velocity; name its array, such as from = "U", or components')
        if derive == "vorticity" and self.origin is not None and self._names_components:
            raise ValueError("components by name are the velocity already; leave out from")
        if derive == "distance" and self.origin is None:
            raise ValueError('a distance is that to a surface; name its file, such as from = "body.stl"')
        if derive != "vorticity" and self.mode != "shipped" and self.origin is not None:
            Pattern(self.origin)
        modes = _MODES.get(derive, ())
        if self.mode is not None and self.mode not in modes:
            known = " or ".join(repr(mode) for mode in modes) or "left out"
            raise ValueError(f"mode of derive = {derive!r} is {known}, not {self.mode!r:.40}")

    @property
    def own_file(self) -> FileReference | None:
        """The file that the field comes from instead of the domain's."""
        if self.file is not None:
            return FileReference(self.file, self.member)
        if self.is_derived and self.derive != "vorticity" and self.origin is not None:
            return FileReference((self.origin,))
        return None

    @property
    def array_name(self) -> str | None:
        """The array that holds the field, None for the active one."""
        if self.mode == "shipped":
            return self.origin or _SHIPPED_NORMALS
        return self.origin if self.derive == "vorticity" else self.array

    @property
    def is_derived(self) -> bool:
        """Whether the field is made of the mesh, and is no array of the file."""
        return self.derive is not None and self.mode != "shipped"

    @property
    def needs_mesh(self) -> bool:
        """Whether it is derived from the mesh that the domain's points are of, which rows have not."""
        return self.is_derived and self.derive != "distance"

    @property
    def reads_array(self) -> bool:
        """Whether it takes the values of arrays, as they are or to derive others of them."""
        return not self.is_derived or self.derive == "vorticity"

    @property
    def _names_components(self) -> bool:
        return any(isinstance(each, str) for each in self.components or ())
