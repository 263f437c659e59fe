"""Running statistics of one field: rows are pushed, statistics come out, two of them merge into one.

Blocks of rows are measured by the corrected two-pass rule and combined by the pairwise update, both of Chan, Golub and
LeVeque, "Algorithms for computing the sample variance" (The American Statistician 37, 1983). float16 holds only 65,536
values, so rows of float16 are counted instead, and measured by their counts.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from drawpoint.extras import importing

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

_HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16)
_BLOCK_ROWS = 8_192  # so that the float64 copies of a block stay in a core's cache

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


def _statistic(name: str) -> Any:
    return property(lambda self: self._tensor(name))


class RunningStats:
    """Statistics per component of a field, accumulated in float64 and given as float64 tensors (dim,).

    `var` and `std` are unbiased (divisor count - 1), and so NaN for a single row, as torch has it. `logmean`, `logvar`
    and `logstd` are those of sign(x) * log1p(abs(x)). float16 rows are counted by value, so that their order and
    their grouping cannot show. Before the first row every statistic raises ValueError; `count` is 0 then.

    `scale` tells what the rows were divided by before they were pushed, an expression in the scalars of their samples;
    None for values as they are stored.
    """

    mean: torch.Tensor = _statistic("mean")
    var: torch.Tensor = _statistic("var")
    std: torch.Tensor = _statistic("std")
    min: torch.Tensor = _statistic("min")
    max: torch.Tensor = _statistic("max")
    logmean: torch.Tensor = _statistic("logmean")
    logvar: torch.Tensor = _statistic("logvar")
    logstd: torch.Tensor = _statistic("logstd")

    def __init__(self, name: str | None = None, *, scale: str | None = None) -> None:
        self.name = name
        self.scale = scale
        self._label = "RunningStats" if name is None else f"RunningStats of {name}"
        self._dim: int | None = None
        self._moments: Moments | None = None  # of all rows but those of float16
        self._counts: Counts | None = None  # of those

    def push_tensor(self, x: torch.Tensor | ArrayLike) -> None:
        """Add the rows of `x`, a torch tensor or array of real numbers: (N,), or (..., dim) with any axes before `dim`.

        There may be none. Raises ValueError for other shapes and types, another dim than before, and NaN or inf;
        nothing has been added then.
        """
        rows = _as_rows(x)
        if rows is None:
            raise ValueError(
                f"{self._label} takes real numbers of shape (N,) or (..., dim), not this {type(x).__name__}."
            )
        self._check_dim(rows.shape[1])
        try:
            if rows.dtype == np.float16:
                self._add(None, _count_halves(rows))
            else:
                self._add(_measure_values(rows), None)
        except ValueError as error:
            raise ValueError(f"{self._label} cannot take these rows: {error}.") from error
        self._dim = rows.shape[1]

    def merge(self, other: RunningStats) -> None:
        """Add the rows that `other` has seen; raises ValueError if it has another dim or scale."""
        if other.scale != self.scale:
            raise ValueError(
                f"{self._label} is of rows divided by {self.scale or 'nothing'}, the other one of rows divided by "
                f"{other.scale or 'nothing'}; merge those of one scale."
            )
        if other._dim is not None:
            self._check_dim(other._dim)
            self._add(other._moments, other._counts)
            self._dim = other._dim

    @property
    def count(self) -> int:
        """Number of rows."""
        counted = 0 if self._counts is None else int(self._counts[0].sum())
        return counted + (0 if self._moments is None else self._moments.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return count, statistics as plain lists, None for NaN, without `logvar`, and a scale; needs no torch."""
        columns = self._columns()
        del columns["logvar"]  # the square of logstd; files of statistics do without
        lists = {
            name: [None if np.isnan(value) else float(value) for value in column] for name, column in columns.items()
        }
        scale = {} if self.scale is None else {"scale": self.scale}
        return {"count": self.count, **scale, **lists}

    def __repr__(self) -> str:
        lines = [f"RunningStats of {self.name or 'a field'}: {self.count:,} rows"]
        if self.count:
            for name, column in self._columns().items():
                lines.append(f"  {name:<8}" + "  ".join(f"{value:.6g}" for value in column))
        return "\n".join(lines)

    def _check_dim(self, dim: int) -> None:
        if self._dim not in (None, dim):
            raise ValueError(
                f"{self._label} has seen rows of {self._dim} components, not {dim}; give these another one."
            )

    def _add(self, moments: Moments | None, counts: Counts | None) -> None:
        if moments is not None:
            self._moments = moments if self._moments is None else _combine(self._moments, moments)
        if counts is not None:
            self._counts = counts if self._counts is None else self._counts + counts

    def _tensor(self, name: str) -> torch.Tensor:
        with importing("client", "statistics as tensors"):
            import torch  # noqa: PLC0415  the command line computes statistics without torch

        return torch.from_numpy(self._columns()[name].copy())

    def _columns(self) -> dict[str, Floats]:
        if not self.count:
            raise ValueError(f"{self._label} has no statistics: no rows have been pushed yet.")
        counted = None if self._counts is None else _measure_counts(self._counts)
        both = [moments for moments in (self._moments, counted) if moments is not None]
        rows, mean, squares, low, high = both[0] if len(both) == 1 else _combine(*both)
        var = squares / (rows - 1) if rows > 1 else np.full_like(squares, np.nan)
        std = np.sqrt(var)
        return {
            "mean": mean[0],
            "std": std[0],
            "var": var[0],
            "min": low,
            "max": high,
            "logmean": mean[1],
            "logstd": std[1],
            "logvar": var[1],
        }


