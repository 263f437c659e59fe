"""Running statistics of one field: rows are pushed, statistics come out, two of them merge into one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.extras import importing
from drawpoint_store.statistics.moments import combine, count_halves, measure_counts, measure_values

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from drawpoint_store.statistics.moments import Counts, Floats, Moments


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
                self._add(None, count_halves(rows))
            else:
                self._add(measure_values(rows), None)
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

    def add_moments(self, moments: Moments) -> None:
        """Add rows of which the moments alone are known, of the same scale.

        Raises ValueError for another dim, and where the squares of all rows together leave the float64 range.
        """
        self._check_dim(len(moments.low))
        try:
            self._add(moments, None)
        except ValueError as error:
            raise ValueError(f"{self._label} cannot take these rows: {error}.") from error
        self._dim = len(moments.low)

    @property
    def moments(self) -> Moments | None:
        """The moments of all rows, those of float16 by their counts; None before the first row."""
        if not self.count:
            return None
        counted = None if self._counts is None else measure_counts(self._counts)
        if self._moments is None or counted is None:
            return self._moments or counted
        return combine(self._moments, counted)

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
            self._moments = moments if self._moments is None else combine(self._moments, moments)
        if counts is not None:
            self._counts = counts if self._counts is None else self._counts + counts

    def _tensor(self, name: str) -> torch.Tensor:
        with importing("client", "statistics as tensors"):
            import torch  # noqa: PLC0415  the command line computes statistics without torch

        return torch.from_numpy(self._columns()[name].copy())

    def _columns(self) -> dict[str, Floats]:
        moments = self.moments
        if moments is None:
            raise ValueError(f"{self._label} has no statistics: no rows have been pushed yet.")
        rows, mean, squares, low, high = moments
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
