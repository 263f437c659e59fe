"""Which rows of two files are at the same position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from drawpoint.errors import InvalidSample

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class PositionPairs:
    """The row of another file at the position of each row of a domain's: `rows` (n,), int64, -1 where there is none.

    Of positions that several rows share, the first row goes with the first of the other file and so on, if both files
    have as many. Otherwise `alike` are rows of the other file that have to have the values of those in `first`.
    """

    rows: Array
    alike: Array
    first: Array

    @classmethod
    def find(cls, positions: Array, others: Array) -> Self:
        """Pair positions (n, 3) with equal ones of `others` (m, 3): exactly equal, or as float32 if either is that."""
        dtype = min(positions.dtype, others.dtype, key=lambda each: each.itemsize)
        n = len(positions)
        both = np.concatenate([positions.astype(dtype), others.astype(dtype)])
        order = np.lexsort(both.T)  # stable: at one position come rows of the domain, then others, each in file order
        both = both[order]
        begins = np.ones(len(both), bool)
        begins[1:] = (both[1:] != both[:-1]).any(axis=1)
        del both
        group = np.cumsum(begins) - 1
        is_other = order >= n
        size = int(group[-1]) + 1 if len(group) else 0
        n_rows, n_others = np.bincount(group[~is_other], minlength=size), np.bincount(group[is_other], minlength=size)
        first_other = np.flatnonzero(begins) + n_rows
        alone = ~is_other
        rank = np.where((n_rows == n_others)[group], np.arange(len(order)) - np.flatnonzero(begins)[group], 0)
        partner = np.where(n_others[group] > 0, first_other[group] + rank, -1)[alone]
        rows = np.full(n, -1, np.int64)
        rows[order[alone]] = np.where(partner >= 0, order[partner] - n, -1)
        unclear = is_other & ((n_rows != n_others) & (n_rows > 0) & (n_others > 1))[group]
        return cls(rows, order[unclear] - n, order[first_other[group[unclear]]] - n)

    def take(self, values: Array, kept: Array | None, file: str) -> Array:
        """Return the other file's values (m, dim) at the domain's rows, or at those that are `kept`.

        Raises InvalidSample, with their number, where rows have no partner, and where rows at one position differ in
        their values and cannot be told apart.
        """
        rows = self.rows if kept is None else self.rows[kept]
        missing = int((rows < 0).sum())
        if missing:
            raise InvalidSample(
                f"{missing:,} of {len(rows):,} points are not among the {len(values):,} of {file}, where positions "
                "have to be exactly the same; leave the sample out with exclude, or mend its files"
            )
        unclear = int((values[self.alike] != values[self.first]).any(axis=1).sum())
        if unclear:
            raise InvalidSample(
                f"{file} has {unclear:,} points at the position of another, with other values, and not as many points "
                "there as the domain, so that it is not clear which belong together; leave the sample out with exclude"
            )
        return values[rows]
