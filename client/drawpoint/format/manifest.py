"""The manifest: what a store holds, sample by sample, as pure models without any I/O."""

from __future__ import annotations

import gc
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)

from drawpoint.errors import InvalidManifest
from drawpoint.format.invalid_values import explain
from drawpoint.format.precision import FieldPrecision
from drawpoint.format.sample_entry import DomainSample, ManifestModel, RelativePath, SampleEntry
from drawpoint.format.sample_table import SampleTable, compact_object

__all__ = ["ArrayLayout", "DomainLayout", "DomainSample", "SampleEntry", "SampleTable", "StoreManifest"]

FORMAT_VERSION = 1
MAX_DIM = 1024
FIELD_DTYPES = ("float16", "float32", "float64")
MAX_TEXTS = {"units": 64, "description": 500}
"""The most characters that may say something of a field: terminals and web pages show them."""


def _check_dtype(dtype: str) -> str:
    if dtype not in FIELD_DTYPES:
        raise ValueError(f"dtype {dtype!r:.40} is not one of {', '.join(FIELD_DTYPES)}")
    return dtype


def check_text(name: str, text: object) -> str | None:
    """Return the `units` or `description` of a field, None for none.

    Raises ValueError for anything but text that prints, of 1 to MAX_TEXTS characters.
    """
    if text is None or (isinstance(text, str) and text.isprintable() and 0 < len(text) <= MAX_TEXTS[name]):
        return text
    shown = f"{len(text):,} characters" if isinstance(text, str) and len(text) > MAX_TEXTS[name] else f"{text!r:.80}"
    raise ValueError(f"{name} must be text that prints, of 1 to {MAX_TEXTS[name]} characters, not {shown}")


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

DtypeName = Annotated[str, AfterValidator(_check_dtype)]
# Another writer may have a key of this name that means something else.
_OptionalText = Annotated[str | None, BeforeValidator(lambda text: text if isinstance(text, str) and text else None)]
ShuffleRule = _OptionalText
Units = Annotated[_OptionalText, AfterValidator(partial(check_text, "units"))]
Description = Annotated[_OptionalText, AfterValidator(partial(check_text, "description"))]


