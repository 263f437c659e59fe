"""The row that a sample has in an array of all samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.recipes.reading.array_choice import MAX_COMPONENTS, ArrayChoice, describe

if TYPE_CHECKING:
    from drawpoint_store.data_files.data_file import ArrayInfo, DataFile


def read_sample_row(
    file: DataFile, chosen: ArrayChoice, index: str, axis: int | None, name: str
) -> np.ndarray[Any, Any]:
    """Return the values of the sample in row `index`, shape (n, dim); `name` is that of the file.

    `axis` of that row holds components, as `component_axis` says. Raises InvalidSample for an index that is no row.
    """
    array = chosen.arrays[0]
    if not index.isdecimal() or int(index) >= array.n_rows:
        raise InvalidSample(f"index {index!r} is no row of {describe(array)} of {name}, which has {array.n_rows:,}")
    row = file.read(array, int(index), int(index) + 1).reshape(_row_shape(array))
    values = row.reshape(-1, 1) if axis is None else np.moveaxis(row, axis, -1).reshape(-1, row.shape[axis])
    return values if chosen.components is None else values[:, chosen.components]


def component_axis(array: ArrayInfo, name: str, *, dim: int | None, n_points: int | None) -> tuple[int | None, int]:
    """Return the axis of a sample's row of an array that holds components, None for scalars, and their number.

    The other axes are of points. `dim` and `n_points` are what the field is known to have: of the axes that are short
    enough to be components, one that leaves so many points counts, the last where several do. Raises InvalidSample,
    naming the file `name`, where nothing tells which axis it is.
    """
    shape = _row_shape(array)
    short = [axis for axis, length in enumerate(shape) if length <= MAX_COMPONENTS] if len(shape) > 1 else []
    known: list[tuple[int | None, int]] = [(None, 1), *((axis, shape[axis]) for axis in short)]
    if n_points is not None:
        known = [each for each in known if math.prod(shape) == n_points * each[1]]
    fitting = [each for each in known if each[1] == dim]
    if n_points is not None and not fitting:
        fitting = known
    if fitting:
        return fitting[-1]
    if len(short) > 1:
        raise InvalidSample(
            f"{describe(array)} of {name} has the shape {array.shape}, in which it is not clear which axis holds "
            f"components: more than one has at most {MAX_COMPONENTS}; save it with one such axis"
        )
    return (short[0], shape[short[0]]) if short else (None, 1)


def n_points_of(array: ArrayInfo, axis: int | None) -> int:
    """Return how many points a sample's row of an array has."""
    shape = _row_shape(array)
    return math.prod(shape) // (1 if axis is None else shape[axis])


def _row_shape(array: ArrayInfo) -> tuple[int, ...]:
    return array.shape[1:] or (array.components,)
