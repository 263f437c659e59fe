"""Arrays in a form that is not read directly: valid Zarr of other writers, read by zarr-python."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import ChunkDamaged, ChunkMissing, DataDamaged
from drawpoint.rows import row_indices
from drawpoint_store.reading.sample import REMEDY

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarr.abc.store import Store

    from drawpoint_store.plan import ArrayDraw


def read_through_zarr(
    store: Store, sample_id: str, draw: ArrayDraw, check_file: Callable[[str], None]
) -> np.ndarray[Any, Any]:
    """Return the drawn rows of an array, in the shape of the answer and the stored dtype.

    zarr-python takes an object that is gone for one full of zeros, so that what it will read is looked up first; and
    it follows every link, so that `check_file` is asked about each key first, and raises DataDamaged.
    Raises ChunkMissing and ChunkDamaged.
    """
    import zarr  # noqa: PLC0415  see stores.make_store
    from zarr.core.sync import sync  # noqa: PLC0415

    from drawpoint_store.reading.bounded_codecs import bounded_array  # noqa: PLC0415  it imports zarr

    name, field = draw.layout.array_name, draw.layout.field
    rows = row_indices(draw.draw.rows, draw.draw.grid.chunk_points)
    try:
        check_file(f"{name}/zarr.json")
        array = bounded_array(zarr.open_array(store=store, path=name, mode="r", zarr_format=3))
        expected = (draw.draw.grid.n_points, draw.layout.dim), draw.layout.dtype
        if (array.shape, array.dtype.name) != expected:
            raise ValueError(f"it is {array.dtype} {array.shape}, and the manifest says {expected[1]} {expected[0]}")  # noqa: TRY301  one way out
        outer_rows, outer_columns = array.shards or array.chunks
        objects = itertools.product(
            sorted({int(row) // outer_rows for row in rows}), range(-(-draw.layout.dim // outer_columns))
        )
        keys = [f"{name}/{array.metadata.encode_chunk_key(place)}" for place in objects]
        missing = next((key for key in keys if not sync(store.exists(key))), None)
        if not missing:
            for key in keys:
                check_file(key)
        values: np.ndarray[Any, Any] | None = None if missing else np.asarray(array.oindex[rows])
    except DataDamaged:
        raise
    except Exception as error:  # whatever zarr-python and its codecs raise for bytes that they cannot read
        raise ChunkDamaged(
            f"{field} in sample {sample_id!r} cannot be read: {str(error).rstrip('.')}; {REMEDY}.",
            sample=sample_id,
            field=field,
        ) from error
    if values is None:
        raise ChunkMissing(
            f"{missing} of {field} in sample {sample_id!r} is missing; {REMEDY}.", sample=sample_id, field=field
        )
    return values.reshape(draw.shape)
