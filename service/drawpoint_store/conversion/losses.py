"""What the stored dtypes lose: the samples that are probed for it, and the fields that lose too much."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample, ValueOverflow
from drawpoint_store.writing.field_arrays import Underflow, wider_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from drawpoint.format.precision import FieldPrecision
    from drawpoint_store.conversion.sample_conversion import Outcome, Task
    from drawpoint_store.writing.writer import ZarrStoreWriter


_SAMPLES_A_PROBE = 10
"""A probe is read twice: of so many samples, one, so that a conversion reads a tenth more at most."""


def choose_probes(tasks: Sequence[Task], most: int) -> list[Task]:
    """Return the probes: one of ten samples, `most` at most, each the middle one of as many equal parts.

    Of two to nine samples it is one, and none of a single one, which would be read twice for nothing.
    """
    count = min(most, max(len(tasks) // _SAMPLES_A_PROBE, min(1, len(tasks) // 2)))
    return [replace(tasks[(2 * part + 1) * len(tasks) // (2 * count)], probe=True) for part in range(count)]


def add_precision(total: dict[str, FieldPrecision], more: Mapping[str, FieldPrecision]) -> None:
    """Add the errors of some more values to the total of each field."""
    for field, found in more.items():
        total[field] = total[field] + found if field in total else found


def check_probes(probed: Iterable[Outcome], writer: ZarrStoreWriter, max_relative_error: float | None) -> None:
    """Raise ValueOverflow for a probe that overflows, and what `check_precision` raises; other broken ones may be."""
    total: dict[str, FieldPrecision] = {}
    for outcome in probed:
        if outcome.overflow is not None:
            sample_id = outcome.sample_id
            raise ValueOverflow(
                f"sample {sample_id!r} {outcome.reason}; nothing is written.",
                sample=sample_id,
                field=outcome.overflow[0],
            )
        add_precision(total, outcome.precision)
    check_precision(total, writer, max_relative_error)


def check_precision(
    precision: Mapping[str, FieldPrecision], writer: ZarrStoreWriter, max_relative_error: float | None
) -> None:
    """Raise InvalidSample for a field that loses more than the limit, if there is one.

    It does where the 99th percentile of its relative errors is larger, or where more of its values become zero than
    would be noise (`Underflow.matters`).
    """
    if max_relative_error is None:
        return
    for field, found in precision.items():
        if found.percentile_99 > max_relative_error or Underflow(found.n_zeroed, found.n_values).matters:
            dtype = writer.manifest.fields[field].dtype
            wider = wider_dtype(dtype)
            raise InvalidSample(
                f"{field} loses too much as {dtype}: the 99th percentile of its relative error is "
                f"{found.percentile_99:.2g}, and {found.n_zeroed:,} of {found.n_values:,} values become zero, where an "
                f"error of {max_relative_error:g} is allowed; store it wider, with "
                f"field_dtypes={{{field!r}: {wider!r}}} (--field-dtype {field}={wider}).",
                field=field,
            )