def _as_rows(x: torch.Tensor | ArrayLike) -> np.ndarray[Any, Any] | None:
    """Return `x` as (N, dim) real numbers, or None if it is none."""
    torch = sys.modules.get("torch")  # without torch there are no tensors
    if torch is not None and isinstance(x, torch.Tensor):
        on_host = x.detach().cpu()
        foreign = on_host.is_floating_point() and on_host.dtype not in (torch.float16, torch.float32, torch.float64)
        array = (on_host.double() if foreign else on_host).numpy()  # NumPy has no bfloat16, nor any 8-bit float
    else:
        array = np.asarray(x)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim == 0 or array.shape[-1] == 0 or array.dtype.kind not in "fiu":
        return None
    rows: np.ndarray[Any, Any] = array.reshape(-1, array.shape[-1])
    return rows


def _measure_values(values: np.ndarray[Any, Any]) -> Moments | None:
    """Return the moments of (N, dim) real numbers, None for no rows.

    Raises ValueError for NaN or inf, and for values whose squares leave the float64 range.
    """
    total = None
    for first in range(0, len(values), _BLOCK_ROWS):
        with np.errstate(over="ignore", invalid="ignore"):
            block = _with_logs(values[first : first + _BLOCK_ROWS].T)
            rows = block.shape[-1]
            # Adding zero turns -0.0 into 0.0, so that the order of the rows does not show.
            low, high = block[0].min(axis=-1) + 0.0, block[0].max(axis=-1) + 0.0
            part = _check_finite(Moments(rows, *_center(block, rows), low, high))
        total = part if total is None else _combine(total, part)
    return total


def _count_halves(values: np.ndarray[Any, Any]) -> Counts:
    """Return how often each float16 bit pattern occurs in each component of (N, dim): (dim, 65536) int64.

    Raises ValueError for NaN or inf.
    """
    columns = values.view(np.uint16).T
    counts = np.stack([np.bincount(column, minlength=len(_HALVES)) for column in columns])
    if counts[:, ~np.isfinite(_HALVES)].any():
        raise ValueError("they hold NaN or inf")
    return counts


def _measure_counts(counts: Counts) -> Moments | None:
    """Return the moments of the float16 values that `_count_halves` counted, None for no rows."""
    rows = int(counts[0].sum())
    if not rows:
        return None
    components = []
    for column in counts:
        found = np.flatnonzero(column)
        values = _with_logs(_HALVES[found])
        components.append((*_center(values, rows, column[found]), values[0].min(), values[0].max()))
    return Moments(rows, *(np.stack(each, axis=-1) + 0.0 for each in zip(*components, strict=True)))


def _with_logs(values: np.ndarray[Any, Any]) -> Floats:
    """Return float64 of shape (2, *values.shape): the values, and sign(x) * log1p(abs(x)) of them."""
    both = np.empty((2, *values.shape))
    both[0] = values
    np.copysign(np.log1p(np.abs(both[0])), both[0], out=both[1])
    return both


def _center(values: Floats, rows: int, times: Counts | None = None) -> tuple[Floats, Floats]:
    """Return mean and sum of squared deviations along the last axis, each value counted `times` times."""
    guess = (values if times is None else values * times).sum(axis=-1) / rows
    deviations = values - guess[..., None]
    weighted = deviations if times is None else deviations * times
    # The deviations would sum to 0 if the guess had no rounding error; what they sum to corrects it.
    residue = weighted.sum(axis=-1)
    squares = (weighted * deviations).sum(axis=-1) - residue * (residue / rows)
    return guess + residue / rows, np.maximum(squares, 0.0)


def _combine(first: Moments, second: Moments) -> Moments:
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
