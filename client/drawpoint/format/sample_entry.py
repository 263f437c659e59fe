"""One sample of a store as a manifest lists it: a model that is checked when it is made and never changed."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, NoReturn, Self, TypeVar
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from drawpoint.errors import InvalidManifest
from drawpoint.format.invalid_values import explain
from drawpoint.format.scalars import check_scalars


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
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # the mark that pydantic's RootModel has; functions declare none


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


_Member = TypeVar("_Member")


class FixedDict(dict[str, _Member]):
    """Named parts of an entry that a table hands out; a pickle or deep copy of them is a dict to be changed at will."""

    attribute: ClassVar[str]

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        _refuse_change(self.attribute)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[dict[Any, Any]], tuple[dict[str, _Member]]]:
        return dict, (dict(self),)


class FixedGrids(FixedDict[DomainSample]):
    attribute = "domains"


class FixedScalars(FixedDict[float]):
    attribute = "scalars"


class SampleEntry(_Fixed):
    """One sample: its group's path below the root, its grids by domain, a digest of its content, and named numbers.

    `digest` is `sha256:<hex>` over the stored values; stores of other writers have none. `scalars` are finite, such as
    `U_inf` or `Cd`, by names of a letter followed by letters, digits and underscores.
    """

    relpath: RelativePath
    domains: dict[str, DomainSample]
    digest: str | None = None
    scalars: Annotated[dict[str, float], BeforeValidator(check_scalars)] = Field(default_factory=dict)
