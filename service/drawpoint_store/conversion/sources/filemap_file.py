"""A file map in a file: the file of each field, and tables that say more of fields, in TOML or JSON."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from drawpoint.format.invalid_values import explain
from drawpoint.format.scalars import check_scalar_name
from drawpoint_store.writing.layout import (
    FIELD_SPECS,
    FieldSpec,
    FileMap,
    check_specs,
    file_name,
    named_spec,
    present_specs,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


def _check_name(name: str) -> str:
    check_scalar_name(name)
    return name


ScalarName = Annotated[str, AfterValidator(_check_name)]


class MappedFields(NamedTuple):
    """The fields that the samples of a source have: those that a FileMap names a file for, and others.

    `parameter_names` are those of the numbers in its file of design parameters.
    """

    filemap: FileMap
    fields: tuple[FieldSpec, ...] = ()
    parameter_names: tuple[str, ...] = ()


class FieldTable(BaseModel):
    """What a table `[fields.<key>]` says of one field; what it leaves out, the key says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str | None = None
    domain: str | None = None
    name: str | None = None
    dim: int | None = Field(None, strict=True)
    kind: Literal["coord", "value"] | None = None
    units: str | None = None
    description: str | None = None

    def spec(self, key: str) -> FieldSpec:
        """Return the field that the table describes; raises ValueError where nothing says its domain."""
        if self.domain is None and "_" not in key:
            raise ValueError(f"the table {key!r:.80} says no domain; give it one, or call it <domain>_<name>")
        said = named_spec(key, self.domain)
        if self.name is not None:
            said = named_spec(f"{said.domain}_{self.name}", said.domain)
        given = self.model_dump(exclude={"file", "domain", "name"}, exclude_none=True)
        return replace(said, filemap_attr=key, **given)


class ParameterTable(BaseModel):
    """What a table `[design_parameters]` says: the file of a sample's parameters, and what each of them is called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = "design_parameters.pt"
    names: tuple[ScalarName, ...] = ()


Parameters = Annotated[
    ParameterTable | None, BeforeValidator(lambda given: {"file": given} if isinstance(given, str) else given)
]
"""A table, or the name of the file alone."""


class _Document(FileMap):
    design_parameters: Parameters = None  # type: ignore[assignment]  # a FileMap has the name of the file alone
    fields: dict[str, FieldTable] = Field(default_factory=dict)


def load_filemap(path: str | os.PathLike[str]) -> MappedFields:
    """Read a file map from a TOML or JSON file: FileMap attributes, each with a file name, and tables of `fields`.

    A table describes a field that the FileMap has no attribute for, or says more of one that it has. Raises ValueError
    for anything else, naming what there is, and for fields that no store can hold.
    """
    text, is_toml = Path(path).read_bytes(), Path(path).suffix.lower() == ".toml"
    try:
        document = _Document.model_validate(tomllib.loads(text.decode()) if is_toml else json.loads(text))
    except ValidationError as error:
        allowed = (
            f"it gives a file name to some of: {', '.join(FileMap.model_fields)}; others have tables [fields.NAME]"
        )
        if error.errors()[0]["loc"][:1] == ("fields",):
            allowed = f"a table of a field gives some of: {', '.join(FieldTable.model_fields)}"
        raise ValueError(f"{path} is no FileMap: {explain(error)}; {allowed}.") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is neither TOML nor JSON: {error}.") from error
    parameters: ParameterTable | None = document.design_parameters
    names = () if parameters is None else parameters.names
    filemap = FileMap(
        **document.model_dump(exclude={"fields", "design_parameters"}),
        design_parameters=None if parameters is None else parameters.file,
    )
    files = {spec.canonical: getattr(filemap, spec.filemap_attr) for spec in present_specs(filemap)}
    try:
        if not document.fields:
            _check_files({spec.filemap_attr: files[spec.canonical] for spec in present_specs(filemap)})
            return MappedFields(filemap, parameter_names=names)
        specs = _described(filemap, files, document.fields)
        _check_files({spec.canonical: file_name(spec) for spec in specs})
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).rstrip('.')}.") from error
    return MappedFields(FileMap(design_parameters=filemap.design_parameters), tuple(specs), parameter_names=names)


def _described(filemap: FileMap, files: Mapping[str, str], tables: Mapping[str, FieldTable]) -> list[FieldSpec]:
    """Return all fields as specs that name their file, those that the format knows first, in its order.

    Raises ValueError for a field that no store can hold, with two files, or in a file without a suffix.
    """
    specs = []
    for key, table in tables.items():
        spec = table.spec(key)
        if table.file is not None and spec.canonical in files:
            raise ValueError(
                f"{spec.canonical} has two files, {files[spec.canonical]!r} and {table.file!r}; give it one"
            )
        file = files.get(spec.canonical, f"{key}.pt") if table.file is None else table.file
        specs.append(replace(spec, filemap_attr=file))
    tabled = {spec.canonical for spec in specs}
    plain = [spec for spec in present_specs(filemap) if spec.canonical not in tabled]
    specs += [replace(spec, filemap_attr=files[spec.canonical]) for spec in plain]
    check_specs(specs)
    for spec in specs:
        if "." not in spec.filemap_attr:
            raise ValueError(f"the file {spec.filemap_attr!r} of {spec.canonical} has no suffix, such as .pt")
    places = {spec.canonical: place for place, spec in enumerate(FIELD_SPECS)}
    return sorted(specs, key=lambda spec: places.get(spec.canonical, len(places)))


def _check_files(files: Mapping[str, str]) -> None:
    """Raise ValueError unless each field has a file of its own in the directory of a sample."""
    for field, name in files.items():
        if not name or "/" in name:
            raise ValueError(f"{field} must name a file in the sample's directory, not {name!r}")
        twin = next(other for other, same in files.items() if same == name)
        if twin != field:
            raise ValueError(f"{twin} and {field} both name {name!r}; give each field its own file")
