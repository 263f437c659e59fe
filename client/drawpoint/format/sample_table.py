"""The samples of a store: a mapping that holds 100,000 entries in a tenth of the memory that models would take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping
from functools import lru_cache
from typing import Annotated, Any, NoReturn, Self
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from drawpoint.errors import InvalidManifest
from drawpoint.format.invalid_values import explain


def check_path(path: str) -> str:
    """Refuse a path that could leave the store's root: manifests are not trusted. Raises ValueError."""
    # Over HTTP `%2e%2e` means `..`, and fsspec chains file systems at `::`.
    if (
        any(part in ("", ".", "..") for part in unquote(path).split("/"))
        or "\\" in path
        or ":" in path.split("/", 1)[0]
        or "::" in path
        or not path.isprintable()
    ):
        raise ValueError(f"{path!r} is not a plain relative path inside the store")
    return path


MAX_POINTS = 2**40
MAX_CHUNKS = 2**20
"""Bounds of a grid: what a draw costs grows with its chunks, and a manifest is not trusted. 2**20 chunks of the default
size are 4e9 points."""

RelativePath = Annotated[str, AfterValidator(check_path)]


def _refuse_change(name: str) -> NoReturn:
    raise AttributeError(
        f"{name} is not changed in place, which the manifest would not notice; make another with "
        f"model_copy(update={{{name!r}: ...}}), and assign the entry that has it: manifest.samples[sample_id] = entry."
    )


class ManifestModel(BaseModel):
    """A part of the manifest; to make one that is invalid raises InvalidManifest, in words that need no pydantic."""

    # Extra keys are ignored, so that stores of older and newer writers stay readable.
    model_config = ConfigDict(extra="ignore")

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise InvalidManifest(f"{type(self).__name__} is refused: {explain(error)}.") from error

    # Says that it adds nothing to what is validated; else models within models would be made by it, one by one.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # pydantic's own mark


class _Fixed(ManifestModel):
    """A value that is replaced and never changed: a change to what a table hands out would not reach the table."""

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        _refuse_change(name)

    def __delattr__(self, name: str) -> NoReturn:
        _refuse_change(name)


class DomainSample(_Fixed):
    """The grid of one domain of one sample.

    `n_points` rows lie in `n_chunks` chunks of `chunk_points`, the last one short where they do not divide, packed
    into shards of `shard_points` rows.
    """

    n_points: int = Field(gt=0, le=MAX_POINTS)
    chunk_points: int = Field(gt=0, le=MAX_POINTS)
    shard_points: int = Field(gt=0, le=2 * MAX_POINTS)
    n_chunks: int = Field(gt=0, le=MAX_CHUNKS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_chunks != math.ceil(self.n_points / self.chunk_points):
            raise ValueError(f"{self.n_points} points in chunks of {self.chunk_points} are not {self.n_chunks} chunks")
        if self.shard_points % self.chunk_points:
            raise ValueError(f"a shard of {self.shard_points} rows is no whole number of chunks")
        return self


class _Grids(dict[str, DomainSample]):
    """The grids of an entry that a table hands out; a pickle or deep copy of them is a dict to be changed at will."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        _refuse_change("domains")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[dict[Any, Any]], tuple[dict[str, DomainSample]]]:
        return dict, (dict(self),)


class SampleEntry(_Fixed):
    """One sample: its group's path below the root, its grids by domain, and a digest of its content.

    `digest` is `sha256:<hex>` over the stored values; stores of other writers have none.
    """

    relpath: RelativePath
    domains: dict[str, DomainSample]
    digest: str | None = None


# Plain tuples: named ones would take ten times as long to unpickle, which every spawned worker does.
_Grid = tuple[int, int, int, int]
_GRID_KEYS = ("n_points", "chunk_points", "shard_points", "n_chunks")
_Row = tuple[str | None, str | None, tuple[tuple[str, _Grid], ...]]
"""relpath (None: `<sample_id>.zarr`), digest, and a grid a domain."""

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
        check_path(entry.relpath)  # a copy with another path has not been checked
        grids = tuple(
            (domain, (grid.n_points, grid.chunk_points, grid.shard_points, grid.n_chunks))
            for domain, grid in entry.domains.items()
        )
        self._rows[sample_id] = _spare(sample_id, entry.relpath), entry.digest, grids
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
        for _, _, grids in self._rows.values():
            for domain, grid in grids:
                counts.setdefault(domain, []).append(grid[0])
        return counts

    def shared_relpath(self) -> str | None:
        """Return a path that two samples name, or None: what is read of one is kept under its path."""
        explicit = [relpath for relpath, _, _ in self._rows.values() if relpath is not None]
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
            if type(entry) is tuple:  # JSON has no tuples: this is what compact_object has checked
                relpath, digest, grids = entry
                table._rows[sample_id] = _spare(sample_id, relpath), digest, grids
            else:
                table[sample_id] = entry
        return table

    def _to_plain(self) -> dict[str, Any]:
        """Return what JSON shows, sorted by id: equal content gives equal bytes."""
        return {
            sample_id: {
                "relpath": f"{sample_id}.zarr" if relpath is None else relpath,
                "domains": {domain: _name_grid(grid) for domain, grid in grids},
                **({} if digest is None else {"digest": digest}),
            }
            for sample_id, (relpath, digest, grids) in sorted(self._rows.items())
        }


def compact_object(pairs: list[tuple[str, Any]]) -> Any:
    """Return a JSON object of a manifest in the form that SampleTable holds, if it is one of a sample's.

    To be given to `json.loads` as its object_pairs_hook: the tree of a whole manifest is never in memory, which for
    100,000 samples would be 300 MB. What is not as it should be stays as it is, for the models to say what is wrong.
    Raises ValueError for a key that stands twice: which of the two is meant nobody knows.
    """
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
    if (
        isinstance(domains, dict)
        and all(type(grid) is tuple for grid in domains.values())
        and (digest is None or type(digest) is str)
    ):
        return relpath, digest, tuple(domains.items())
    return found


@lru_cache(_MOST_KEPT)
def _make_entry(sample_id: str, row: _Row) -> SampleEntry:
    relpath, digest, grids = row
    return SampleEntry.model_construct(
        relpath=f"{sample_id}.zarr" if relpath is None else relpath,
        domains=_Grids((domain, DomainSample.model_construct(**_name_grid(grid))) for domain, grid in grids),
        digest=digest,
    )


def _validate_entry(sample_id: str, entry: Any) -> SampleEntry:
    if isinstance(entry, dict) and isinstance(entry.get("domains"), dict):
        grids = entry["domains"].items()
        plain = {name: _name_grid(grid) if type(grid) is tuple else grid for name, grid in grids}
        entry = {**entry, "domains": plain}
    try:
        return SampleEntry.model_validate(entry, from_attributes=True)
    except ValidationError as error:
        raise ValueError(explain(error, within=(sample_id,))) from error


def _name_grid(grid: _Grid) -> dict[str, Any]:
    return dict(zip(_GRID_KEYS, grid, strict=True))


def _spare(sample_id: str, relpath: str | None) -> str | None:
    return None if relpath == f"{sample_id}.zarr" else relpath