def _known_or_none(data: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Return what `check` makes of the data, nothing where another writer has a key of this name for something else."""
    try:
        return check(data)
    except ValidationError:
        return {}


Precision = Annotated[dict[str, FieldPrecision], WrapValidator(_known_or_none)]


class _Assignable(ManifestModel):
    """A part of the manifest that is checked when it is changed, too; a change that is refused changes nothing."""

    model_config = ConfigDict(validate_assignment=True)

    def __setattr__(self, name: str, value: Any) -> None:
        before = {**self.__dict__}
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            self.__dict__.update(before)  # pydantic leaves what a check of the whole model has refused
            raise InvalidManifest(f"the change of the manifest is refused: {explain(error)}.") from error


class ArrayLayout(_Assignable):
    """Where one field lies: array `array_name` of shape (n_points, dim), stored as `dtype`.

    `units` (such as m/s) and `description` are for people: nothing is converted by them. None where nobody said.
    """

    array_name: RelativePath
    field: str
    dtype: DtypeName
    dim: int = Field(gt=0, le=MAX_DIM)
    units: Units = None
    description: Description = None

    @model_serializer(mode="wrap")
    def _leave_out_none(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = serialise(self)
        return {name: value for name, value in found.items() if value is not None}


class DomainLayout(_Assignable):
    """The arrays of a domain by canonical field; `position` names the one that holds coordinates."""

    position: str
    arrays: dict[str, ArrayLayout]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.position not in self.arrays:
            held = ", ".join(self.arrays) or "none"
            raise ValueError(f"position names {self.position!r:.80}, which is none of its arrays ({held:.200})")
        for field, layout in self.arrays.items():
            if layout.field != field:
                raise ValueError(f"array {field!r} names another field, {layout.field!r}")
        return self


class StoreManifest(_Assignable):
    """All that is known of a store without reading its data; `samples` is keyed by sample id."""

    dataset_name: str
    format_version: int = FORMAT_VERSION
    shuffle_seed: int
    shuffle: ShuffleRule = None
    """The rule by which all samples were shuffled, see `drawpoint.source_rows`; None where it is not known."""
    coords_dtype: DtypeName = "float32"
    values_dtype: DtypeName = "float16"
    compressor: str = "blosc-zstd"
    domains: dict[str, DomainLayout]
    samples: SampleTable = Field(default_factory=SampleTable)
    retired: list[str] = Field(default_factory=list)
    """Groups of earlier revisions, whose paths are never written again: somebody may still read them."""
    precision: Precision = Field(default_factory=dict)
    """What the stored dtypes rounded, by field, where the conversion of all samples has told it."""

    _read: tuple[str, SampleTable, int, str] | None = PrivateAttr(default=None)
    """What was read (all but the samples, they, their changes), and the revision that its bytes have."""

    @model_validator(mode="before")
    @classmethod
    def _check_version(cls, data: Any) -> Any:
        read = data.get if isinstance(data, dict) else partial(getattr, data)
        version = read("format_version", FORMAT_VERSION)
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
        names = [array.array_name for domain in self.domains.values() for array in domain.arrays.values()]
        if len(names) != len(set(names)):
            raise ValueError("two fields lie in one array")
        shared = self.samples.shared_relpath()
        if shared is not None:
            raise ValueError(f"two samples lie in one group, {shared!r}")
        stray = sorted(self.samples.point_counts().keys() - self.domains.keys())
        if stray:
            raise ValueError(f"samples have domains without a layout: {', '.join(stray)}")
        return self

    @property
    def revision(self) -> str:
        """The sha256 (hex) of the manifest's bytes: as read, or after a change as they would be written now."""
        if self._read is not None and self._read[:3] == self._held():
            return self._read[3]
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def fields(self) -> dict[str, ArrayLayout]:
        """All fields of the store by canonical name, domain by domain."""
        return {field: layout for domain in self.domains.values() for field, layout in domain.arrays.items()}

    def to_json(self) -> bytes:
        """Return the manifest's bytes: equal content gives equal bytes, whatever order it was added in."""
        left_out = {name for name in ("shuffle", "retired", "precision") if not getattr(self, name)}
        return self.model_dump_json(indent=1, exclude=left_out).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes, *, origin: str = "manifest") -> Self:
        """Parse the bytes of a manifest; raises InvalidManifest naming `origin` and what is wrong."""
        with _no_collection():
            try:
                found = _parse(data)
            except (ValueError, RecursionError) as error:
                raise InvalidManifest(f"{origin} is refused: it is no manifest ({error}).") from error
            manifest = cls._validate(found, origin)
        manifest._read = *manifest._held(), hashlib.sha256(data).hexdigest()  # noqa: SLF001  it is our own
        return manifest

    @classmethod
    def from_object(cls, found: object, *, origin: str = "the manifest that was given") -> Self:
        """Return the manifest that an object with these attributes, or a dict with these keys, describes.

        The models of `noether.data.zarr_store` are such objects. They hold no digests, so that none is compared.
        Raises InvalidManifest naming `origin` and what is wrong.
        """
        if not isinstance(found, Mapping) and not hasattr(found, "samples"):
            raise InvalidManifest(
                f"{origin} is refused: it is {type(found).__name__}, not a StoreManifest or an object with the "
                "attributes of one (dataset_name, shuffle_seed, domains, samples)."
            )
        return cls._validate(found, origin)

    @classmethod
    def _validate(cls, found: object, origin: str) -> Self:
        try:
            return cls.model_validate(found, from_attributes=True)
        except ValidationError as error:
            raise InvalidManifest(f"{origin} is refused: {explain(error)}.") from error

    def _held(self) -> tuple[str, SampleTable, int]:
        return self.model_dump_json(exclude={"samples"}), self.samples, self.samples.changes


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector off: of 100,000 samples none is garbage, and it would walk through them repeatedly.

    That takes a fifth of the time. Two threads may do this at a time: the one that has found it on puts it on again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def decode_json(data: bytes) -> str:
    """Return the text of a JSON document; raises ValueError where it is not UTF-8, or escapes half a character.

    json.loads alone takes both for text, and whatever prints or sends such a string fails later.
    """
    text = data.decode("utf-8-sig")
    if _SURROGATE.search(text):  # pairs of them are characters
        try:
            json.dumps(json.loads(text), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError(r"it has half of a surrogate pair, \ud800 to \udfff, which is no character") from None
    return text


def _parse(data: bytes) -> Any:
    found = json.loads(decode_json(data), object_pairs_hook=compact_object)
    known = isinstance(found, dict) and found.get("format_version", FORMAT_VERSION) == FORMAT_VERSION
    if known and "samples" not in found:  # one flipped bit in the key would make an empty store
        raise ValueError("it has no samples, not even an empty list of them")
    return found
