"""What a conversion tells at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from drawpoint.format.precision import FieldPrecision
from drawpoint_store.conversion.losses import add_precision
from drawpoint_store.writing.field_arrays import Underflow
from drawpoint_store.writing.split_files import SplitSize

if TYPE_CHECKING:
    from drawpoint_store.conversion.sample_conversion import Outcome


class PublishedStatistics(BaseModel):
    """The statistics that a conversion wrote: of how many samples, those of a split or of all (None).

    `refusal` says in a sentence why there are none; it is empty where there are.
    """

    split: str | None
    n_samples: int
    refusal: str = ""


class ConversionReport(BaseModel):
    """The result of a conversion; `broken` maps sample ids to the reason why they were left out.

    `converted` are the samples it added, of which `resumed` had been finished by an interrupted run; `kept` counts
    the arrays that were taken over from an earlier run with other dtypes; `skipped` are those that the store held
    before. `left_out` are files that look like fields and are in no file map, each with the number of samples that
    have it. `precision` is what the stored dtypes round, by field, for those that they round at all. `overflows`
    are the samples that are broken by a value beyond the range of its dtype, by the field and a dtype that holds it
    (`FIELD=D`, as --field-dtype takes it). `zero_normals` are the numbers of points whose normal is (0, 0, 0), as it is
    of a cell without area, by field and sample. `splits` are those that the source names, as far as the store holds
    their samples. `statistics` are those that were measured on the way. `replaced` are the groups of the revision that
    was overwritten. `revision` is None where nothing was published. Sizes are in bytes.
    """

    converted: list[str] = Field(default_factory=list)
    resumed: int = 0
    kept: int = 0
    skipped: list[str] = Field(default_factory=list)
    broken: dict[str, str] = Field(default_factory=dict)
    precision: dict[str, FieldPrecision] = Field(default_factory=dict)
    overflows: dict[str, list[str]] = Field(default_factory=dict)
    zero_normals: dict[str, dict[str, int]] = Field(default_factory=dict)
    left_out: dict[str, int] = Field(default_factory=dict)
    replaced: list[str] = Field(default_factory=list)
    n_points: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: float = 0.0
    splits: dict[str, SplitSize] = Field(default_factory=dict)
    statistics: PublishedStatistics | None = None
    revision: str | None = None

    @property
    def underflows(self) -> dict[str, Underflow]:
        """The fields of which values that are not zero are stored as zero, with their counts."""
        found = {field: Underflow(each.n_zeroed, each.n_values) for field, each in self.precision.items()}
        return {field: underflow for field, underflow in found.items() if underflow.lost}

    def overflow_of(self, sample_id: str) -> tuple[str, str] | None:
        """Return what `Outcome.overflow` said of a sample that was added."""
        for field_dtype, ids in self.overflows.items():
            if sample_id in ids:
                field, _, dtype = field_dtype.partition("=")
                return field, dtype
        return None

    def add(self, outcome: Outcome) -> None:
        """Count a sample that was converted, or name it as broken."""
        if outcome.finished is None:
            self.broken[outcome.sample_id] = outcome.reason
            if outcome.overflow is not None:
                self.overflows.setdefault("=".join(outcome.overflow), []).append(outcome.sample_id)
            return
        self.converted.append(outcome.sample_id)
        self.resumed += outcome.resumed
        self.kept += outcome.kept
        self.n_points += sum(grid.n_points for grid in outcome.finished.entry.domains.values())
        self.bytes_read += outcome.bytes_read
        self.bytes_written += outcome.finished.nbytes
        for field, n_zero in outcome.finished.zero_normals.items():
            self.zero_normals.setdefault(field, {})[outcome.sample_id] = n_zero
        add_precision(self.precision, outcome.precision)

    def sort(self) -> None:
        """Put everything in the order of the ids and fields, in whatever order the samples came."""
        self.converted.sort()
        self.broken = dict(sorted(self.broken.items()))
        self.precision = dict(sorted(self.precision.items()))
        self.overflows = {field: sorted(ids) for field, ids in sorted(self.overflows.items())}
        self.zero_normals = {field: dict(sorted(found.items())) for field, found in sorted(self.zero_normals.items())}
