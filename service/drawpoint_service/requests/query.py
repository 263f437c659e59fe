"""What a URL's query may say, as a model for each kind of request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from drawpoint.draw.selection import name_store
from drawpoint.errors import InvalidDraw, InvalidParameter, UnknownDomain
from drawpoint_service.requests.validation import (
    MAX_PAGE_SAMPLES,
    Count,
    Dtype,
    RequestModel,
    Revision,
    Seed,
    refusal_of,
    unknown_name,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from drawpoint.format.manifest import StoreManifest

_DIGITS = re.compile(r"[0-9]{1,19}")
_TEXTS = {"after", "dtype", "revision", "fields", "domains"}
"""Parameters that stay text, though they may look like numbers."""

Query = TypeVar("Query", bound=RequestModel)


def _split(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if "" in names:
        raise ValueError("a name is empty")
    return names


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


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
        raise refusal_of(error, str) from None


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
