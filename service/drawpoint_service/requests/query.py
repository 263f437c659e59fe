"""What a request may say: the values that URLs and bodies have in common, and the URLs' queries as models."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from drawpoint.draw.seeds import MAX_SEED
from drawpoint.draw.selection import name_store
from drawpoint.errors import DrawpointError, InvalidDraw, InvalidParameter, UnknownDomain, UnknownParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from drawpoint.format.manifest import StoreManifest

SHOWN = 200
"""Characters that an error shows of what it refuses."""

ALL = "all"
"""Stands for the count of all points."""

Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]
Dtype = Annotated[
    Literal["float32", "stored"], Field(description="`float32` for every field, or each as it is `stored`.")
]
Revision = Annotated[str | None, Field(description="The revision that the store has to be at.")]
Count = Annotated[
    Annotated[int, Field(strict=True, ge=1, le=MAX_SEED)] | None,
    BeforeValidator(lambda value: None if value == ALL else value),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_SEED}, {"const": ALL}, {"type": "null"}]}
    ),
]
MAX_PAGE_SAMPLES = 1000

_ALLOWED = {
    **dict.fromkeys(("seed", "part"), (f"an integer in 0..{MAX_SEED}",)),
    **dict.fromkeys(("fields", "domains"), ("one or more names with commas between them",)),
    "fields[]": ("the name of a field",),
    **dict.fromkeys(("num_points", "coords"), ('an object of counts by domain, such as {"surface": 4096}',)),
    "dtype": ("float32", "stored"),
    "limit": (f"an integer in 1..{MAX_PAGE_SAMPLES}",),
    "samples": ('a list of {"id", "seed", "part"}, at least one',),
    "samples[]": ('an object: {"id", "seed", "part"}',),
    "id": ("the id of a sample",),
    "revision": ("a text",),
}
"""What may stand under a name; those that are not here are domains', which have counts."""

_DIGITS = re.compile(r"[0-9]{1,19}")
_TEXTS = {"after", "dtype", "revision", "fields", "domains"}
"""Parameters that stay text, though they may look like numbers."""


def _split(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if "" in names:
        raise ValueError("a name is empty")
    return names


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


class RequestModel(BaseModel):
    """A model that takes the names of its fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(RequestModel):
    """Nothing: the request takes no parameters."""


class PageQuery(RequestModel):
    """A page of sample ids."""

    limit: Annotated[
        int, Field(strict=True, ge=1, le=MAX_PAGE_SAMPLES, description="How many samples a page holds at most.")
    ] = 100
    after: Annotated[str, Field(description="The id behind which the page begins: `next` of the page before.")] = ""


class RevisionQuery(RequestModel):
    """The revision of a store."""

    revision: Revision = None


class DrawQuery(RequestModel):
    """A draw: `counts` by domain, None for all points. Coordinates take no more than this."""

    counts: dict[str, Count] = Field(default_factory=dict)
    """In the URL each stands under the name of its domain."""

    seed: Annotated[
        Seed | None,
        Field(description="Names the draw: the same seed gives the same rows, and the answer may be cached."),
    ] = None
    dtype: Dtype = "float32"
    revision: Revision = None


class SampleQuery(DrawQuery):
    """A draw of a sample's fields."""

    part: Seed | None = None
    fields: Names | None = None
    domains: Names | None = None

    @model_validator(mode="after")
    def _check_part(self) -> Self:
        if self.part is not None and self.seed is None:
            raise InvalidDraw("part needs seed: the parts of a cycle are disjoint only under one seed; add seed=.")
        return self


Query = TypeVar("Query", bound=RequestModel)


def parameters_of(model: type[RequestModel]) -> list[str]:
    """Return the names of a query's parameters but for those of domains."""
    return [name for name in model.model_fields if name != "counts"]


def parse_query(model: type[Query], pairs: Iterable[tuple[str, str]], domains: Collection[str] = ()) -> Query:
    """Return the query that the parameters of a URL make; each of `domains` is a parameter too.

    Raises UnknownParameter for another name, InvalidParameter for a value that is not allowed or given twice,
    InvalidDraw for a part without a seed.
    """
    known = (*domains, *parameters_of(model))
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name not in known:
            raise unknown_name("parameter", name, known, where="this request")
        if name in values:
            raise InvalidParameter.of(name, f"{values[name]},{value}", "given once")
        values[name] = int(value) if name not in _TEXTS and _DIGITS.fullmatch(value) else value
    counts = {domain: values.pop(domain) for domain in domains if domain in values}
    try:
        return model.model_validate({**values, "counts": counts} if counts else values)
    except ValidationError as error:
        raise refusal_of(error, show=str) from None


def select_fields(
    query: SampleQuery, manifest: StoreManifest, sample_id: str, store: str | None = None
) -> tuple[str, ...] | None:
    """Return the fields that `fields=` and `domains=` leave of a sample, None for all it has.

    Raises UnknownDomain for a domain that the store or the sample lacks, InvalidDraw if nothing is left. Fields
    are not checked here: the plan of the draw does that.
    """
    if query.domains is None or (entry := manifest.samples.get(sample_id)) is None:
        return query.fields
    for domain in query.domains:
        if domain not in manifest.domains:
            raise UnknownDomain.among("domain", domain, manifest.domains, where=name_store(manifest, store))
        if domain not in entry.domains:
            raise UnknownDomain.among("domain", domain, entry.domains, where=f"sample {sample_id!r}", sample=sample_id)
    held = {field for domain in query.domains for field in manifest.domains[domain].arrays}
    if query.fields is None:
        return tuple(sorted(held))
    # A field that no domain holds stays, for the plan to name it.
    left = tuple(field for field in query.fields if field in held or field not in manifest.fields)
    if not left:
        raise InvalidDraw(
            f"fields={','.join(query.fields)} and domains={','.join(query.domains)} have no field in common; "
            "leave one of them out.",
            sample=sample_id,
        )
    return left


def numpy_dtype(dtype: str) -> str | None:
    """Return the dtype of the tensors of an answer, None for each as it is stored."""
    return None if dtype == "stored" else dtype


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: str) -> UnknownParameter:
    """Return the error for a name that means nothing, with near ones."""
    error = UnknownParameter.among(kind, name, known := tuple(known), where=where)
    error.parameter, error.allowed = name[:SHOWN], known
    return error


def refusal_of(
    error: ValidationError,
    allowed: Mapping[str, tuple[str, ...]] | None = None,
    show: Callable[[Any], str] = json.dumps,
) -> DrawpointError:
    """Return the error of ours for the first value that a model refused.

    `allowed` says what may stand under a name where that differs from a URL's query; `show` is how a value's text is
    got.
    """
    first = error.errors(include_url=False)[0]
    if isinstance(own := first.get("ctx", {}).get("error"), DrawpointError):  # of a validator that says all
        return own
    *_, before, last = "", *first["loc"]
    kind = f"{before}[]" if isinstance(last, int) else str(last)
    value = None if first["type"] == "missing" else first["input"]
    forms = {**_ALLOWED, **(allowed or {})}.get(kind, (f"an integer in 1..{MAX_SEED}", ALL))
    return InvalidParameter.of(path_of(first["loc"])[:SHOWN], show(value), *forms)


def path_of(loc: Sequence[int | str]) -> str:
    """Return what a client calls a member: `samples[3].seed`; counts of a URL stand under the names of domains."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return path.removeprefix(".counts").removeprefix(".")
