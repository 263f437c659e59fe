"""Running statistics of one field: rows are pushed, statistics come out, two of them merge into one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.extras import importing
from drawpoint_store.inspecting.moments import combine, count_halves, measure_counts, measure_values

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from drawpoint_store.inspecting.moments import Counts, Floats, Moments


class RunningStats:
    """Statistics per component of a field, accumulated in float64 and given as float64 tensors (dim,).

    `var` and `std` are unbiased (divisor count - 1), and so NaN for a single row, as torch has it. `logmean` and
    `logstd` are those of sign(x) * log1p(abs(x)). float16 rows are counted by value, so that their order and
    their grouping cannot show. Before the first row every statistic raises ValueError; `count` is 0 then.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self._pushed: Moments | None = None
        self._counts: Counts | None = None
        self._total: Moments | None = None  # of both, computed when asked for
        self._dim: int | None = None

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
                self._add_counts(count_halves(rows))
            else:
                self._add_moments(measure_values(rows))
        except ValueError as error:
            raise ValueError(f"{self._label} cannot take these rows: {error}.") from error
        self._dim = rows.shape[1]

    def merge(self, other: RunningStats) -> None:
        """Add the rows that `other` has seen; raises ValueError if it has another dim."""
        if other._dim is None:
            return
        self._check_dim(other._dim)
        if other._counts is not None:
            self._add_counts(other._counts)
        self._add_moments(other._pushed)
        self._dim = other._dim

    @property
    def count(self) -> int:
        """Number of rows."""
        counted = 0 if self._counts is None else int(self._counts[0].sum())
        return counted + (0 if self._pushed is None else self._pushed.rows)

    @property
    def mean(self) -> torch.Tensor:
        return self._tensor("mean")

    @property
    def var(self) -> torch.Tensor:
        return self._tensor("var")

    @property
    def std(self) -> torch.Tensor:
        return self._tensor("std")

    @property
    def min(self) -> torch.Tensor:
        return self._tensor("min")

    @property
    def max(self) -> torch.Tensor:
        return self._tensor("max")

    @property
    def logmean(self) -> torch.Tensor:
        return self._tensor("logmean")

    @property
    def logvar(self) -> torch.Tensor:
        return self._tensor("logvar")

    @property
    def logstd(self) -> torch.Tensor:
        return self._tensor("logstd")

    def to_dict(self) -> dict[str, Any]:
        """Return count and statistics as plain lists, None for NaN, without `logvar`; needs no torch."""
        columns = self._columns()
        del columns["logvar"]  # the square of logstd; files of statistics do without
        lists = {
            name: [None if np.isnan(value) else float(value) for value in column] for name, column in columns.items()
        }
        return {"count": self.count, **lists}

    def __repr__(self) -> str:
        head = f"RunningStats of {self.name or 'a field'}: {self.count:,} rows"
        if not self.count:
            return head
        lines = (
            f"  {name:<8}" + "  ".join(f"{value:.6g}" for value in column) for name, column in self._columns().items()
        )
        return "\n".join((head, *lines))

    @property
    def _label(self) -> str:
        return "RunningStats" if self.name is None else f"RunningStats of {self.name}"

    def _tensor(self, name: str) -> torch.Tensor:
        with importing("client", "statistics as tensors"):
            import torch  # noqa: PLC0415  the command line computes statistics without torch

        return torch.from_numpy(self._columns()[name].copy())

    def _columns(self) -> dict[str, Floats]:
        moments = self._measure()
        var, log_var = (_variance(moments.rows, squares) for squares in (moments.squares, moments.log_squares))
        return {
            "mean": moments.mean,
            "std": np.sqrt(var),
            "var": var,
            "min": moments.low,
            "max": moments.high,
            "logmean": moments.log_mean,
            "logstd": np.sqrt(log_var),
            "logvar": log_var,
        }

    def _check_dim(self, dim: int) -> None:
        if self._dim is not None and dim != self._dim:
            raise ValueError(f"{self._label} has seen rows of {self._dim} components, not {dim}.")

    def _add_counts(self, counts: Counts) -> None:
        if self._counts is None:
            self._counts = counts.copy()
        else:
            self._counts += counts
        self._total = None

    def _add_moments(self, moments: Moments | None) -> None:
        if moments is not None:
            self._pushed = moments if self._pushed is None else combine(self._pushed, moments)
            self._total = None

    def _measure(self) -> Moments:
        if self._total is None:
            counted = None if self._counts is None else measure_counts(self._counts)
            both = [moments for moments in (self._pushed, counted) if moments is not None]
            if not both:
                raise ValueError(f"{self._label} has no statistics: no rows have been pushed yet.")
            self._total = both[0] if len(both) == 1 else combine(*both)
        return self._total


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


def _variance(rows: int, squares: Floats) -> Floats:
    return squares / (rows - 1) if rows > 1 else np.full_like(squares, np.nan)
