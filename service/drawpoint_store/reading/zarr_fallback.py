"""The way through zarr-python, for valid arrays of other writers in a form that is not read directly.

Its codecs are held to the size that a chunk has. It imports zarr, so who needs it imports it late.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import ShardingCodec
from zarr.core.metadata.v3 import ArrayV3Metadata
from zarr.core.sync import sync

from drawpoint.draw.rows import row_indices
from drawpoint.errors import ChunkDamaged, DataDamaged
from drawpoint_store.reading.arrays import MOST_CHUNK_BYTES
from drawpoint_store.reading.codecs import DECODES, most_encoded_bytes
from drawpoint_store.reading.open_sample import REMEDY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zarr.abc.codec import Codec
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer
    from zarr.storage import StorePath

    from drawpoint_store.reading.plan import ArrayDraw


_BOUNDED = ("blosc", "gzip", "zstd")
_HARMLESS = ("bytes", "crc32c", "transpose")


def read_with_zarr(
    group: StorePath, sample_id: str, draw: ArrayDraw, check_file: Callable[[str, int | None], None]
) -> np.ndarray[Any, Any]:
    """Return the drawn rows of an array, in the shape of the answer and the stored dtype.

    zarr-python takes an object that is not there for the fill value, which is right as long as what describes the array
    is there; it follows every link and reads all of a file. So `check_file` is asked about each key first, with the
    most bytes that may lie there (None: what a document may have; shards are read in parts), and raises DataDamaged.
    Raises ChunkDamaged.
    """
    name, field = draw.layout.array_name, draw.layout.field
    rows = row_indices(draw.draw.rows, draw.draw.grid.chunk_points)
    try:
        check_file(f"{name}/zarr.json", None)
        array = _bounded_array(zarr.open_array(store=group, path=name, mode="r", zarr_format=3))
        expected = (draw.draw.grid.n_points, draw.layout.dim), draw.layout.dtype
        if (array.shape, array.dtype.name) != expected:
            raise ValueError(f"it is {array.dtype} {array.shape}, and the manifest says {expected[1]} {expected[0]}")  # noqa: TRY301  one way out
        outer_rows, outer_columns = array.shards or array.chunks
        objects = itertools.product(
            sorted({int(row) // outer_rows for row in rows}), range(-(-draw.layout.dim // outer_columns))
        )
        # Twice a chunk and 1 MiB are more than any codec makes of it.
        most_bytes = sys.maxsize if array.shards else 2 * math.prod(array.chunks) * array.dtype.itemsize + 2**20
        for place in objects:
            check_file(f"{name}/{array.metadata.encode_chunk_key(place)}", most_bytes)
        values: np.ndarray[Any, Any] = np.asarray(array.oindex[rows])
        gone = next((key for key in ("zarr.json", f"{name}/zarr.json") if not sync((group / key).exists())), None)
        if gone is not None:
            raise ValueError(f"its {gone} is missing")  # noqa: TRY301  one way out
    except DataDamaged:
        raise
    except Exception as error:  # whatever zarr-python and its codecs raise for bytes that they cannot read
        raise ChunkDamaged(
            f"{field} in sample {sample_id!r} cannot be read: {str(error).rstrip('.')}; {REMEDY}.",
            sample=sample_id,
            field=field,
        ) from error
    return values.reshape(draw.shape)


@dataclass(frozen=True)
class _BoundedCodec(BytesBytesCodec):
    """Decodes `name` (blosc, gzip or zstd) to no more than a chunk has, whatever the encoded bytes stand for."""

    is_fixed_size = False
    name: str

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "configuration": {}}

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        nbytes = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
        most = most_encoded_bytes(nbytes)  # what another codec has made of a chunk may be a little larger
        return chunk_spec.prototype.buffer.from_bytes(bytes(DECODES[self.name](chunk_bytes.to_bytes(), most)))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        raise NotImplementedError  # zarr-python's own compressors do not know it either

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)


def _bounded_array(array: zarr.Array[Any]) -> zarr.Array[Any]:
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
        return _BoundedCodec(name)
    if name in _HARMLESS:
        return codec
    known = ", ".join(sorted((*_BOUNDED, *_HARMLESS, "sharding_indexed")))
    raise ValueError(f"it is stored with the codec {name[:60]!r}, and what can be read is {known}")
