"""Arrays in a form that is not read directly: valid Zarr of other writers, read by zarr-python."""

from __future__ import annotations

import itertools
import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.draw.rows import row_indices
from drawpoint.errors import ChunkDamaged, DataDamaged
from drawpoint_store.reading.sample import REMEDY

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarr.abc.store import Store

    from drawpoint_store.reading.plan import ArrayDraw


def read_through_zarr(
    store: Store, sample_id: str, draw: ArrayDraw, check_file: Callable[[str, int | None], None]
) -> np.ndarray[Any, Any]:
    """Return the drawn rows of an array, in the shape of the answer and the stored dtype.

    zarr-python takes an object that is not there for the fill value, which is right as long as what describes the array
    is there; it follows every link and reads all of a file. So `check_file` is asked about each key first, with the
    most bytes that may lie there (None: what a document may have; shards are read in parts), and raises DataDamaged.
    Raises ChunkDamaged.
    """
    import zarr  # noqa: PLC0415  see stores.make_store
    from zarr.core.sync import sync  # noqa: PLC0415

    from drawpoint_store.reading.bounded_codecs import bounded_array  # noqa: PLC0415  it imports zarr

    name, field = draw.layout.array_name, draw.layout.field
    rows = row_indices(draw.draw.rows, draw.draw.grid.chunk_points)
    try:
        check_file(f"{name}/zarr.json", None)
        array = bounded_array(zarr.open_array(store=store, path=name, mode="r", zarr_format=3))
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
        gone = next((key for key in ("zarr.json", f"{name}/zarr.json") if not sync(store.exists(key))), None)
        if gone is not None:
            raise ValueError(f"its {gone} is missing")  # noqa: TRY301  as above
    except DataDamaged:
        raise
    except Exception as error:  # whatever zarr-python and its codecs raise for bytes that they cannot read
        raise ChunkDamaged(
            f"{field} in sample {sample_id!r} cannot be read: {str(error).rstrip('.')}; {REMEDY}.",
            sample=sample_id,
            field=field,
        ) from error
    return values.reshape(draw.shape)
