"""Data sets that a recipe describes: meshes, arrays and tables in files of other programs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.recipes.domain_recipe import POSITION
from drawpoint_store.conversion.recipes.id_list import ALL_LISTS, IdFile, select
from drawpoint_store.conversion.recipes.reading.array_choice import ArrayMissing
from drawpoint_store.conversion.recipes.reading.domain_reader import DomainReader
from drawpoint_store.conversion.recipes.reading.listed_ids import read_all_lists, read_ids
from drawpoint_store.conversion.recipes.reading.open_sample import OpenSample
from drawpoint_store.conversion.recipes.reading.sample_files import SampleFiles, SampleFinder
from drawpoint_store.conversion.recipes.reading.sample_scalars import read_scalars
from drawpoint_store.conversion.recipes.reading.scalar_files import ScalarFiles
from drawpoint_store.conversion.recipes.reading.wanted_files import wanted_files
from drawpoint_store.conversion.scratch.sample_copy import SampleCopy, named_by_source
from drawpoint_store.conversion.scratch.scratch import Scratch
from drawpoint_store.conversion.sources.file_tree import FileTree
from drawpoint_store.storage import LocalStorage
from drawpoint_store.wording import first_few, printable
from drawpoint_store.writing.layout import CANONICAL_TO_SPEC, FieldSpec, FileMap

if TYPE_CHECKING:
    import os

    import numpy as np

    from drawpoint_store.conversion.recipes.field_recipe import FieldRecipe
    from drawpoint_store.conversion.recipes.recipe import Recipe
    from drawpoint_store.conversion.sources.source import SourceFile
    from drawpoint_store.data_files.data_file import Place

_TRIED = 8
"""How many samples are looked at for one that has all arrays, before the recipe is taken to be wrong."""


@dataclass(frozen=True)
class RecipeSource:
    """The samples that a recipe finds in a tree of files; a `Source`.

    Of a tree that lies elsewhere, the sample that a thread reads is in `scratch`, from when it is opened until the
    thread closes it or opens another. Raises for each sample what `Scratch.hold` raises.
    """

    tree: FileTree
    recipe: Recipe
    scratch: Scratch = field(default_factory=Scratch, compare=False)

    @classmethod
    def scan(cls, location: str | os.PathLike[str], recipe: Recipe, scratch: Scratch | None = None) -> Self:
        """List the files below `location`; raises what FileTree.scan raises."""
        return cls(FileTree.scan(location), recipe, scratch or Scratch())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_opened", "_scalar_files")}

    @property
    def location(self) -> str:
        return self.tree.storage.root

    @property
    def settings(self) -> dict[str, Any]:
        # What is checked afterwards decides no value.
        return {"recipe": self.recipe.model_dump(mode="json", by_alias=True, exclude={"checks"})}

    @property
    def sample_ids(self) -> list[str]:
        if not self._found:
            raise InvalidSample(
                f"there is no sample in {self.location}: the recipe {self.recipe.name} looks for "
                f"{' or '.join(self.recipe.sample)}; give the folder that holds these as SOURCE."
            )
        if not self._samples:
            raise InvalidSample(f"exclude of the recipe {self.recipe.name} leaves out all samples of {self.location}.")
        return [sample_id for sample_id in self._samples if sample_id not in self.broken]

    @cached_property
    def broken(self) -> dict[str, str]:
        reasons = {}
        for sample_id, found in self._samples.items():
            if len(found) > 1:
                paths = first_few([printable(each.path) for each in found])
                reasons[sample_id] = f"is the id of {len(found)} samples ({paths}); tell them apart with id or sample"
            elif found[0].problem:
                reasons[sample_id] = found[0].problem
        return reasons

    @property
    def unmapped_files(self) -> dict[str, int]:
        return {}

    @property
    def specs(self) -> list[FieldSpec]:
        """The fields as the first sample has them that has all arrays: those of file maps in their order, then others.

        Raises InvalidSample where none of the first samples has all arrays, with what the first one lacks.
        """
        return self._of_first_sample[0]

    @cached_property
    def _of_first_sample(self) -> tuple[list[FieldSpec], dict[str, Place]]:
        """The fields, and of each domain that may have several places, that which it has."""
        first_error: InvalidSample | None = None
        for sample_id in self.sample_ids[:_TRIED]:
            self._opened.is_looking = True  # at the names and shapes of arrays
            try:
                domains = self.domains(sample_id)
                several = [name for name, domain in self.recipe.domains.items() if len(domain.place) > 1]
                return self._specs_of(sample_id), {name: domains[name].place for name in several}
            except InvalidSample as error:
                if first_error is None:
                    first_error = InvalidSample(f"sample {sample_id!r}: {error}", sample=sample_id)
            finally:
                self._opened.is_looking = False
                self.close(keep=True)  # another process may read the samples
        if first_error is not None:
            raise first_error
        sample_id, reason = next(iter(self.broken.items()))
        raise InvalidSample(
            f"no sample of {self.location} is complete: {sample_id} {reason}. Compare its files with the recipe "
            f"{self.recipe.name}."
        )

    @property
    def writer_settings(self) -> dict[str, Any]:
        """The arguments of ZarrStoreWriter that the recipe decides: fields, their dtypes and the data set's name."""
        dtypes = {spec.canonical: self._field(spec).dtype for spec in self.specs}
        return {
            "filemap": FileMap(),
            "fields": self.specs,
            "field_dtypes": {field: dtype for field, dtype in dtypes.items() if dtype is not None},
            "dataset_name": self.recipe.name,
        }

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        lists: dict[str, list[str | int]] = {}
        for name, listed in self.recipe.splits.items():
            if name == ALL_LISTS and isinstance(listed, IdFile):
                lists = read_all_lists(self.tree, listed) | lists
            elif (ids := read_ids(self.tree, listed)) is not None:
                lists[name] = ids
        selected = {name: select(ids, self._captures) for name, ids in lists.items()}
        return {name: [*found, *others] for name, (found, others) in selected.items()}

    def only(self, sample_id: str) -> RecipeSource:
        narrowed = RecipeSource(FileTree(self.tree.storage.absolute(), {}), self.recipe, self.scratch)
        found = {sample_id: self._samples[sample_id]}
        # What this source knows of all samples, in the place of what the other one would look for.
        narrowed.__dict__.update(_found=found, _samples=found, _of_first_sample=self._of_first_sample, splits={})
        return narrowed

    def files(self, sample_id: str) -> list[SourceFile]:
        return self._samples[sample_id][0].files

    def fields(self, sample_id: str) -> list[str]:
        known = sample_id in self._samples and sample_id not in self.broken
        return [spec.canonical for spec in self.specs] if known else []

    def scalars(self, sample_id: str) -> dict[str, float]:
        if sample_id not in self._samples or sample_id in self.broken:
            return {}
        folder = self._hold(sample_id) if any(each.file for each in self.recipe.scalars.values()) else None
        files = self._scalar_files.of(folder if isinstance(folder, SampleCopy) else None)
        return read_scalars(self.recipe.scalars, self._samples[sample_id][0], files)

    def where(self, field: str) -> str:
        spec = self._spec(field)
        recipe, domain = self._field(spec), self.recipe.domains[spec.domain]
        file = recipe.own_file or domain.own_file or " or ".join(self.recipe.sample)
        if recipe.derive == "distance":
            return f"distance to {file}"
        if recipe.derive == "vorticity":
            velocity = recipe.array_name or ", ".join(map(str, recipe.components or ()))
            return f"vorticity of {velocity} of {file}"
        if recipe.is_derived:
            return f"{'the mesh' if spec.name == POSITION else recipe.derive} of {file}"
        named = recipe.array_name or ", ".join(map(str, recipe.components or ())) or "the active array"
        return f"{named} of {file}"

    def read(self, sample_id: str, field: str) -> np.ndarray[Any, Any]:
        spec = self._spec(field)
        reader = self.domains(sample_id)[spec.domain]
        place = self._of_first_sample[1].get(spec.domain)
        if place is not None and reader.place != place:
            raise InvalidSample(
                f"the arrays of {spec.domain} are of {reader.place}s, and of {place}s in the first sample"
            )
        with named_by_source(self._hold(sample_id), self.location):
            values = reader.read(spec.name)
        if values.shape[1] != spec.dim:
            raise InvalidSample(
                f"{self.where(field)} ({field}) has {values.shape[1]} components, and {spec.dim} in the first sample"
            )
        return values

    def close(self, *, keep: bool = False) -> None:
        """Close the files that this thread has open; with `keep` a copy of them stays while there is room."""
        opened, held = getattr(self._opened, "sample", None), getattr(self._opened, "held", None)
        self._opened.sample = self._opened.held = None
        if opened is not None:
            opened[1].close()
        if held is not None:
            self.scratch.release(held[0], keep=keep)

    @property
    def is_remote(self) -> bool:
        """Whether samples are copied to the scratch before they are read."""
        return self.tree.storage.is_remote

    def fetch(self, sample_id: str, stop: threading.Event | None = None, *, lazily: bool = False) -> SampleCopy:
        """Return a copy of a sample that lies elsewhere, which `scratch` has to release; raises what `hold` raises."""
        wanted = wanted_files(self.recipe, self._samples[sample_id][0])
        return self.scratch.hold(sample_id, self.tree.storage, wanted, stop, lazily=lazily)

    def use(self, sample_id: str, copy: SampleCopy) -> None:
        """Have this thread read a sample from a copy that another process holds, until it closes or opens another."""
        self.close()
        self._opened.held = (sample_id, copy)

    def _hold(self, sample_id: str) -> LocalStorage | SampleCopy:
        """Return where a sample's files lie on this machine, now at the latest."""
        if isinstance(self.tree.storage, LocalStorage):
            return self.tree.storage
        held: tuple[str, SampleCopy] | None = getattr(self._opened, "held", None)
        if held is None or held[0] != sample_id:
            self.close()
            lazily = getattr(self._opened, "is_looking", False)
            held = self._opened.held = (sample_id, self.fetch(sample_id, lazily=lazily))
        return held[1]

    def _specs_of(self, sample_id: str) -> list[FieldSpec]:
        specs = []
        for domain, reader in self.domains(sample_id).items():
            for name, recipe in self.recipe.domains[domain].all_fields.items():
                try:
                    with named_by_source(self._hold(sample_id), self.location):
                        dim = reader.dim(name)
                except ArrayMissing:
                    if recipe.optional:
                        continue
                    raise
                known = CANONICAL_TO_SPEC.get(f"{domain}_{name}")
                specs.append(
                    FieldSpec(
                        known.filemap_attr if known else f"{domain}_{name}",
                        domain,
                        name,
                        dim,
                        "coord" if name == POSITION else "value",
                        units=recipe.units,
                        description=recipe.description,
                    )
                )
        order = list(CANONICAL_TO_SPEC)  # that of stores of file maps, then the recipe's
        return sorted(specs, key=lambda spec: order.index(spec.canonical) if spec.canonical in order else len(order))

    def domains(self, sample_id: str) -> dict[str, DomainReader]:
        """Return the readers of a sample's domains; its files stay open until this thread reads another sample."""
        opened: tuple[str, OpenSample, dict[str, DomainReader]] | None = getattr(self._opened, "sample", None)
        if opened is not None and opened[0] == sample_id and opened[1].is_current:
            return opened[2]
        if opened is not None:
            opened[1].close()
            self._opened.sample = None
        sample = OpenSample(self._hold(sample_id), self._samples[sample_id][0])
        domains = {name: DomainReader(name, domain, sample) for name, domain in self.recipe.domains.items()}
        self._opened.sample = (sample_id, sample, domains)
        return domains

    def _spec(self, field: str) -> FieldSpec:
        return next(spec for spec in self.specs if spec.canonical == field)

    def _field(self, spec: FieldSpec) -> FieldRecipe:
        return self.recipe.domains[spec.domain].all_fields[spec.name]

    @cached_property
    def _opened(self) -> threading.local:
        """The sample that each thread has open; not pickled."""
        return threading.local()

    @cached_property
    def _scalar_files(self) -> ScalarFiles:
        """The tables that many samples share are parsed once in each process; not pickled."""
        return ScalarFiles(self.tree.storage)

    @cached_property
    def _samples(self) -> dict[str, list[SampleFiles]]:
        captures = {sample_id: samples[0].captures for sample_id, samples in self._found.items()}
        excluded = set(select(read_ids(self.tree, self.recipe.exclude) or (), captures)[0])
        return {sample_id: samples for sample_id, samples in self._found.items() if sample_id not in excluded}

    @cached_property
    def _found(self) -> dict[str, list[SampleFiles]]:
        return SampleFinder(self.tree, self.recipe).find()

    @property
    def _captures(self) -> dict[str, Any]:
        return {sample_id: samples[0].captures for sample_id, samples in self._samples.items()}
