"""The manifest: what a store holds, sample by sample, as pure models without any I/O."""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from drawpoint.errors import InvalidManifest

FORMAT_VERSION = 1
FIELD_DTYPES = ("float16", "float32", "float64")


def _check_path(path: str) -> str:
    """Refuse a path that could leave the store's root: manifests are not trusted."""
    if (
        any(part in ("", ".", "..") for part in path.split("/"))
        or "\\" in path
        or ":" in path.split("/", 1)[0]
        or not path.isprintable()
    ):
        raise ValueError(f"{path!r} is not a plain relative path inside the store")
    return path


def _check_dtype(dtype: str) -> str:
    if dtype not in FIELD_DTYPES:
        raise ValueError(f"dtype {dtype!r} is not one of {', '.join(FIELD_DTYPES)}")
    return dtype


RelativePath = Annotated[str, AfterValidator(_check_path)]
DtypeName = Annotated[str, AfterValidator(_check_dtype)]


class _Model(BaseModel):
    # Extra keys are ignored, so that stores of older and newer writers stay readable.
    model_config = ConfigDict(extra="ignore")


class ArrayLayout(_Model):
    """Where one field lies: array `array_name` of shape (n_points, dim), stored as `dtype`."""

    array_name: RelativePath
    field: str
    dtype: DtypeName
    dim: int = Field(gt=0)


class DomainLayout(_Model):
    """The arrays of a domain by canonical field; `position` names the one that holds coordinates."""

    position: str
    arrays: dict[str, ArrayLayout]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.position not in self.arrays:
            raise ValueError(f"the position field {self.position!r} is not among the arrays")
        for field, layout in self.arrays.items():
            if layout.field != field:
                raise ValueError(f"array {field!r} names another field, {layout.field!r}")
        return self


class DomainSample(_Model):
    """The grid of one domain of one sample: `n_points` rows in `n_chunks` chunks of `chunk_points`,

    the last one short where they do not divide, packed into shards of `shard_points` rows.
    """

    n_points: int = Field(gt=0)
    chunk_points: int = Field(gt=0)
    shard_points: int = Field(gt=0)
    n_chunks: int = Field(gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_chunks != math.ceil(self.n_points / self.chunk_points):
            raise ValueError(f"{self.n_points} points in chunks of {self.chunk_points} are not {self.n_chunks} chunks")
        if self.shard_points % self.chunk_points:
            raise ValueError(f"a shard of {self.shard_points} rows is no whole number of chunks")
        return self


class SampleEntry(_Model):
    """One sample: its group's path below the root, its grids by domain, and a digest of its content.

    `digest` is `sha256:<hex>` over the stored values; stores of other writers have none.
    """

    relpath: RelativePath
    domains: dict[str, DomainSample]
    digest: str | None = None


class StoreManifest(_Model):
    """All that is known of a store without reading its data; `samples` is keyed by sample id."""

    dataset_name: str
    format_version: int = FORMAT_VERSION
    shuffle_seed: int
    coords_dtype: DtypeName = "float32"
    values_dtype: DtypeName = "float16"
    compressor: str = "blosc-zstd"
    domains: dict[str, DomainLayout]
    samples: dict[str, SampleEntry] = Field(default_factory=dict)

    _revision: str | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _check_version(cls, data: Any) -> Any:
        version = data.get("format_version", FORMAT_VERSION) if isinstance(data, dict) else FORMAT_VERSION
        if version != FORMAT_VERSION:
            raise ValueError(
                f"format_version {version!r} is not known here (this drawpoint reads {FORMAT_VERSION}); "
                "a newer drawpoint may"
            )
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        fields = [field for domain in self.domains.values() for field in domain.arrays]
        if len(fields) != len(set(fields)):
            raise ValueError("a field belongs to more than one domain")
        for sample_id, entry in self.samples.items():
            if not entry.domains.keys() <= self.domains.keys():
                stray = sorted(entry.domains.keys() - self.domains.keys())
                raise ValueError(f"sample {sample_id!r} has domains without a layout: {', '.join(stray)}")
        return self

    @property
    def revision(self) -> str:
        """The sha256 (hex) of the manifest's bytes: as read, or as they would be written now."""
        return self._revision or hashlib.sha256(self.to_json()).hexdigest()

    @property
    def fields(self) -> dict[str, ArrayLayout]:
        """All fields of the store by canonical name, domain by domain."""
        return {field: layout for domain in self.domains.values() for field, layout in domain.arrays.items()}

    def to_json(self) -> bytes:
        """Return the manifest's bytes: equal content gives equal bytes, whatever order it was added in."""
        ordered = self.model_copy(update={"samples": dict(sorted(self.samples.items()))})
        return ordered.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, *, origin: str = "manifest") -> Self:
        """Parse the bytes of a manifest; raises InvalidManifest naming `origin` and what is wrong."""
        try:
            manifest = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
            raise InvalidManifest(f"{origin} is refused: {where + ': ' if where else ''}{reason}.") from error
        manifest._revision = hashlib.sha256(data).hexdigest()  # noqa: SLF001  it is our own
        return manifest
