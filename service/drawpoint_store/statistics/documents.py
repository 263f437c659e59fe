"""Statistics as documents: `statistics.json` of a store, and the `stats.yaml` of noether's normalisers."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint_store.statistics.running_stats import RunningStats

STATISTICS_VERSION = 1

COLUMNS = ("mean", "std", "min", "max", "logmean", "logstd")
"""The statistics that a normalisation may need."""


def statistics_to_dict(running_stats: Mapping[str, RunningStats]) -> dict[str, list[float] | int]:
    """Return statistics under the flat names that noether's normalisers look up in its `stats.yaml`.

    For each field `<field>_mean`, `_std`, `_min`, `_max`, `_logscale_mean` and `_logscale_std`, a list of one float a
    component, NaN for the deviation of a single point, and `<field>_count`. `raw_pos_min` and `raw_pos_max`, lists of
    one float, are the least and greatest coordinate, along whichever axis, of all fields that end in `_position`.
    Names and meanings are those of the function of this name in noether.data.zarr_store.statistics. Raises ValueError
    for statistics of scaled values: noether's normalisers would apply them to values that are not.
    """
    scaled = [field for field, stats in running_stats.items() if stats.scale is not None]
    if scaled:
        raise ValueError(
            f"noether's normalisers do not divide by a scale, as these statistics of {', '.join(scaled)} need; measure "
            "them without one."
        )
    flat: dict[str, list[float] | int] = {}
    lows, highs = [], []
    for field, stats in running_stats.items():
        values = stats.to_dict()
        for column in COLUMNS:
            name = column.replace("log", "logscale_")
            flat[f"{field}_{name}"] = [math.nan if value is None else value for value in values[column]]
        flat[f"{field}_count"] = values["count"]
        if field.endswith("_position"):
            lows += values["min"]
            highs += values["max"]
    if lows:
        flat |= {"raw_pos_min": [min(lows)], "raw_pos_max": [max(highs)]}
    return flat


def statistics_yaml(statistics: Mapping[str, RunningStats], *, remark: str) -> bytes:
    """Return the bytes of noether's `stats.yaml`, the names of `statistics_to_dict`, below `remark` as a comment.

    Floats keep all their digits, and are floats to YAML 1.1 too, where 1e-05 is a string and 1.0e-05 is none.
    """
    import yaml  # noqa: PLC0415  only this format needs it

    flat = yaml.safe_dump(statistics_to_dict(statistics), sort_keys=False, default_flow_style=None, width=math.inf)
    return f"# {remark}\n{flat}".encode()


def statistics_json(
    statistics: Mapping[str, RunningStats], *, revision: str, split: str | None, n_samples: int
) -> bytes:
    """Return the bytes of `statistics.json`: equal statistics give equal bytes. NaN becomes null."""
    document = {
        "version": STATISTICS_VERSION,
        "revision": revision,
        "split": split,
        "n_samples": n_samples,
        "fields": {field: stats.to_dict() for field, stats in statistics.items()},
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
