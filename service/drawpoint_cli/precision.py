"""What the stored dtypes round, as the commands show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAD = ("relative error", "dtype", "99 % within", "largest", "become zero")


def precision_table(precision: Mapping[str, Mapping[str, float]], dtypes: Mapping[str, str]) -> list[str]:
    """Return the lines of a table, a head and a line for each field that is rounded; none where none is.

    `precision` holds the summary of a FieldPrecision by field.
    """
    rows = [
        (field, dtype, *(_percent(precision[field][name]) for name in ("percentile_99", "largest", "zeroed")))
        for field, dtype in dtypes.items()
        if field in precision
    ]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    lines = [
        "  ".join([*map(str.ljust, row[:2], widths[:2]), *map(str.rjust, row[2:], widths[2:])])
        for row in (_HEAD, *rows)
    ]
    return lines if rows else []


def _percent(share: float) -> str:
    rounded = float(f"{100 * share:.2g}")  # a number, since the text of 100 is 1e+02
    return f"{rounded:g} %"
