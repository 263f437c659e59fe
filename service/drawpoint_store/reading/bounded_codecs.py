"""zarr-python's codecs for arrays of other writers, held to the size that a chunk has."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import zarr
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import ShardingCodec
from zarr.core.metadata.v3 import ArrayV3Metadata

from drawpoint_store.reading.arrays import MOST_CHUNK_BYTES
from drawpoint_store.reading.codecs import decode_at_most

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zarr.abc.codec import Codec
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer

_BOUNDED = ("blosc", "gzip", "zstd")
_HARMLESS = ("bytes", "crc32c", "transpose")


@dataclass(frozen=True)
class BoundedCodec(BytesBytesCodec):
    """Decodes `name` (blosc, gzip or zstd) to no more than a chunk has, whatever the encoded bytes stand for."""

    is_fixed_size = False
    name: str

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "configuration": {}}

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        nbytes = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
        most = nbytes + nbytes // 8 + 4096  # what another codec has made of a chunk may be a little larger
        return chunk_spec.prototype.buffer.from_bytes(bytes(decode_at_most(self.name, chunk_bytes.to_bytes(), most)))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError  # zarr-python's own compressors do not know it either

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)


def bounded_array(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """Return `array` with codecs that decode no chunk to more bytes than it has.

    Raises ValueError for chunks of more than MOST_CHUNK_BYTES, and for codecs that cannot be bounded.
    """
    nbytes = math.prod(array.chunks) * array.dtype.itemsize
    if nbytes > MOST_CHUNK_BYTES:
        raise ValueError(f"its chunks have {nbytes:,} bytes, and {MOST_CHUNK_BYTES:,} are the most")
    assert isinstance(array.metadata, ArrayV3Metadata)  # it was opened as one
    metadata = replace(array.metadata, codecs=_bounded(array.metadata.codecs))
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=array.store_path))


def _bounded(codecs: Iterable[Codec]) -> tuple[Codec, ...]:
    return tuple(_bounded_codec(codec) for codec in codecs)


def _bounded_codec(codec: Codec) -> Codec:
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=_bounded(codec.codecs), index_codecs=_bounded(codec.index_codecs))
    name = str(codec.to_dict()["name"])
    if name in _BOUNDED:
        return BoundedCodec(name)
    if name in _HARMLESS:
        return codec
    known = ", ".join(sorted((*_BOUNDED, *_HARMLESS, "sharding_indexed")))
    raise ValueError(f"it is stored with the codec {name[:60]!r}, and what can be read is {known}")
