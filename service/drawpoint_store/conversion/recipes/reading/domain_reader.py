"""The fields of one domain of a sample, read as a recipe says."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.recipes.domain_recipe import POSITION
from drawpoint_store.conversion.recipes.file_reference import SAMPLE_ITSELF
from drawpoint_store.conversion.recipes.pattern import fill
from drawpoint_store.conversion.recipes.reading.array_choice import (
    ArrayChoice,
    ArrayMissing,
    choose_arrays,
    describe,
    find_array,
    list_arrays,
)
from drawpoint_store.conversion.recipes.reading.derived_values import (
    DIMS,
    LENGTH_POWERS,
    derive,
    derive_vorticity,
)
from drawpoint_store.conversion.recipes.reading.field_values import handedness, transform
from drawpoint_store.conversion.recipes.reading.position_pairs import PositionPairs
from drawpoint_store.conversion.recipes.reading.sample_row import component_axis, n_points_of, read_sample_row
from drawpoint_store.data_files.data_file import MeshFile
from drawpoint_store.data_files.surface_distance import DistanceMode, surface_distances, surface_triangles
from drawpoint_store.writing.layout import FIELD_SPECS

if TYPE_CHECKING:
    from drawpoint_store.conversion.recipes.domain_recipe import DomainRecipe
    from drawpoint_store.conversion.recipes.field_recipe import FieldRecipe
    from drawpoint_store.conversion.recipes.file_reference import FileReference
    from drawpoint_store.conversion.recipes.reading.open_sample import OpenSample
    from drawpoint_store.data_files.data_file import DataFile, Place

    Array = np.ndarray[Any, Any]

_KNOWN_DIMS = {spec.name: spec.dim for spec in FIELD_SPECS}


class DomainReader:
    """Reads the fields of a domain, one at a time; which rows are kept, and which go together, is found out once."""

    def __init__(self, domain: str, recipe: DomainRecipe, sample: OpenSample) -> None:
        self.domain = domain
        self.recipe = recipe
        self.sample = sample
        self._pairs: dict[FileReference, PositionPairs] = {}

    def dim(self, name: str) -> int:
        """Return the number of a field's components, known without its values; raises what `read` raises."""
        field = self.recipe.all_fields[name]
        if field.is_derived:
            assert field.derive is not None
            self._mesh_of(field)
            if field.derive == "vorticity":
                self._velocity(name, field)
            return DIMS[field.derive]
        _, chosen = self.choose(name, field)
        if field.index is None or chosen.components is not None:
            return chosen.dim
        return self._component_axis(name, field, chosen)[1]

    def read(self, name: str) -> Array:
        """Return one field of the rows that are kept, shape (n, dim).

        Raises InvalidSample, naming the file, for arrays that are not there or do not fit.
        """
        field = self.recipe.all_fields[name]
        values = self._transformed(name, field)
        kept = self._kept
        if field.join is not None:
            assert field.own_file is not None
            return self._pairs_with(field.own_file).take(values, kept, self._name_of(field))
        if len(values) != self.n_rows:
            raise InvalidSample(
                f"{self._name_of(field)} has {len(values):,} rows of {name}, and the {self.domain} has "
                f'{self.n_rows:,} {self.place}s; give a file with the same rows, or join = "position"'
            )
        return values if kept is None else values[kept]

    @property
    def _reference(self) -> FileReference:
        return self.recipe.own_file or SAMPLE_ITSELF

    @property
    def _file(self) -> DataFile:
        return self.sample.open(self._reference)

    @cached_property
    def place(self) -> Place:
        """What a point of the domain is: of several places, the first at which the file has all arrays it needs."""
        if not self.recipe.place:
            raise InvalidSample(
                f"the recipe does not say what a point of {self.domain} is: {self._file_name} has "
                f"{list_arrays(self._file.arrays)}; write place = {_places(self._file)} below [{self.domain}]"
            )
        places = self.recipe.place
        return places[0] if len(places) == 1 else next(filter(self._has_arrays_at, places), places[0])

    def _has_arrays_at(self, place: Place) -> bool:
        for name, field in self.recipe.all_fields.items():
            if field.reads_array and not (field.optional or field.place or field.own_file):
                try:
                    choose_arrays(self._file.arrays, self._file_name, place, field, _KNOWN_DIMS.get(name))
                except ArrayMissing:
                    return False
        return True

    @property
    def _file_name(self) -> str:
        return self.sample.files.found[self._reference].name

    def _name_of(self, field: FieldRecipe) -> str:
        return self.sample.files.found[field.own_file or self._reference].name

    def choose(self, name: str, field: FieldRecipe) -> tuple[DataFile, ArrayChoice]:
        """Return the file that holds a field, and its arrays there; a file without a mesh has rows alone."""
        file, place = self._file, field.place or self.place
        if field.own_file is not None:
            file = self.sample.open(field.own_file)
            place = place if isinstance(file, MeshFile) else "row"
        return file, choose_arrays(file.arrays, self._name_of(field), place, field, _KNOWN_DIMS.get(name))

    def _mesh_of(self, field: FieldRecipe) -> tuple[MeshFile, Place]:
        """Return the mesh that a field is derived from, and whether its points are those of the mesh or its cells."""
        file = self._file if field.own_file is None else self.sample.open(field.own_file)
        if field.derive == "distance" and not isinstance(file, MeshFile):
            raise InvalidSample(
                f"{self._name_of(field)} is no surface that a distance could be to; name a file of polygons, such as "
                "a .stl or .vtp"
            )
        if not isinstance(file, MeshFile):
            raise InvalidSample(
                f"{self._name_of(field)} has no mesh to derive {field.derive} from; there is: "
                f'{list_arrays(file.arrays)}; name an array, and for a file of rows place = "row"'
            )
        return file, field.place or self.place

    def _transformed(self, name: str, field: FieldRecipe) -> Array:
        """Return all rows of a field's file, as the recipe changes their values."""
        if field.is_derived:
            values, factor = self._derive(name, field), self.recipe.length_unit ** LENGTH_POWERS.get(field.derive, 0)
            if field.derive == "vorticity":
                factor *= handedness(self.recipe.axes)
        else:
            values = self._read_arrays(name, field, *self.choose(name, field))
            factor = self.recipe.length_unit if name == POSITION else 1.0
        return transform(values, field, self.recipe.axes, factor)

    def _derive(self, name: str, field: FieldRecipe) -> Array:
        mesh, place = self._mesh_of(field)
        try:
            if field.derive == "distance":
                return self._distances(field, mesh)
            if field.derive == "vorticity":
                velocity = self._read_arrays(name, field, *self._velocity(name, field))
                return derive_vorticity(mesh, place, velocity, field.mode)
            return derive(mesh, place, field, self.recipe.centre)
        except InvalidSample as error:  # geometry knows cells, not files
            file = self._name_of(field)
            raise error if file in str(error) else InvalidSample(f"{file}: {error}") from error

    def _velocity(self, name: str, field: FieldRecipe) -> tuple[DataFile, ArrayChoice]:
        file, chosen = self.choose(name, field)
        if chosen.dim != DIMS["vorticity"]:
            raise InvalidSample(
                f"{self._name_of(field)} has {describe(chosen.arrays[0])}, and vorticity is derived from the 3 "
                f"components of a velocity; there is: {list_arrays(file.arrays)}"
            )
        return file, chosen

    def _distances(self, field: FieldRecipe, surface: MeshFile) -> Array:
        """Return distances in the store's unit: positions and surface are brought to it in the same way."""
        position, mode = self.recipe.all_fields[POSITION], cast("DistanceMode", field.mode or "unsigned")
        vertices, triangles = surface_triangles(surface)
        vertices = transform(vertices, position, self.recipe.axes, self.recipe.length_unit)
        return surface_distances(self._transformed(POSITION, position), vertices, triangles, mode)[:, None]

    def _read_arrays(self, name: str, field: FieldRecipe, file: DataFile, chosen: ArrayChoice) -> Array:
        if field.index is not None:
            index = fill(str(field.index), self.sample.files.captures)
            axis, _ = self._component_axis(name, field, chosen)
            return read_sample_row(file, chosen, index, axis, self._name_of(field))
        if len(chosen.arrays) == 1:
            values = file.read(chosen.arrays[0])
            return values if chosen.components is None else values[:, chosen.components]
        dtype = np.result_type(*(array.dtype for array in chosen.arrays))
        values = np.empty((chosen.arrays[0].n_rows, len(chosen.arrays)), dtype)
        for component, array in enumerate(chosen.arrays):
            if array.n_rows != len(values):
                raise InvalidSample(f"{self._name_of(field)} has arrays of different lengths: {describe(array)}")
            values[:, component] = file.read(array)[:, 0]
        return values

    def _component_axis(self, name: str, field: FieldRecipe, chosen: ArrayChoice) -> tuple[int | None, int]:
        """Return which axis of a sample's row of an array holds the components of a field, and their number."""
        dim = None if chosen.components else _KNOWN_DIMS.get(name)
        n_points = None if name == POSITION else self.n_rows
        return component_axis(chosen.arrays[0], self._name_of(field), dim=dim, n_points=n_points)

    @cached_property
    def n_rows(self) -> int:
        """The number of rows of the domain before any is left out."""
        position = self.recipe.all_fields[POSITION]
        if position.is_derived:
            mesh, place = self._mesh_of(position)
            return mesh.n_cells if place == "cell" else mesh.n_points
        _, chosen = self.choose(POSITION, position)
        if position.index is None:
            return chosen.arrays[0].n_rows
        return n_points_of(chosen.arrays[0], self._component_axis(POSITION, position, chosen)[0])

    @cached_property
    def _kept(self) -> Array | None:
        """The rows that mask and crop keep, as bool; None for all."""
        kept: Array | None = None
        for condition in self.recipe.mask:
            array = find_array(self._file.arrays, self._file_name, self.place, condition.array)
            if array.components > 1 and (condition.component is None or condition.component >= array.components):
                raise InvalidSample(
                    f"the mask needs a component in 0..{array.components - 1} of {describe(array)} of {self._file_name}"
                )
            holds = condition.holds(self._file.read(array)[:, condition.component or 0])
            kept = holds if kept is None else kept & holds
        if self.recipe.crop:
            positions = self._transformed(POSITION, self.recipe.all_fields[POSITION])
            kept = np.ones(len(positions), bool) if kept is None else kept
            for axis, (low, high) in self.recipe.crop.items():
                values = positions[:, "xyz".index(axis)]
                kept &= (values >= low) & (values <= high)
        if kept is not None and not kept.any():
            raise InvalidSample(f"mask and crop of {self.domain} leave none of {len(kept):,} rows of {self._file_name}")
        return None if kept is None or kept.all() else kept

    def _pairs_with(self, reference: FileReference) -> PositionPairs:
        """Return which rows of another file are at the positions of the domain's, in the files' own axes and unit."""
        if reference not in self._pairs:
            own = self.recipe.all_fields[POSITION].own_file or self._reference
            here, there = (self._raw_positions(each) for each in (own, reference))
            self._pairs[reference] = PositionPairs.find(here, there)
        return self._pairs[reference]

    def _raw_positions(self, reference: FileReference) -> Array:
        file, position = self.sample.open(reference), self.recipe.all_fields[POSITION]
        name = self.sample.files.found[reference].name
        if position.is_derived:
            if not isinstance(file, MeshFile):
                raise InvalidSample(f"{name} has no mesh, and so no positions to join by")
            return derive(file, self.place, position, self.recipe.centre)
        place = self.place if isinstance(file, MeshFile) else "row"
        return self._read_arrays(POSITION, position, file, choose_arrays(file.arrays, name, place, position, 3))


def _places(file: DataFile) -> str:
    return '"cell" or "point"' if isinstance(file, MeshFile) else '"row"'
