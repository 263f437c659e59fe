"""Moments of rows in float64: measured of a block of rows, and of two blocks combined.

Blocks of rows are measured by the corrected two-pass rule and combined by the pairwise update, both of Chan, Golub and
LeVeque, "Algorithms for computing the sample variance" (The American Statistician 37, 1983). float16 holds only 65,536
values, so rows of float16 are counted instead, and measured by their counts.
"""

from __future__ import annotations

import base64
from typing import Any, NamedTuple, Self

import crc32c
import numpy as np

_HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16)
_MANTISSAS, _NOT_FINITE = 2**10, (0x7C00, 0xFC00)  # the bits of inf and NaN, of both signs
_COLUMNS, _CRC_BYTES, _ROWS_BYTES = 6, 4, 8
_BLOCK_VALUES = 24_576  # so that the float64 copies of a block stay in a core's cache

Floats = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]


class Moments(NamedTuple):
    """Moments of `rows` > 0 rows in float64: `low` and `high` are (dim,), `mean` and `squares` (2, dim).

    `squares` are sums of squared deviations from `mean`. Index 0 is of the values, 1 of sign(x) * log1p(abs(x)).
    """

    rows: int
    mean: Floats
    squares: Floats
    low: Floats
    high: Floats

    @property
    def columns(self) -> Floats:
        """All but the rows as one array (6, dim): the means, the squares, `low` and `high`."""
        return np.concatenate([self.mean, self.squares, [self.low, self.high]])

    @classmethod
    def of(cls, rows: int, columns: Floats) -> Self:
        """Return the moments that have these `columns`."""
        return cls(rows, columns[0:2], columns[2:4], columns[4], columns[5])

    def pack(self) -> str:
        """Return a short text that `unpack` makes the same bits of."""
        packed = np.array(self.rows, "<i8").tobytes() + self.columns.astype("<f8").tobytes()
        return base64.b64encode(packed + crc32c.crc32c(packed).to_bytes(_CRC_BYTES, "little")).decode()

    @classmethod
    def unpack(cls, text: str) -> Self:
        """Return what `pack` made a text of; raises ValueError for any other text."""
        data = base64.b64decode(text, validate=True)
        packed, crc = data[:-_CRC_BYTES], data[-_CRC_BYTES:]
        if len(packed) <= _ROWS_BYTES or crc32c.crc32c(packed).to_bytes(_CRC_BYTES, "little") != crc:
            raise ValueError("it does not hold the moments that its checksum is of")
        columns = np.frombuffer(packed, "<f8", offset=_ROWS_BYTES).reshape(_COLUMNS, -1)
        return cls.of(int(np.frombuffer(packed, "<i8", 1)[0]), columns)


def measure_values(values: np.ndarray[Any, Any]) -> Moments | None:
    """Return the moments of (N, dim) real numbers, None for no rows.

    Raises ValueError for NaN or inf, and for values whose squares leave the float64 range.
    """
    total, step = None, max(1, _BLOCK_VALUES // values.shape[1])
    for first in range(0, len(values), step):
        with np.errstate(over="ignore", invalid="ignore"):
            block = _with_logs(values[first : first + step].T)
            rows = block.shape[-1]
            # Adding zero turns -0.0 into 0.0, so that the order of the rows does not show.
            low, high = block[0].min(axis=-1) + 0.0, block[0].max(axis=-1) + 0.0
            part = _check_finite(Moments(rows, *_center(block, rows), low, high))
        total = part if total is None else combine(total, part)
    return total


def count_halves(values: np.ndarray[Any, Any]) -> Counts:
    """Return how often each float16 bit pattern occurs in each component of (N, dim): (dim, 65536) int64.

    Raises ValueError for NaN or inf.
    """
    columns = values.view(np.uint16).T
    counts = np.stack([np.bincount(column, minlength=len(_HALVES)) for column in columns])
    if any(counts[:, first : first + _MANTISSAS].any() for first in _NOT_FINITE):
        raise ValueError("they hold NaN or inf")
    return counts


def measure_counts(counts: Counts) -> Moments | None:
    """Return the moments of the float16 values that `count_halves` counted, None for no rows."""
    rows = int(counts[0].sum())
    if not rows:
        return None
    components = []
    for column in counts:
        found = np.flatnonzero(column)
        values = _with_logs(_HALVES[found])
        low, high = values[0].min(), values[0].max()
        components.append((*_center(values, rows, column[found]), low, high))
    return Moments(rows, *(np.stack(each, axis=-1) + 0.0 for each in zip(*components, strict=True)))


def _with_logs(values: np.ndarray[Any, Any]) -> Floats:
    """Return float64 of shape (2, *values.shape): the values, and sign(x) * log1p(abs(x)) of them."""
    both = np.empty((2, *values.shape))
    both[0] = values
    logs = np.abs(both[0], out=both[1])
    np.log1p(logs, out=logs)
    np.copysign(logs, both[0], out=logs)
    return both


def _center(values: Floats, rows: int, times: Counts | None = None) -> tuple[Floats, Floats]:
    """Return mean and sum of squared deviations along the last axis, each value counted `times` times.

    The values are overwritten: memory for copies of them would take as long to get as the sums.
    """
    guess = (values if times is None else values * times).sum(axis=-1) / rows
    values -= guess[..., None]
    # The deviations would sum to 0 if the guess had no rounding error; what they sum to corrects it.
    residue = (values if times is None else values * times).sum(axis=-1)
    np.square(values, out=values)
    if times is not None:
        values *= times
    squares = values.sum(axis=-1) - residue * (residue / rows)
    return guess + residue / rows, np.maximum(squares, 0.0)


def combine(first: Moments, second: Moments) -> Moments:
    """Return the moments of the rows of both."""
    rows = first.rows + second.rows
    share, weight = second.rows / rows, first.rows * (second.rows / rows)
    with np.errstate(over="ignore", invalid="ignore"):
        delta = second.mean - first.mean
        mean = first.mean + delta * share
        squares = first.squares + second.squares + delta * delta * weight
    low, high = np.minimum(first.low, second.low), np.maximum(first.high, second.high)
    return _check_finite(Moments(rows, mean, squares, low, high))


def _check_finite(moments: Moments) -> Moments:
    if not (np.isfinite(moments.low).all() and np.isfinite(moments.high).all()):
        raise ValueError("they hold NaN or inf")
    if not (np.isfinite(moments.mean).all() and np.isfinite(moments.squares).all()):
        raise ValueError("they are so large that their squares leave the float64 range")
    return moments
