"""The samples of a store: a mapping that holds 100,000 entries in a tenth of the memory that models would take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from drawpoint.format.invalid_values import explain
from drawpoint.format.sample_entry import (
    MAX_CHUNKS,
    MAX_POINTS,
    DomainSample,
    FixedGrids,
    FixedScalars,
    SampleEntry,
    check_path,
)
from drawpoint.format.scalars import (
    NO_SCALARS,
    PackedScalars,
    are_scalars,
    check_scalars,
    pack_floats,
    pack_scalars,
    unpack_scalars,
)

# Plain tuples: named ones would take ten times as long to unpickle, which every spawned worker does.
_Grid = tuple[int, int, int, int]
_GRID_KEYS = ("n_points", "chunk_points", "shard_points", "n_chunks")
_Row = tuple[str | None, str | None, tuple[tuple[str, _Grid], ...], PackedScalars]
"""relpath (None: `<sample_id>.zarr`), digest, a grid a domain, and scalars."""

_MOST_KEPT = 1024
"""Entries kept, of all tables: each takes as long to make as the rest of selecting from it."""


class SampleTable(MutableMapping[str, SampleEntry]):
    """Sample entries by id, held as plain tuples; an entry is made when it is looked up.

    An entry refuses to be changed; to change a sample, assign another one, or a dict or object with the attributes of
    one. `changes` counts the assignments.
    """

    def __init__(self, entries: Mapping[str, SampleEntry] | None = None) -> None:
        self._rows: dict[str, _Row] = {}
        self.changes = 0
        self.update(entries or {})

    def __getitem__(self, sample_id: str) -> SampleEntry:
        return _make_entry(sample_id, self._rows[sample_id])

    def __setitem__(self, sample_id: str, entry: Any) -> None:
        if not isinstance(entry, SampleEntry):
            entry = _validate_entry(sample_id, entry)
        check_path(entry.relpath)  # a copy with another path, or with other scalars, has not been checked
        grids = tuple(
            (domain, (grid.n_points, grid.chunk_points, grid.shard_points, grid.n_chunks))
            for domain, grid in entry.domains.items()
        )
        try:
            scalars = pack_scalars(check_scalars(entry.scalars))
        except ValueError as error:
            raise ValueError(f"{sample_id}.scalars: {error}") from error
        self._rows[sample_id] = _spare(sample_id, entry.relpath), entry.digest, grids, scalars
        self.changes += 1

    def __delitem__(self, sample_id: str) -> None:
        del self._rows[sample_id]
        self.changes += 1

    def __contains__(self, sample_id: object) -> bool:
        return sample_id in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SampleTable):
            return self._rows == other._rows
        return dict(self) == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a mutable mapping

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} samples>"

    def point_counts(self) -> dict[str, list[int]]:
        """Return the point counts of each domain, one a sample that has it, without making any entry."""
        counts: dict[str, list[int]] = {}
        for _, _, grids, _ in self._rows.values():
            for domain, grid in grids:
                counts.setdefault(domain, []).append(grid[0])
        return counts

    def scalars_of(self, sample_id: str) -> dict[str, float]:
        """Return the scalars of a sample, sorted by name, without making its entry; raises KeyError."""
        return unpack_scalars(self._rows[sample_id][3])

    def scalar_values(self) -> dict[str, dict[str, float]]:
        """Return the scalars of all samples: by name, sorted, the value of each sample that has it."""
        found: dict[str, dict[str, float]] = {}
        for sample_id in self._rows:
            for name, value in self.scalars_of(sample_id).items():
                found.setdefault(name, {})[sample_id] = value
        return dict(sorted(found.items()))

    def shared_relpath(self) -> str | None:
        """Return a path that two samples name, or None: what is read of one is kept under its path."""
        explicit = [relpath for relpath, _, _, _ in self._rows.values() if relpath is not None]
        seen: set[str] = set()
        for relpath in explicit:
            usual = self._rows.get(relpath.removesuffix(".zarr")) if relpath.endswith(".zarr") else None
            if relpath in seen or (usual is not None and usual[0] is None):
                return relpath
            seen.add(relpath)
        return None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.plain_serializer_function_ser_schema(cls._to_plain)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": handler(SampleEntry.__pydantic_core_schema__)}

    @classmethod
    def _validate(cls, value: Any) -> SampleTable:
        if isinstance(value, SampleTable):
            return value
        if not isinstance(value, Mapping):
            raise ValueError("samples must be a mapping from sample ids")  # noqa: TRY004  pydantic wants ValueError
        table = cls()
        for sample_id, entry in value.items():
            if not isinstance(sample_id, str) or not sample_id.isprintable():
                raise ValueError(f"sample id {sample_id!r} has characters that do not print")
            if _is_row(entry):  # JSON has no tuples: this is what compact_object has checked
                relpath, *others = entry
                table._rows[sample_id] = _spare(sample_id, relpath), *others
            else:
                table[sample_id] = _without_odd_scalars(_plain(entry))
        return table

    def _to_plain(self) -> dict[str, Any]:
        """Return what JSON shows, sorted by id: equal content gives equal bytes."""
        return {
            sample_id: {
                "relpath": f"{sample_id}.zarr" if relpath is None else relpath,
                "domains": {domain: _name_grid(grid) for domain, grid in grids},
                **({} if digest is None else {"digest": digest}),
                **({"scalars": unpack_scalars(scalars)} if scalars[0] else {}),
            }
            for sample_id, (relpath, digest, grids, scalars) in sorted(self._rows.items())
        }


def compact_object(pairs: list[tuple[str, Any]]) -> Any:
    """Return a JSON object of a manifest in the form that SampleTable holds, if it is a sample's or may be part of one.

    To be given to `json.loads` as its object_pairs_hook: the tree of a whole manifest is never in memory, which for
    100,000 samples would be 300 MB. What is not as it should be stays as it is, for the models to say what is wrong.
    Raises ValueError for a key that stands twice: which of the two is meant nobody knows.
    """
    if pairs and type(pairs[0][1]) is float:
        packed = pack_floats(pairs)
        if packed is not None:
            return packed
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    if "n_points" in found:
        return _compact_grid(found)
    if "relpath" in found and "dataset_name" not in found:
        return _compact_entry(found)
    return found


def _compact_grid(found: dict[str, Any]) -> Any:
    n_points, chunk, shard = found["n_points"], found.get("chunk_points"), found.get("shard_points")
    if (
        type(n_points) is int
        and type(chunk) is int
        and type(shard) is int
        and min(n_points, chunk, shard) > 0
        and max(n_points, chunk, shard) <= MAX_POINTS
        and -(-n_points // chunk) <= MAX_CHUNKS
        and shard % chunk == 0
        and found.get("n_chunks") == -(-n_points // chunk)
    ):
        return n_points, chunk, shard, -(-n_points // chunk)
    return found


def _compact_entry(found: dict[str, Any]) -> Any:
    relpath, digest, domains = found["relpath"], found.get("digest"), found.get("domains")
    try:
        check_path(relpath)
    except (ValueError, AttributeError, TypeError):
        return found
    scalars = found.get("scalars", NO_SCALARS)
    if (
        isinstance(domains, dict)
        and all(_is_grid(grid) for grid in domains.values())
        and (digest is None or type(digest) is str)
        and _are_packed(scalars)
    ):
        return relpath, digest, tuple(domains.items()), scalars
    return found


def _is_row(found: object) -> bool:
    return type(found) is tuple and type(found[0]) is str


def _is_grid(found: object) -> bool:
    return type(found) is tuple and type(found[0]) is int


def _are_packed(found: object) -> bool:
    return type(found) is tuple and type(found[0]) is tuple


def _plain(found: Any) -> Any:
    """Return a JSON object as a dict, also where compact_object has made a grid or scalars of it."""
    if _is_grid(found):
        return _name_grid(found)
    return unpack_scalars(found) if _are_packed(found) else found


def _without_odd_scalars(entry: Any) -> Any:
    """Return an entry, of JSON or of another library's models, without scalars that mean something else there."""
    mapped = isinstance(entry, Mapping)
    scalars = entry.get("scalars") if mapped else getattr(entry, "scalars", None)
    if scalars is None or isinstance(entry, SampleEntry):
        return entry
    scalars = _plain(scalars)
    members = entry if mapped else {name: getattr(entry, name, None) for name in SampleEntry.model_fields}
    return {**members, "scalars": scalars if are_scalars(scalars) else {}}


@lru_cache(_MOST_KEPT)
def _make_entry(sample_id: str, row: _Row) -> SampleEntry:
    relpath, digest, grids, scalars = row
    return SampleEntry.model_construct(
        relpath=f"{sample_id}.zarr" if relpath is None else relpath,
        domains=FixedGrids((domain, DomainSample.model_construct(**_name_grid(grid))) for domain, grid in grids),
        digest=digest,
        scalars=FixedScalars(unpack_scalars(scalars)),
    )


def _validate_entry(sample_id: str, entry: Any) -> SampleEntry:
    if isinstance(entry, dict) and isinstance(entry.get("domains"), dict):
        grids = entry["domains"].items()
        plain = {name: _plain(grid) for name, grid in grids}
        entry = {**entry, "domains": plain}
    try:
        return SampleEntry.model_validate(entry, from_attributes=True)
    except ValidationError as error:
        raise ValueError(explain(error, within=(sample_id,))) from error


def _name_grid(grid: _Grid) -> dict[str, Any]:
    return dict(zip(_GRID_KEYS, grid, strict=True))


def _spare(sample_id: str, relpath: str | None) -> str | None:
    return None if relpath == f"{sample_id}.zarr" else relpath
