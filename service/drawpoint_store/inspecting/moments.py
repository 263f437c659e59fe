"""Moments of the components of a field, in float64: pure, in blocks, and combined without loss.

A block is measured by the corrected two-pass rule, and blocks are combined by the pairwise update, both of
Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (The American Statistician 37, 1983).
float16 holds only 65,536 values, so float16 fields are counted instead, and measured by their counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

HALF_VALUES = 65_536
"""How many values float16 has, counting each NaN and both zeros."""

_HALVES = np.arange(HALF_VALUES, dtype=np.uint16).view(np.float16)
_NOT_FINITE = "they hold NaN or inf"
_BLOCK_ROWS = 8_192  # so that the float64 copies of a block stay in a core's cache

Floats = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of `rows` > 0 rows; the others are float64 of shape (dim,).

    `squares` is the sum of squared deviations from `mean`; the `log_` pair is of sign(x) * log1p(abs(x)).
    """

    rows: int
    mean: Floats
    squares: Floats
    low: Floats
    high: Floats
    log_mean: Floats
    log_squares: Floats


def measure_values(values: np.ndarray[Any, Any]) -> Moments | None:
    """Return the moments of (N, dim) real numbers, None for no rows.

    Raises ValueError for NaN or inf, and for values whose squares leave the float64 range.
    """
    total = None
    for first in range(0, len(values), _BLOCK_ROWS):
        block = np.array(values[first : first + _BLOCK_ROWS].T, dtype=np.float64, order="C")
        rows = block.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            low, high = block.min(axis=1), block.max(axis=1)
            logs = np.copysign(np.log1p(np.abs(block)), block)
            mean, squares = _center(block, rows)
            log_mean, log_squares = _center(logs, rows)
        # Adding zero turns -0.0 into 0.0, so that the order of the rows does not show.
        part = Moments(rows, mean, squares, low + 0.0, high + 0.0, log_mean, log_squares)
        _check_finite(part)
        total = part if total is None else combine(total, part)
    return total


def count_halves(values: np.ndarray[Any, Any]) -> Counts:
    """Return how often each float16 bit pattern occurs in each component of (N, dim): (dim, 65536) int64.

    Raises ValueError for NaN or inf.
    """
    patterns = values.view(np.uint16)
    counts = np.stack([np.bincount(patterns[:, each], minlength=HALF_VALUES) for each in range(values.shape[1])])
    if counts[:, ~np.isfinite(_HALVES)].any():
        raise ValueError(_NOT_FINITE)
    return counts


def measure_counts(counts: Counts) -> Moments | None:
    """Return the moments of the float16 values that `count_halves` counted, None for no rows."""
    rows = int(counts[0].sum())
    if rows == 0:
        return None
    components = []
    for column in counts:
        found = np.flatnonzero(column)
        times, values = column[found], _HALVES[found].astype(np.float64)
        logs = np.copysign(np.log1p(np.abs(values)), values)
        components.append((*_center(values, rows, times), values.min(), values.max(), *_center(logs, rows, times)))
    mean, squares, low, high, log_mean, log_squares = np.array(components, dtype=np.float64).T + 0.0
    return Moments(rows, mean, squares, low, high, log_mean, log_squares)


def combine(first: Moments, second: Moments) -> Moments:
    """Return the moments of the rows of both."""
    rows = first.rows + second.rows
    share, weight = second.rows / rows, first.rows * (second.rows / rows)
    with np.errstate(over="ignore", invalid="ignore"):
        delta, log_delta = second.mean - first.mean, second.log_mean - first.log_mean
        both = Moments(
            rows,
            first.mean + delta * share,
            first.squares + second.squares + delta * delta * weight,
            np.minimum(first.low, second.low),
            np.maximum(first.high, second.high),
            first.log_mean + log_delta * share,
            first.log_squares + second.log_squares + log_delta * log_delta * weight,
        )
    _check_finite(both)
    return both


def _center(values: Floats, rows: int, times: Counts | None = None) -> tuple[Floats, Floats]:
    """Return mean and sum of squared deviations along the last axis, each value counted `times` times."""
    weights = 1 if times is None else times
    guess = (values * weights if times is not None else values).sum(axis=-1) / rows
    deviations = values - guess[..., None]
    weighted = deviations * weights if times is not None else deviations
    # The deviations would sum to 0 if the guess had no rounding error; what they sum to corrects it.
    residue = weighted.sum(axis=-1)
    squares = (weighted * deviations).sum(axis=-1) - residue * (residue / rows)
    return guess + residue / rows, np.maximum(squares, 0.0)


def _check_finite(moments: Moments) -> None:
    if not (np.isfinite(moments.low).all() and np.isfinite(moments.high).all()):
        raise ValueError(_NOT_FINITE)
    if not (np.isfinite(moments.mean).all() and np.isfinite(moments.squares).all()):
        raise ValueError("they are so large that their squares leave the float64 range")
