"""What the stored dtype of a field rounds: counts of relative errors that can be added up over samples."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Annotated

from pydantic import AfterValidator, Field

from drawpoint.format.sample_entry import ManifestModel

SHIFT = 20
"""The bin of an error is the bits of its float32, shifted right by so many: eight bins for each power of two."""

_SHARE = 100
"""The percentile leaves out one value in so many."""


def _sort_bins(bins: dict[int, int]) -> dict[int, int]:
    return dict(sorted(bins.items()))


class FieldPrecision(ManifestModel):
    """The relative errors of a field's stored values.

    Of `n_values` values that are not zero, `n_zeroed` are too small for the dtype and stored as zero. Of the others,
    `largest` is the largest error, and `bins` counts the errors: bin b those from the float32 of bits b * 2**20 up to
    the next, and bin 0 values that are stored exactly. The lowest bin above it also has all smaller errors.
    """

    n_values: int = Field(ge=0)
    n_zeroed: int = Field(ge=0)
    largest: float = Field(ge=0, le=1)
    bins: Annotated[dict[Annotated[int, Field(ge=0, lt=1024)], Annotated[int, Field(ge=0)]], AfterValidator(_sort_bins)]

    def __add__(self, other: FieldPrecision) -> FieldPrecision:
        """Return the errors of both together."""
        bins = Counter(self.bins)
        bins.update(other.bins)
        return FieldPrecision(
            n_values=self.n_values + other.n_values,
            n_zeroed=self.n_zeroed + other.n_zeroed,
            largest=max(self.largest, other.largest),
            bins=bins,
        )

    def summary(self) -> dict[str, float]:
        """Return what is shown of it: two errors, the 99th percentile and the largest, and the share zeroed."""
        zeroed = self.n_zeroed / self.n_values if self.n_values else 0.0
        return {"percentile_99": self.percentile_99, "largest": self.largest, "zeroed": zeroed}

    @property
    def percentile_99(self) -> float:
        """The error that at most one value in a hundred exceeds: up to an eighth too large, and never too small."""
        beyond, n_kept = 0, self.n_values - self.n_zeroed
        for key, count in reversed(self.bins.items()):
            beyond += count
            if beyond * _SHARE > n_kept:
                return min(_upper_edge(key), self.largest) if key else 0.0
        return 0.0


def _upper_edge(key: int) -> float:
    edge: float = struct.unpack("<f", struct.pack("<I", (key + 1) << SHIFT))[0]
    return edge
