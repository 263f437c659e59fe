"""How a recipe fits a source: which samples and arrays it finds, and which it leaves out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drawpoint.errors import DrawpointError, InvalidSample
from drawpoint_store.conversion.recipes.file_reference import SAMPLE_ITSELF, is_archive
from drawpoint_store.conversion.recipes.reading.array_choice import ArrayMissing, describe
from drawpoint_store.conversion.survey.conversion_cost import ConversionCost, estimate_cost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drawpoint_store.conversion.recipes.field_recipe import FieldRecipe
    from drawpoint_store.conversion.recipes.reading.domain_reader import DomainReader
    from drawpoint_store.conversion.sources.recipe_source import RecipeSource
    from drawpoint_store.data_files.data_file import ArrayInfo, DataFile

_LOOKED_AT = 3


@dataclass
class FieldFound:
    """A field that would be stored: what it is read from, its components, and the dtype of the file, "" if derived."""

    field: str
    origin: str
    dim: int
    dtype: str
    units: str | None


@dataclass
class RecipeCheck:
    """How a recipe fits a source.

    `missing` are fields that the first sample looked at cannot be read for, with the reason; the recipe does not fit
    then. `absent` are optional ones that are not there, and `left_out` arrays of its files, by file, that no field
    takes. `unreadable` are later samples looked at that cannot be read, and `scalars` those of the first.
    """

    recipe: str
    n_samples: int
    broken: dict[str, str]
    looked_at: list[str] = field(default_factory=list)
    found: list[FieldFound] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    cost: ConversionCost | None = None

    @property
    def fits(self) -> bool:
        """Whether samples are complete, and have all that the recipe needs."""
        return self.n_samples > 0 and bool(self.found) and not self.missing


def spread(names: Sequence[str], count: int = _LOOKED_AT) -> list[str]:
    """Return a few of the names, from the first to the last, evenly apart."""
    if len(names) <= count:
        return list(names)
    return [names[round(place * (len(names) - 1) / (count - 1))] for place in range(count)]


def check_recipe(source: RecipeSource, workers: int | None = None) -> RecipeCheck:
    """Return how the recipe of a source fits it, told from a few samples; with the cost for a number of `workers`."""
    try:
        broken = dict(source.broken)
        sample_ids = list(source.sample_ids)
    except InvalidSample as error:
        return RecipeCheck(source.recipe.name, 0, {}, missing={"sample": str(error)})
    check = RecipeCheck(source.recipe.name, len(sample_ids), broken)
    rows: dict[str, dict[str, int]] = {}
    files = [name for reference in source.recipe.named_files for name in reference.names]
    # What is in an archive has to be unpacked first, and what lies elsewhere to be copied.
    for sample_id in spread(sample_ids)[: 1 if source.is_remote or any(map(is_archive, files)) else None]:
        try:
            rows[sample_id] = _look(check, source, sample_id, is_first=not rows)
        except DrawpointError as error:
            check.unreadable[sample_id] = str(error)
    source.close()
    if workers is not None and check.fits:
        counted = {sample_id: counts for sample_id, counts in rows.items() if len(counts) == len(source.recipe.domains)}
        check.cost = estimate_cost(source, counted, sample_ids, workers) if counted else None
        if check.cost is not None and any(domain.mask or domain.crop for domain in source.recipe.domains.values()):
            check.cost.is_counted = False  # nobody knows yet how many rows they keep
        source.close()
    return check


def _look(check: RecipeCheck, source: RecipeSource, sample_id: str, *, is_first: bool) -> dict[str, int]:
    """Add what a sample has to the check, and return its rows by domain; the first says what is found and missing."""
    rows: dict[str, int] = {}
    problems: dict[str, str] = {}
    for domain, reader in source.domains(sample_id).items():
        try:
            rows[domain] = reader.n_rows
        except DrawpointError as error:
            problems[domain] = str(error)
            continue
        used: dict[str, set[tuple[str, str]]] = {}
        found, absent = _fields(domain, reader, used, problems)
        if is_first:
            check.found += found
            check.absent += absent
            _note_left_out(check, reader, used)
    check.looked_at.append(sample_id)
    try:
        scalars = source.scalars(sample_id)
    except InvalidSample as error:
        problems["scalars"] = str(error)
    if is_first and "scalars" not in problems:
        check.scalars = dict(scalars)
    if is_first:
        check.missing.update(problems)
    elif problems and not check.missing:
        check.unreadable[sample_id] = "; ".join(problems.values())
    return rows


def _fields(
    domain: str, reader: DomainReader, used: dict[str, set[tuple[str, str]]], problems: dict[str, str]
) -> tuple[list[FieldFound], list[str]]:
    """Return the fields of a domain that a sample has, and the optional ones that it has not."""
    found, absent = [], []
    for name, recipe in reader.recipe.all_fields.items():
        field_name = f"{domain}_{name}"
        try:
            found.append(_find(reader, field_name, name, recipe, used))
        except (ArrayMissing, KeyError) as error:
            if recipe.optional:
                absent.append(field_name)
            else:
                problems[field_name] = str(error)
        except InvalidSample as error:
            problems[field_name] = str(error)
    return found, absent


def _find(
    reader: DomainReader, field_name: str, name: str, recipe: FieldRecipe, used: dict[str, set[tuple[str, str]]]
) -> FieldFound:
    dim = reader.dim(name)
    reference = recipe.own_file or reader.recipe.own_file or SAMPLE_ITSELF
    file = reader.sample.files.found[reference].name
    if recipe.is_derived:
        what = f"{recipe.place or reader.place} positions" if name == "position" else f"{recipe.derive}, derived"
        if recipe.reads_array:
            _, chosen = reader.choose(name, recipe)
            used.setdefault(file, set()).update((array.name, array.place) for array in chosen.arrays)
            what += f" from {', '.join(describe(array) for array in chosen.arrays)}"
        return FieldFound(field_name, f"{what} of {file}", dim, "", recipe.units)
    _, chosen = reader.choose(name, recipe)
    used.setdefault(file, set()).update((array.name, array.place) for array in chosen.arrays)
    what = ", ".join(describe(array) for array in chosen.arrays) if chosen.arrays[0].name else "the array"
    return FieldFound(field_name, f"{what} of {file}", dim, chosen.arrays[0].dtype, recipe.units)


def _note_left_out(check: RecipeCheck, reader: DomainReader, used: dict[str, set[tuple[str, str]]]) -> None:
    reference = reader.recipe.own_file or SAMPLE_ITSELF
    name, file = reader.sample.files.found[reference].name, reader.sample.open(reference)
    others = [describe(array) for array in _unused(file, used.get(name, set()))]
    earlier = check.left_out.get(name)
    check.left_out[name] = others if earlier is None else [each for each in earlier if each in others]


def _unused(file: DataFile, used: set[tuple[str, str]]) -> list[ArrayInfo]:
    return [array for array in file.arrays if (array.name, array.place) not in used]
