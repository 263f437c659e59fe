"""What a client asks for: query parameters in, a checked query out; pure, and strict about every name and value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drawpoint.draw.seeds import MAX_SEED
from drawpoint.draw.selection import name_store
from drawpoint.errors import InvalidDraw, InvalidParameter, UnknownDomain, UnknownParameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drawpoint.format.manifest import StoreManifest

ALL = "all"
DTYPES = ("float32", "stored")
SAMPLE_PARAMETERS = ("fields", "domains", "seed", "part", "dtype", "revision")
COORDS_PARAMETERS = ("seed", "dtype", "revision")
BATCH_PARAMETERS = ("revision",)
PAGE_PARAMETERS = ("limit", "after")
PAGE_SAMPLES = 100
MAX_PAGE_SAMPLES = 1000

_DIGITS = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class DrawQuery:
    """A draw as asked for: `counts` by domain (None: all points), and everything else None where not given."""

    counts: dict[str, int | None]
    fields: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None
    seed: int | None = None
    part: int | None = None
    dtype: str = "float32"
    revision: str | None = None

    @property
    def numpy_dtype(self) -> str | None:
        """The dtype of the tensors, None for each as it is stored."""
        return None if self.dtype == "stored" else self.dtype


@dataclass(frozen=True, slots=True)
class PageQuery:
    """A page of at most `limit` sample ids that sort behind `after`."""

    limit: int = PAGE_SAMPLES
    after: str | None = None


def parse_sample_query(pairs: Iterable[tuple[str, str]], manifest: StoreManifest) -> DrawQuery:
    """Return the query of a sample read.

    Raises UnknownParameter for a name that is neither a parameter nor a domain of the store, InvalidParameter for
    a value that is out of place or given twice, InvalidDraw for a part without a seed.
    """
    query = _parse_draw(pairs, SAMPLE_PARAMETERS, manifest)
    if query.part is not None and query.seed is None:
        raise InvalidDraw("part needs seed: the parts of a cycle are disjoint only under one seed; add seed=.")
    return query


def parse_coords_query(pairs: Iterable[tuple[str, str]], manifest: StoreManifest) -> DrawQuery:
    """Return the query of a coordinate read; raises what parse_sample_query raises."""
    return _parse_draw(pairs, COORDS_PARAMETERS, manifest)


def parse_page_query(pairs: Iterable[tuple[str, str]]) -> PageQuery:
    """Return the query of a page of samples; raises UnknownParameter and InvalidParameter."""
    values = _collect(pairs, PAGE_PARAMETERS)
    limit = _integer("limit", values.get("limit", str(PAGE_SAMPLES)), 1, MAX_PAGE_SAMPLES)
    return PageQuery(limit, values.get("after"))


def parse_batch_query(pairs: Iterable[tuple[str, str]]) -> str | None:
    """Return the revision that a batch is meant for, if it names one; raises UnknownParameter and InvalidParameter."""
    return _collect(pairs, BATCH_PARAMETERS).get("revision")


def refuse_parameters(pairs: Iterable[tuple[str, str]]) -> None:
    """Raise UnknownParameter if there is any parameter, where none means anything."""
    _collect(pairs, ())


def select_fields(
    query: DrawQuery, manifest: StoreManifest, sample_id: str, store: str | None = None
) -> tuple[str, ...] | None:
    """Return the fields that `fields=` and `domains=` leave of a sample, None for all it has.

    Raises UnknownDomain for a domain that the store or the sample lacks, InvalidDraw if nothing is left. Fields
    are not checked here: the plan of the draw does that.
    """
    entry = manifest.samples.get(sample_id)
    if query.domains is None or entry is None:
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


def _parse_draw(pairs: Iterable[tuple[str, str]], parameters: Sequence[str], manifest: StoreManifest) -> DrawQuery:
    values = _collect(pairs, (*manifest.domains, *parameters))
    return DrawQuery(
        counts={domain: _count(domain, values[domain]) for domain in manifest.domains if domain in values},
        fields=_names("fields", values.get("fields")),
        domains=_names("domains", values.get("domains")),
        seed=_integer("seed", values["seed"], 0, MAX_SEED) if "seed" in values else None,
        part=_integer("part", values["part"], 0, MAX_SEED) if "part" in values else None,
        dtype=_one_of("dtype", values.get("dtype", DTYPES[0]), DTYPES),
        revision=values.get("revision"),
    )


def _collect(pairs: Iterable[tuple[str, str]], known: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            error = UnknownParameter.among("parameter", name, known, where="this request")
            error.parameter, error.allowed = name[:200], tuple(known)
            raise error
        if name in values:
            raise InvalidParameter.of(name, f"{values[name]},{value}", "given once")
        values[name] = value
    return values


def _count(domain: str, value: str) -> int | None:
    if value == ALL:
        return None
    return _integer(domain, value, 1, MAX_SEED, ALL)


def _integer(name: str, value: str, low: int, high: int, *others: str) -> int:
    number = int(value) if _DIGITS.fullmatch(value) else -1
    if not low <= number <= high:
        raise InvalidParameter.of(name, value, f"an integer in {low}..{high}", *others)
    return number


def _one_of(name: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise InvalidParameter.of(name, value, *allowed)
    return value


def _names(parameter: str, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(value.split(","))
    if "" in names:
        raise InvalidParameter.of(parameter, value, "one or more names with commas between them")
    return tuple(dict.fromkeys(names))
