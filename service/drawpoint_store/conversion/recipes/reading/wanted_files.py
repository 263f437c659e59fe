"""Which files of a sample are read, and what of them, told from the recipe before any is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from drawpoint_store.conversion.recipes.domain_recipe import POSITION
from drawpoint_store.conversion.recipes.file_reference import SAMPLE_ITSELF
from drawpoint_store.conversion.recipes.pattern import fill
from drawpoint_store.conversion.scratch.sample_copy import WantedFile
from drawpoint_store.data_files.needed_parts import Needed

if TYPE_CHECKING:
    from drawpoint_store.conversion.recipes.domain_recipe import DomainRecipe
    from drawpoint_store.conversion.recipes.field_recipe import FieldRecipe
    from drawpoint_store.conversion.recipes.file_reference import FileReference
    from drawpoint_store.conversion.recipes.reading.sample_files import FoundFile, SampleFiles
    from drawpoint_store.conversion.recipes.recipe import Recipe


def wanted_files(recipe: Recipe, sample: SampleFiles) -> list[WantedFile]:
    """Return the files of a sample that are read, each once.

    Files that the sample only must have are not among them, and neither are tables of scalars of all samples, which
    stay where they are. What is needed of a file is told by the names in the recipe: a reader may find that it needs
    more of it.
    """
    needed: dict[FileReference, Needed] = {}
    for domain in recipe.domains.values():
        for reference, parts in _needed(domain, sample.captures):
            needed[reference] = needed[reference] | parts if reference in needed else parts
    files: dict[tuple[str, ...], WantedFile] = {}
    for reference, found in sample.found.items():
        if reference in needed:
            _add(files, found, needed[reference])
        elif reference in recipe.read_files and not (reference.is_shared and reference not in recipe.data_files):
            _add(files, found, None)
    return list(files.values())


def _add(files: dict[tuple[str, ...], WantedFile], found: FoundFile, needed: Needed | None) -> None:
    """Add a file, or all files that it names; what two references need of one file is needed of it."""
    if tuple(file.path for file in found.files) != found.paths:
        needed = None  # a file that names others, or a folder
    groups = [found.files] if needed is not None else [(file,) for file in found.files]
    for pieces in groups:
        paths = tuple(file.path for file in pieces)
        before = files.get(paths)
        both = needed if before is None else before.needed and needed and before.needed | needed
        files[paths] = WantedFile(tuple(pieces), both)


def _needed(domain: DomainRecipe, captures: Mapping[str, str]) -> Iterator[tuple[FileReference, Needed]]:
    """Yield what a domain needs of each file that it reads."""
    own = domain.own_file or SAMPLE_ITSELF
    masks = frozenset(mask.array for mask in domain.mask)
    if masks:
        yield own, Needed(masks)
    for name, field in domain.all_fields.items():
        reference, places = field.own_file or own, {field.place} if field.place else set(domain.place)
        cells = places != {"point"} or name != POSITION
        if field.is_derived:
            yield reference, Needed(frozenset(_texts(field.model_dump())), points=True, cells=cells)
        else:
            rows = None if field.index is None else _row(fill(str(field.index), captures))
            yield reference, Needed(frozenset(_texts(field.model_dump())), _is_active(field), rows=rows)
        if field.join is not None:
            position = domain.all_fields[POSITION]
            joined = Needed(frozenset(_texts(position.model_dump())), _is_active(position), True, places != {"point"})
            yield from ((each, joined) for each in (reference, position.own_file or own))


def _row(index: str) -> frozenset[int] | None:
    return frozenset({int(index)}) if index.isdecimal() else None


def _is_active(field: FieldRecipe) -> bool:
    return field.array_name is None and not any(isinstance(each, str) for each in field.components or ())


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts of a field of a recipe, of which some name arrays."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)
