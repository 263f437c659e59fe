"""Arrays in a form that is not read directly: valid Zarr of other writers, read by zarr-python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drawpoint.errors import ChunkDamaged, ChunkMissing
from drawpoint_store.draw import row_indices

if TYPE_CHECKING:
    import numpy as np
    from zarr.abc.store import Store

    from drawpoint_store.plan import ArrayDraw


def read_through_zarr(store: Store, sample_id: str, draw: ArrayDraw) -> np.ndarray[Any, Any]:
    """Return the drawn rows of an array, in the shape of the answer and the stored dtype.

    zarr-python takes an object that is gone for one full of zeros, so that what it will read is looked up first.
    Raises ChunkMissing and ChunkDamaged.
    """
    import zarr  # noqa: PLC0415  see stores.make_store
    from zarr.core.sync import sync  # noqa: PLC0415

    name, field = draw.layout.array_name, draw.layout.field
    array = zarr.open_array(store=store, path=name, mode="r")
    rows = row_indices(draw.draw.rows, draw.draw.grid.chunk_points)
    outer_rows, outer_columns = array.shards or array.chunks
    for row in sorted({int(row) // outer_rows for row in rows}):
        for column in range(-(-draw.layout.dim // outer_columns)):
            key = f"{name}/{array.metadata.encode_chunk_key((row, column))}"
            if not sync(store.exists(key)):
                raise ChunkMissing(
                    f"{key} of {field} in sample {sample_id!r} is missing; restore it from a copy or convert the "
                    "sample anew.",
                    sample=sample_id,
                    field=field,
                )
    try:
        values: np.ndarray[Any, Any] = array.oindex[rows]  # type: ignore[assignment]
    except (ValueError, RuntimeError) as error:
        raise ChunkDamaged(
            f"a chunk of {field} in sample {sample_id!r} does not decode: {error}; restore it from a copy or convert "
            "the sample anew.",
            sample=sample_id,
            field=field,
        ) from error
    return values.reshape(draw.shape)
