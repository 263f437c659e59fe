"""The row that a sample has in an array of all samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.recipes.reading.array_choice import MAX_COMPONENTS, ArrayChoice, describe

if TYPE_CHECKING:
    from drawpoint_store.data_files.data_file import ArrayInfo, DataFile


def read_sample_row(file: DataFile, chosen: ArrayChoice, index: str, name: str) -> np.ndarray[Any, Any]:
    """Return the values of the sample in row `index`, shape (n, dim); `name` is that of the file.

    Raises InvalidSample for an index that is no row, and where it is not clear which axis holds components.
    """
    array = chosen.arrays[0]
    if not index.isdecimal() or int(index) >= array.n_rows:
        raise InvalidSample(f"index {index!r} is no row of {describe(array)} of {name}, which has {array.n_rows:,}")
    axis, dim = component_axis(array, name)
    row = file.read(array, int(index), int(index) + 1).reshape(array.shape[1:] or (array.components,))
    values = row.reshape(-1, 1) if axis is None else np.moveaxis(row, axis, -1).reshape(-1, dim)
    return values if chosen.components is None else values[:, chosen.components]


def component_axis(array: ArrayInfo, name: str) -> tuple[int | None, int]:
    """Return the axis of a sample's part of an array that holds components, None for scalars, and their number.

    The other axes are of points. Raises InvalidSample where two axes are short enough to be components.
    """
    shape = array.shape[1:] or (array.components,)
    short = [axis for axis, length in enumerate(shape) if length <= MAX_COMPONENTS] if len(shape) > 1 else []
    if len(short) > 1:
        raise InvalidSample(
            f"{describe(array)} of {name} has the shape {array.shape}, in which it is not clear which axis holds "
            f"components: more than one has at most {MAX_COMPONENTS}"
        )
    return (short[0], shape[short[0]]) if short else (None, 1)
