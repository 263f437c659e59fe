"""Values per sample: named numbers such as `U_inf` or `Cd`, checked, and packed for tables of many samples."""

from __future__ import annotations

import math
import numbers
import re
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

MAX_NAME_LENGTH = 64
MAX_SCALARS = 512
"""Of one sample: with names and values of the greatest length they fit into the header of an item of a batch."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SHOWN = 60  # characters of a name or value that an error shows
_FLOATS = {float}
_MOST_SETS = 1024  # of names; the samples of a store have one set, or a few

PackedScalars = tuple[tuple[str, ...], bytes]
"""Names, sorted and shared between samples, and their values as float64, little-endian."""

NO_SCALARS: PackedScalars = ((), b"")


def check_scalars(scalars: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the scalars of one sample as floats, sorted by name; None are none.

    Values are finite real numbers, those of NumPy and torch included where they have no axis. Raises ValueError, naming
    the scalar, for anything else (bools and texts are no numbers), for names other than a letter followed by letters,
    digits and underscores, and for more than MAX_SCALARS.
    """
    if scalars is None:
        return {}
    if not isinstance(scalars, Mapping):
        raise ValueError(f"scalars maps names to numbers, such as {{'U_inf': 20.0}}; not {scalars!r:.{_SHOWN}}")  # noqa: TRY004  pydantic wants ValueError
    if len(scalars) > MAX_SCALARS:
        raise ValueError(f"{len(scalars)} scalars are more than the {MAX_SCALARS} that a sample may have")
    for name in scalars:
        check_scalar_name(name)
    return {name: _as_number(name, scalars[name]) for name in sorted(scalars)}


def check_scalar_name(name: object) -> None:
    """Raise ValueError for a name that no scalar may have."""
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r:.{_SHOWN}} is no name of a scalar: a letter, then letters, digits and underscores, at most "
            f"{MAX_NAME_LENGTH} in all"
        )


def _as_number(name: str, value: Any) -> float:
    value = _without_axis(value)
    if not _is_number(value):
        raise ValueError(f"scalar {name!r} is {value!r:.{_SHOWN}}, which is no real number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"scalar {name!r} is {value!r:.{_SHOWN}}, which is no finite number")
    return number


def _without_axis(value: Any) -> Any:
    """Return the number that an array or tensor without axes holds; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def are_scalars(found: object) -> bool:
    """Tell whether what stands under the key `scalars` of a manifest is what drawpoint means by it.

    Another writer may mean something else. That all of its numbers are finite is left to `check_scalars`.
    """
    return (
        isinstance(found, Mapping)
        and len(found) <= MAX_SCALARS
        and _sort_names(tuple(found)) is not None
        and all(_is_number(_without_axis(each)) for each in found.values())
    )


def pack_scalars(scalars: Mapping[str, float]) -> PackedScalars:
    """Return checked scalars in the form that a table of samples holds."""
    names = _sort_names(tuple(scalars))
    assert names is not None
    return names, struct.pack(f"<{len(names)}d", *[scalars[name] for name in names])


def pack_floats(pairs: Sequence[tuple[str, Any]]) -> PackedScalars | None:
    """Pack the members of a JSON object, of 100,000 samples in a second; None unless all are scalars and floats."""
    if len(pairs) > MAX_SCALARS:
        return None
    kept, values = zip(*pairs, strict=True)
    names = _sort_names(kept)
    if names is None or set(map(type, values)) != _FLOATS or not math.isfinite(sum(values)):
        return None
    ordered = values if names == kept else map(dict(pairs).__getitem__, names)
    return names, struct.pack(f"<{len(names)}d", *ordered)


def unpack_scalars(packed: PackedScalars) -> dict[str, float]:
    """Return packed scalars by name, sorted."""
    names, values = packed
    return dict(zip(names, struct.unpack(f"<{len(names)}d", values), strict=True))


@lru_cache(_MOST_SETS)
def _sort_names(names: tuple[object, ...]) -> tuple[str, ...] | None:
    """Return names of scalars in order, the same tuple for all samples with the same.

    Returns None if one stands there twice or cannot be one.
    """
    fit = {name for name in names if isinstance(name, str) and len(name) <= MAX_NAME_LENGTH and _NAME.fullmatch(name)}
    return tuple(sorted(fit)) if len(fit) == len(names) else None
