"""The order of stored points, and the way back to the rows of the source: a pure function of what the manifest says."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.draw.philox import PhiloxStream
from drawpoint.draw.selection import find_grid, name_store
from drawpoint.errors import UnknownOrder

if TYPE_CHECKING:
    from drawpoint.format.manifest import StoreManifest

SHUFFLE_RULE = "shuffle/1"
"""The rule of `shuffle_order`. Another rule would have another name."""

_OWN_DIGEST = "sha256:"
"""The prefix of digests that version 0.1 alone has written. It shuffled by SHUFFLE_RULE without naming it."""

Rows = np.ndarray[tuple[int], np.dtype[np.int64]]


def shuffle_order(
    shuffle_seed: int, sample_id: str, domain: str, n_points: int, dtype: type[np.int64 | np.uint32] = np.int64
) -> np.ndarray[tuple[int], np.dtype[Any]]:
    """Return the order in which the writer stores a domain's points: row i is row `order[i]` of the source."""
    return PhiloxStream(SHUFFLE_RULE, shuffle_seed, sample_id, domain).permutation(n_points, dtype)


def source_rows(manifest: StoreManifest, sample_id: str, domain: str, *, store: str | None = None) -> Rows:
    """Return the row of the source that each stored row of a domain came from: int64 (n_points,), a permutation.

    The source is the arrays that the writer was given: for a conversion, the sample's files. Errors call the store
    `store`. Raises SampleNotFound, UnknownDomain, and UnknownOrder where the manifest names no rule that is known here.
    """
    return SourceOrder(manifest, sample_id, domain, store=store).rows


class SourceOrder:
    """The source rows of one domain of a sample, computed when they are first asked for and kept from then on."""

    def __init__(self, manifest: StoreManifest, sample_id: str, domain: str, *, store: str | None = None) -> None:
        self._n_points = find_grid(manifest, sample_id, domain, store).n_points
        self._name = manifest.shuffle_seed, sample_id, domain
        self._rule = shuffle_rule(manifest, sample_id)
        self._store = store
        self._called = name_store(manifest, store)

    def __getstate__(self) -> dict[str, object]:
        # They are computed again faster than copied to another process.
        return {name: value for name, value in self.__dict__.items() if name != "rows"}

    @cached_property
    def rows(self) -> Rows:
        """The rows, int64 (n_points,); do not change them. Raises UnknownOrder."""
        if self._rule != SHUFFLE_RULE:
            raise self._unknown()
        return shuffle_order(*self._name, self._n_points)

    def _unknown(self) -> UnknownOrder:
        reason = (
            "its manifest names no rule of the shuffle, since another program wrote or saved it, or a drawpoint that "
            "did not name its rule yet; convert the source again"
            if self._rule is None
            else f"its manifest names the rule {self._rule!r:.80}, and this drawpoint knows {SHUFFLE_RULE!r} alone; a "
            "newer one may know it"
        )
        sample_id = self._name[1]
        return UnknownOrder(
            f"{self._called} does not tell which row of the source a point of {sample_id!r} came from: {reason}.",
            store=self._store,
            sample=sample_id,
        )


def common_rule(manifest: StoreManifest) -> str | None:
    """Return the rule that all samples of a store were certainly shuffled by, None if that is not known."""
    if manifest.shuffle is not None:
        return manifest.shuffle
    known = all(shuffle_rule(manifest, sample_id) == SHUFFLE_RULE for sample_id in manifest.samples)
    return SHUFFLE_RULE if known else None


def shuffle_rule(manifest: StoreManifest, sample_id: str) -> str | None:
    """Return the rule that a sample was certainly shuffled by, None if that is not known."""
    # The manifest may be that of another library, whose entries have no digest.
    named: str | None = getattr(manifest, "shuffle", None)
    if named is None and (getattr(manifest.samples[sample_id], "digest", None) or "").startswith(_OWN_DIGEST):
        return SHUFFLE_RULE
    return named
