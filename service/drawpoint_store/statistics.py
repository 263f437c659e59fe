"""Statistics of a store's fields, for normalisation: computed in one pass, kept in `<root>/statistics.json`."""

from __future__ import annotations

import difflib
import json
import warnings
from typing import TYPE_CHECKING, Any

from drawpoint.errors import InvalidSample, MetadataDamaged, UnknownField
from drawpoint.manifest import decode_json
from drawpoint_store import stores
from drawpoint_store.measuring.blocks import map_in_order, plan_blocks, read_block
from drawpoint_store.measuring.running import RunningStats
from drawpoint_store.store import OpenStore

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from drawpoint.manifest import StoreManifest
    from drawpoint_store.plan import ReadPlan

STATISTICS_NAME = "statistics.json"
STATISTICS_VERSION = 1
_NAMED = 3  # of the ids in a warning; a split may lack thousands


def calculate_store_statistics(
    store_root: str | os.PathLike[str],
    *,
    fields: Iterable[str] | None = None,
    exclude_fields: Iterable[str] | None = None,
    sample_ids: Iterable[str] | None = None,
    limit: int | None = None,
    max_workers: int = 1,
    read_concurrency: int = 1,
    progress: bool = False,
) -> dict[str, RunningStats]:
    """Return the statistics of each field over all rows of the samples, by canonical field in manifest order.

    `fields` and `exclude_fields` choose fields (all by default), `sample_ids` samples, each counted once, of which
    the first `limit` are taken. The values are those stored. `max_workers` threads measure, each reading with
    `read_concurrency` threads; memory stays bounded, and the result is the same, bit for bit, for any number of
    them. A field that none of the samples holds is left out. `progress` shows a bar on a terminal.

    Warns (UserWarning) of sample ids that are not in the store. Raises ValueError for unknown fields, where nothing
    is left to measure, and for a sample that holds NaN or inf; StoreNotFound, and DataDamaged as a read does.
    """
    for name, value in (("max_workers", max_workers), ("read_concurrency", read_concurrency)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}.")
    store = OpenStore(str(store_root), read_concurrency=read_concurrency)
    wanted = choose_fields(store.manifest, fields, exclude_fields)
    ids = choose_samples(store.manifest, sample_ids, limit)
    return measure_fields(store, wanted, ids, max_workers=max_workers, progress=progress)


def choose_fields(
    manifest: StoreManifest, fields: Iterable[str] | None = None, exclude_fields: Iterable[str] | None = None
) -> list[str]:
    """Return the fields to measure in manifest order; raises ValueError for unknown ones and where none is left."""
    for name, given in (("fields", fields), ("exclude_fields", exclude_fields)):
        if isinstance(given, str):
            raise ValueError(f"{name} is a list of field names, such as [{given!r}], not one string.")  # noqa: TRY004  a selection is wrong or right by value
    known = manifest.fields
    chosen = known.keys() if fields is None else set(fields)
    excluded = set(exclude_fields or ())
    there = f"the store has: {', '.join(known)}"
    if not chosen <= known.keys():
        strange = sorted(chosen - known.keys())
        near = {close: None for name in strange for close in difflib.get_close_matches(name, known)}
        hint = f"near names: {', '.join(near)}; " if near else ""
        error = UnknownField(f"Unknown fields {', '.join(strange)}; {hint}{there}.")
        error.near = tuple(near)
        raise error
    if not excluded <= known.keys():
        absent = ", ".join(sorted(excluded - known.keys()))
        raise UnknownField(f"exclude_fields names non-existent fields {absent}; {there}.")
    left = [field for field in known if field in chosen and field not in excluded]
    if not left:
        raise ValueError(f"No fields are left to measure; {there}.")
    return left


def choose_samples(
    manifest: StoreManifest, sample_ids: Iterable[str] | None = None, limit: int | None = None
) -> list[str]:
    """Return the ids of the samples to measure, sorted; warns of unknown ones, raises ValueError if none is left."""
    if isinstance(sample_ids, str):
        raise ValueError(f"sample_ids is a list of ids, such as [{sample_ids!r}], not one string.")  # noqa: TRY004  a selection is wrong or right by value
    if limit is not None and limit < 0:
        raise ValueError(f"limit must be at least 0, not {limit}.")
    ids = sorted(manifest.samples) if sample_ids is None else list(dict.fromkeys(sample_ids))
    absent = [sample_id for sample_id in ids if sample_id not in manifest.samples]
    if absent:
        # A split may well name samples that were broken and so never converted.
        named = ", ".join(absent[:_NAMED]) + (", ..." if len(absent) > _NAMED else "")
        warnings.warn(f"{len(absent)} sample ids are not in the store and left out: {named}.", stacklevel=3)
    left = [sample_id for sample_id in ids if sample_id in manifest.samples][:limit]
    if not left:
        raise ValueError(f"No samples are left to measure, of the {len(manifest.samples)} in the store.")
    return sorted(left)


def measure_fields(
    store: OpenStore,
    fields: Sequence[str],
    sample_ids: Sequence[str],
    *,
    max_workers: int = 1,
    progress: bool = False,
) -> dict[str, RunningStats]:
    """Return the statistics of `fields` over all rows of the samples, in the order of `fields`.

    Raises ValueError for NaN or inf and where no sample holds any of the fields.
    """
    from tqdm import tqdm  # noqa: PLC0415  only where a bar may be shown

    manifest, totals = store.manifest, {field: RunningStats(field) for field in fields}
    blocks = (plan for sample_id in sample_ids for plan in plan_blocks(manifest, sample_id, totals))
    disable = None if progress else True  # None: no bar where stderr is no terminal
    with tqdm(total=len(sample_ids), unit="sample", disable=disable) as bar:
        # One thread merges, in the order of the blocks: which thread read which block does not show in the result.
        measured = map_in_order(lambda plan: (plan.sample_id, _measure_block(store, plan)), blocks, max_workers)
        done = sample_ids[0]
        for sample_id, parts in measured:
            for field, part in parts.items():
                totals[field].merge(part)
            if sample_id != done:
                done = sample_id
                bar.update()
        bar.update(len(sample_ids) - bar.n)
    found = {field: stats for field, stats in totals.items() if stats.count}
    if not found:
        raise ValueError(f"No samples hold {', '.join(totals)}; choose other fields or samples.")
    return found


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


def read_statistics(store_root: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the parsed `statistics.json` of a store, or None; its `revision` is the one they are of.

    Raises MetadataDamaged if the file is no such document, StoreUnreadable where the storage does not answer.
    """
    data = stores.read_json(store_root, STATISTICS_NAME)
    if data is None:
        return None
    try:
        document = json.loads(decode_json(data))
    except (ValueError, RecursionError):
        document = None
    if not (
        isinstance(document, dict)
        and isinstance(document.get("revision"), str)
        and isinstance(document.get("fields"), dict)
    ):
        place = stores.join(store_root, STATISTICS_NAME)
        raise MetadataDamaged(
            f"{place} holds no statistics of a revision; write it again with `drawpoint stats`.",
            store=str(store_root),
        )
    return document


def _measure_block(store: OpenStore, plan: ReadPlan) -> dict[str, RunningStats]:
    parts = {}
    for field, rows in read_block(store, plan).items():
        parts[field] = RunningStats(field)
        try:
            parts[field].push_tensor(rows)
        except ValueError as error:
            raise InvalidSample(
                f"sample {plan.sample_id!r}: {str(error).rstrip('.')}; exclude the field, or leave the sample out.",
                sample=plan.sample_id,
                field=field,
            ) from error
    return parts
