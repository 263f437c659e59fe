"""The wire format: one safetensors file a response, canonical byte for byte, and its digest.

Layout (https://github.com/huggingface/safetensors, "Format"): the header's length as 8 bytes little-endian,
the header as JSON padded with spaces to a multiple of 8, then the tensors without gaps. Ours is canonical:
keys sorted, no white space, tensors ordered by falling item size and then by name, so that each is aligned
and equal content gives equal bytes.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import crc32c
import numpy as np

from drawpoint.errors import ResponseDamaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CONTENT_TYPE = "application/vnd.safetensors"
PAYLOAD_VERSION = 1
"""Part of every ETag: a change of the layout must not be answered with 304."""

MAX_HEADER_BYTES = 100_000_000
"""The cap of the safetensors library itself (its `MAX_HEADER_SIZE`)."""

_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_compact = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_MOST_DIMENSIONS = 64  # of a NumPy array
_TAGS = {"float16": "F16", "float32": "F32", "float64": "F64"}
_DTYPES = {tag: np.dtype(name).newbyteorder("<") for name, tag in _TAGS.items()}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor to be sent: its key, NumPy dtype name and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Payload:
    """One response body in one allocation; `tensors` are writable views into `body`, to be filled."""

    body: bytearray
    tensors: dict[str, np.ndarray[Any, Any]]


class Layout:
    """Where each of some tensors lies in a body; many bodies share one and differ in their metadata.

    `nbytes` is the size of all tensors.
    """

    def __init__(self, tensors: Iterable[TensorSpec]) -> None:
        self._views: list[tuple[str, tuple[int, ...], np.dtype[Any], int]] = []
        members = {}
        end = 0
        for spec in sorted(tensors, key=lambda spec: (-np.dtype(spec.dtype).itemsize, spec.name)):
            tag, begin = _TAGS[spec.dtype], end
            end += spec.nbytes
            self._views.append((spec.name, spec.shape, _DTYPES[tag], begin))
            members[spec.name] = {"data_offsets": [begin, end], "dtype": tag, "shape": spec.shape}
        self.nbytes = end
        before = {name: member for name, member in members.items() if name < _METADATA}
        behind = {name: member for name, member in members.items() if name > _METADATA}
        self._before = f"{_compact(before)[:-1]}{',' if before else ''}{_compact(_METADATA)}:"
        self._behind = f"{',' if behind else ''}{_compact(behind)[1:]}"

    def allocate(self, metadata: Mapping[str, str]) -> Payload:
        """Make a body with its header; the tensors' bytes are zero until they are filled."""
        head = self._head(metadata)
        body = bytearray(len(head) + self.nbytes)
        body[: len(head)] = head
        views = {name: np.ndarray(shape, dtype, body, len(head) + at) for name, shape, dtype, at in self._views}
        return Payload(body, views)

    def measure(self, metadata: Mapping[str, str]) -> int:
        """Return the length in bytes of the body that `allocate` would make, without making it."""
        return len(self._head(metadata)) + self.nbytes

    def _head(self, metadata: Mapping[str, str]) -> bytes:
        """Return the body's bytes before the tensors."""
        text = f"{self._before}{_compact(dict(metadata))}{self._behind}".encode()
        text += b" " * (-len(text) % _LENGTH_BYTES)
        return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def allocate(tensors: Sequence[TensorSpec], metadata: Mapping[str, str]) -> Payload:
    """Lay out a body and write its header; the tensors' bytes are zero until they are filled."""
    return Layout(tensors).allocate(metadata)


def measure(tensors: Sequence[TensorSpec], metadata: Mapping[str, str]) -> int:
    """Return the length in bytes of the body that `allocate` would make, without making it."""
    return Layout(tensors).measure(metadata)


def parse(body: bytearray) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """Return the tensors of a body as writable arrays that share its memory, and its metadata.

    Raises ResponseDamaged unless the header is well formed and its tensors tile the body exactly.
    """
    if len(body) < _LENGTH_BYTES:
        raise ResponseDamaged(f"the response has {len(body)} bytes, too few for a safetensors header.")
    length = int.from_bytes(body[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + length
    if length > MAX_HEADER_BYTES or start > len(body):
        raise ResponseDamaged(f"the response's safetensors header claims {length} bytes of {len(body)}.")
    try:
        header: dict[str, Any] = json.loads(body[_LENGTH_BYTES:start].decode(), object_pairs_hook=_unique)
        metadata = _texts(header.pop(_METADATA, {}))
        extents = {name: _extent(spec) for name, spec in header.items()}
        _check_tiling(extents.values(), len(body) - start)
        tensors = {
            name: np.ndarray(shape, dtype, body, start + begin) for name, (dtype, shape, begin, _) in extents.items()
        }
    # A header nested a thousand deep ends in RecursionError.
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ResponseDamaged(f"the response's safetensors header does not parse: {str(error)[:200]}.") from error
    return tensors, metadata


_Extent = tuple[np.dtype[Any], tuple[int, ...], int, int]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _texts(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ does not map names to texts")
    return metadata


def _extent(spec: dict[str, Any]) -> _Extent:
    """Return dtype, shape, first byte and end of one tensor, checked against each other."""
    dtype, shape, (begin, end) = _DTYPES[spec["dtype"]], spec["shape"], spec["data_offsets"]
    # `type`, because True is an int to isinstance.
    if type(shape) is not list or any(type(number) is not int or number < 0 for number in (*shape, begin, end)):
        raise ValueError("shapes and offsets are not lists of whole numbers")
    if len(shape) > _MOST_DIMENSIONS or math.prod(shape) * dtype.itemsize != end - begin:
        raise ValueError("the bytes of a tensor are more or fewer than its shape needs")
    return dtype, tuple(shape), begin, end


def _check_tiling(extents: Iterable[_Extent], length: int) -> None:
    place = 0
    for begin, end in sorted((begin, end) for _, _, begin, end in extents):
        if begin != place:
            raise ValueError("its tensors overlap or leave a gap")
        place = end
    if place != length:
        raise ValueError(f"its tensors fill {place} bytes, and {length} follow it")


def content_digest(body: bytes | bytearray | memoryview) -> str:
    """Return the Content-Digest field (RFC 9530) of a body: its crc32c, 4 bytes big-endian, in base64."""
    return f"crc32c=:{base64.b64encode(crc32c.crc32c(body).to_bytes(4, 'big')).decode()}:"
