"""A batch: many draws that share counts and fields, asked for at once; what one item is, and what holds for all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from drawpoint.draw.seeds import check_part, check_seed, fresh_seed
from drawpoint.draw.selection import check_counts, check_fields
from drawpoint.errors import InvalidDraw, UnknownParameter

if TYPE_CHECKING:
    from drawpoint.format.manifest import StoreManifest

ITEM_KEYS = ("id", "seed", "part")
MAX_BODY_BYTES = 2**20
"""Of a request for a batch: thousands of samples with ids of ordinary length."""

COORDS_PREFIX = "coords/"
"""Stands before the position field in the key of positions that were drawn independently of an item's fields."""


class BatchItem(NamedTuple):
    """One draw of a batch."""

    sample_id: str
    seed: int
    part: int | None


class BatchSelection(NamedTuple):
    """What all items of a batch share: counts by domain (None: all points), fields (None: all), and coordinates."""

    counts: dict[str, int | None]
    fields: tuple[str, ...] | None
    coords: dict[str, int | None]


def list_items(samples: Sequence[Mapping[str, Any] | str]) -> list[BatchItem | InvalidDraw | UnknownParameter]:
    """Return the draws that `samples` names, or in the place of one that names none the error that says why.

    Each is a sample id or `{"id", "seed", "part"}`; without a seed it is a draw of its own. Raises InvalidDraw if
    `samples` is no sequence of them.
    """
    if isinstance(samples, str | Mapping) or not isinstance(samples, Sequence):
        raise InvalidDraw(f"samples is a list of sample ids or of {{'id', 'seed', 'part'}}, not {samples!r:.200}.")
    items: list[BatchItem | InvalidDraw | UnknownParameter] = []
    for sample in samples:
        try:
            items.append(_parse_item(sample))
        except (InvalidDraw, UnknownParameter) as error:
            items.append(error)
    return items


def check_selection(
    manifest: StoreManifest,
    num_points: Mapping[str, int | None] | None,
    fields: Collection[str] | None,
    coords: Mapping[str, int | None] | None,
    store: str | None = None,
) -> BatchSelection:
    """Return what the items of a batch share; raises UnknownDomain, UnknownField and InvalidDraw, naming `store`."""
    return BatchSelection(
        check_counts(manifest, num_points, store),
        None if fields is None else check_fields(manifest, fields, store),
        check_counts(manifest, coords, store, required=True),
    )


def _parse_item(sample: Mapping[str, Any] | str) -> BatchItem:
    if isinstance(sample, str):
        return BatchItem(sample, fresh_seed(), None)
    if not isinstance(sample, Mapping) or not isinstance(sample.get("id"), str):
        raise InvalidDraw(f"an item of a batch is a sample id or {{'id', 'seed', 'part'}}, not {sample!r:.200}.")
    for key in sample:
        if key not in ITEM_KEYS:
            raise UnknownParameter.among("key", key, ITEM_KEYS, where="an item of a batch", sample=sample["id"])
    seed, part = sample.get("seed"), sample.get("part")
    if part is not None and seed is None:
        raise InvalidDraw(
            "part needs seed: the parts of a cycle are disjoint only under one seed.", sample=sample["id"]
        )
    return BatchItem(
        sample["id"], fresh_seed() if seed is None else check_seed(seed), None if part is None else check_part(part)
    )
