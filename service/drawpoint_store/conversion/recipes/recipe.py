"""Recipes: how the files of a data set become samples, domains, fields and scalars."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from drawpoint_store.conversion.recipes.check_recipe import CheckOfRecipe, check_fields
from drawpoint_store.conversion.recipes.domain_recipe import DomainRecipe, Name
from drawpoint_store.conversion.recipes.file_reference import FileReference
from drawpoint_store.conversion.recipes.id_list import ALL_LISTS, IdFile, IdList
from drawpoint_store.conversion.recipes.pattern import ID, Pattern, check_captures
from drawpoint_store.conversion.recipes.recipe_model import RecipeModel, Texts
from drawpoint_store.conversion.recipes.scalar_recipe import ScalarRecipe
from drawpoint_store.reading.splits import split_file

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recipe(RecipeModel):
    """How a data set becomes a store, as a TOML file says it; docs/recipes.md describes every key.

    `sample` are patterns of the folders or files that are samples, `needs` files that a sample has besides those that
    are read, `id` makes their ids of what was captured, `exclude` leaves samples out. `checks` are what a store of such
    samples must fulfil by physics. All other tables than `splits`, `scalars` and `checks` are domains.
    """

    kind: ClassVar[str] = "a recipe"
    own_tables: ClassVar[str] = "domains"

    name: Annotated[str, Field(min_length=1)]
    description: str = ""
    sample: Annotated[Texts, Field(min_length=1)]
    id: str | None = None
    needs: Texts = ()
    exclude: IdList = ()
    splits: dict[str, IdList] = Field(default_factory=dict)
    scalars: dict[Annotated[str, Field(min_length=1)], ScalarRecipe] = Field(default_factory=dict)
    checks: dict[Name, CheckOfRecipe] = Field(default_factory=dict)
    domains: dict[Name, DomainRecipe]

    @model_validator(mode="before")
    @classmethod
    def _find_domains(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        keys = cls.model_fields.keys() - {cls.own_tables}
        domains = {key: value for key, value in data.items() if key not in keys and isinstance(value, dict)}
        others = {key: value for key, value in data.items() if key not in domains}
        for key, table in domains.items():
            near = difflib.get_close_matches(key, ("scalars", "splits", "checks"))
            if near and not table.keys() & DomainRecipe.model_fields.keys():
                raise ValueError(f"{key[:60]!r} is no domain, since it has none of its keys; near names: {near[0]}")
        return {**others, cls.own_tables: domains}

    @field_validator("splits")
    @classmethod
    def _check_splits(cls, splits: dict[str, IdList]) -> dict[str, IdList]:
        for name, listed in splits.items():
            if name != ALL_LISTS:
                split_file(name)
            elif not isinstance(listed, IdFile) or not listed.file.endswith(".json"):
                raise ValueError('"*" are all lists of one file; give a .json')
        return splits

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.name.isprintable():
            raise ValueError(f"name {self.name!r} has characters that do not print")
        for pattern in self.patterns:
            if pattern.text.startswith("/"):
                raise ValueError(f"sample {pattern.text!r} begins with /; samples always lie below SOURCE")
        if not self.domains:
            raise ValueError("it has no domain; add a table such as [surface] with a file and fields")
        captures = [set(pattern.captures) for pattern in self.patterns]
        known = sorted(set.intersection(*captures))
        if self.id is not None:
            check_captures(self.id, known, f"id of the recipe {self.name!r}")
        for where, text in self._templates():
            check_captures(text, [*known, ID], f"{where} of the recipe {self.name!r}")
        are_files = all(pattern.names_files for pattern in self.patterns)
        for domain, table in self.domains.items():
            if table.file is None and not are_files:
                raise ValueError(f"{domain} names no file, and samples are folders; give it one")
        return self

    @model_validator(mode="after")
    def _check_checks(self) -> Self:
        fields = {domain: list(table.all_fields) for domain, table in self.domains.items()}
        for name, check in self.checks.items():
            try:
                check_fields(check, fields)
            except ValueError as error:
                raise ValueError(f"checks.{name}: {error}") from None
        return self

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """The patterns of the samples' folders or files."""
        return tuple(Pattern(text) for text in self.sample)

    @property
    def needed_files(self) -> tuple[FileReference, ...]:
        """The files that a sample must have, each once."""
        return tuple(dict.fromkeys(reference for _, reference in self._references(optional=False)))

    @property
    def named_files(self) -> tuple[FileReference, ...]:
        """The files that a sample may have, each once."""
        return tuple(dict.fromkeys(reference for _, reference in self._references()))

    @property
    def data_files(self) -> frozenset[FileReference]:
        """The files that fields are read from, besides a file that is the sample itself."""
        return frozenset(each for where, each in self._references() if not where.startswith(("needs", "scalars.")))

    @property
    def read_files(self) -> frozenset[FileReference]:
        """The files that fields and scalars are read from, without those that a sample only must have."""
        return frozenset(reference for where, reference in self._references() if where != "needs")

    def _templates(self) -> Iterator[tuple[str, str]]:
        """Yield each text that what was captured stands for itself in, with where it is."""
        for where, reference in self._references():
            for text in (*reference.names, reference.member or ""):
                yield where, text
        for domain, table in self.domains.items():
            for name, field in table.fields.items():
                yield f"{domain}.fields.{name}", str(field.index)
        for name, scalar in self.scalars.items():
            for value in scalar.row.values():
                yield f"scalars.{name}", str(value)

    def _references(self, *, optional: bool = True) -> Iterator[tuple[str, FileReference]]:
        """Yield each file that the recipe names, with where it does; without `optional`, only those that must exist."""
        for name in self.needs:
            yield "needs", FileReference((name,))
        for domain, table in self.domains.items():
            if table.own_file is not None:
                yield f"{domain}.file", table.own_file
            for name, field in table.fields.items():
                if field.own_file is not None and (optional or not field.optional):
                    yield f"{domain}.fields.{name}", field.own_file
        for name, scalar in self.scalars.items():
            if scalar.own_file is not None and (optional or not scalar.optional):
                yield f"scalars.{name}", scalar.own_file
