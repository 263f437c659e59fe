"""Statistics of a store's fields, for normalisation: computed in one pass, kept in `<root>/statistics.json`."""

from __future__ import annotations

import difflib
import itertools
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from drawpoint.draw.seeds import check_integer
from drawpoint.errors import InvalidSample, UnknownField
from drawpoint.format.scale import Scale, check_samples, check_scaled_fields, parse_scales
from drawpoint_store.reading.blocks import map_in_order, plan_blocks, read_block, sample_bar
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.statistics.running_stats import RunningStats
from drawpoint_store.wording import first_few

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from drawpoint.format.manifest import StoreManifest
    from drawpoint_store.reading.plan import ReadPlan

OnInvalid = Literal["error", "skip"]


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
    on_invalid: OnInvalid = "error",
    scale: Mapping[str, str | Scale] | None = None,
) -> dict[str, RunningStats]:
    """Return the statistics of each field over all rows of the samples, by canonical field in manifest order.

    `fields` and `exclude_fields` choose fields (all by default), `sample_ids` samples, each counted once, of which
    the first `limit` are taken. The values are those stored. Fields in `scale` are divided before by an expression in
    the scalars of their sample, such as `{"surface_pressure": "0.5 * rho_inf * U_inf**2"}`. `max_workers` threads
    measure, each reading with `read_concurrency` threads; memory stays bounded, and the result is the same, bit for
    bit, for any number of them. A field that none of the samples holds is left out. `progress` shows a bar on a
    terminal.

    Stores of other writers may hold NaN or inf, often inf where a value exceeded float16. `on_invalid="skip"` leaves
    out points that hold any, of that field alone and with all their components; `count` is the number of points
    measured. `"error"` raises once all samples have been read, and names all that are concerned.

    Warns (UserWarning) of sample ids that are not in the store, and of points left out. Raises ValueError for unknown
    fields and where nothing is left to measure, InvalidSample (a ValueError) for NaN or inf; StoreNotFound, and
    DataDamaged as a read does.
    """
    if on_invalid not in get_args(OnInvalid):
        raise ValueError(f'on_invalid must be "error" or "skip", not {on_invalid!r}.')
    store = ZarrChunkReader(store_root, read_concurrency=read_concurrency)
    wanted = choose_fields(store.manifest, fields, exclude_fields)
    ids = choose_samples(store.manifest, sample_ids, limit)
    measured, left_out = measure_fields(
        store, wanted, ids, max_workers=max_workers, progress=progress, on_invalid=on_invalid, scale=scale
    )
    if left_out is not None:
        warnings.warn(left_out, stacklevel=2)
    return measured


def choose_fields(
    manifest: StoreManifest, fields: Iterable[str] | None = None, exclude_fields: Iterable[str] | None = None
) -> list[str]:
    """Return the fields to measure in manifest order; raises ValueError for unknown ones and where none is left."""
    known = manifest.fields
    there = f"the store has: {', '.join(known)}"
    selections = []
    for name, given, problem in (
        ("fields", fields, "Unknown fields"),
        ("exclude_fields", exclude_fields, "exclude_fields names non-existent fields"),
    ):
        _refuse_one_string(f"{name} is a list of field names", given)
        selections.append(set(given or ()))
        strange = sorted(selections[-1] - known.keys())
        if strange:
            near = dict.fromkeys(close for each in strange for close in difflib.get_close_matches(each, known))
            hint = f"near names: {', '.join(near)}; " if near else ""
            error = UnknownField(f"{problem} {', '.join(strange)}; {hint}{there}.")
            error.near = tuple(near)
            raise error
    chosen, excluded = selections
    left = [field for field in known if (fields is None or field in chosen) and field not in excluded]
    if not left:
        raise ValueError(f"No fields are left to measure; {there}.")
    return left


def _refuse_one_string(what: str, given: object) -> None:
    if isinstance(given, str):
        raise ValueError(f"{what}, such as [{given!r}], not one string.")  # noqa: TRY004  as for any other selection


def choose_samples(
    manifest: StoreManifest, sample_ids: Iterable[str] | None = None, limit: int | None = None
) -> list[str]:
    """Return the ids of the samples to measure, sorted; warns of unknown ones, raises ValueError if none is left."""
    _refuse_one_string("sample_ids is a list of ids", sample_ids)
    if limit is not None:
        limit = check_integer("limit", limit)
    ids = sorted(manifest.samples) if sample_ids is None else list(dict.fromkeys(sample_ids))
    absent = [sample_id for sample_id in ids if sample_id not in manifest.samples]
    if absent:
        # A split may well name samples that were broken and so never converted.
        warnings.warn(f"{len(absent)} sample ids are not in the store and left out: {first_few(absent)}.", stacklevel=3)
    left = [sample_id for sample_id in ids if sample_id in manifest.samples][:limit]
    if not left:
        raise ValueError(f"No samples are left to measure, of the {len(manifest.samples)} in the store; choose others.")
    return sorted(left)


def measure_fields(
    store: ZarrChunkReader,
    fields: Sequence[str],
    sample_ids: Sequence[str],
    *,
    max_workers: int = 1,
    progress: bool = False,
    on_invalid: OnInvalid = "error",
    scale: Mapping[str, str | Scale] | None = None,
) -> tuple[dict[str, RunningStats], str | None]:
    """Return the statistics of `fields` over all rows of the samples, in the order of `fields`.

    With them, a sentence on the points that `on_invalid="skip"` left out, or None. Raises InvalidSample for NaN or inf
    that are not to be left out, ValueError where no sample holds any of the fields, and, before anything is read,
    UnknownField, UnknownScalar or InvalidParameter for a scale of another field, or that a sample has no scalars for.
    """
    scales = parse_scales(scale)
    check_scaled_fields(scales, fields, "what is measured")
    check_samples(scales, store.manifest, sample_ids)
    totals = {field: RunningStats(field, scale=scales[field].text if field in scales else None) for field in fields}
    invalid: dict[str, Counter[str]] = {}  # points that hold NaN or inf, by sample id and field
    blocks = (plan for sample_id in sample_ids for plan in plan_blocks(store.manifest, sample_id, totals))
    with sample_bar(sample_ids, progress=progress) as bar:
        # One thread merges, in the order of the blocks: which thread read which block does not show in the result.
        measured = map_in_order(
            lambda plan: (plan.sample_id, *_measure_block(store, plan, scales)), blocks, max_workers
        )
        for sample_id, of_sample in itertools.groupby(measured, key=lambda block: block[0]):
            for _, parts, poor in of_sample:
                for field, part in parts.items():
                    totals[field].merge(part)
                if poor:
                    invalid.setdefault(sample_id, Counter()).update(poor)
            bar.update()
    where = _describe(invalid, len(sample_ids))
    if invalid and on_invalid == "error":
        first = next(iter(invalid))
        raise InvalidSample(
            f'{where}; leave out those samples or fields, or only those points, with on_invalid="skip" '
            "(--on-invalid skip).",
            sample=first,
            field=next(iter(invalid[first])),
        )
    held = {field: stats for field, stats in totals.items() if stats.count}
    if not held:
        what = "finite values of " if invalid else ""
        raise ValueError(f"No samples hold {what}{', '.join(totals)}; choose other fields or samples.")
    return held, f"{where}; the statistics of these fields are without these points." if invalid else None


def _measure_block(
    store: ZarrChunkReader, plan: ReadPlan, scales: Mapping[str, Scale]
) -> tuple[dict[str, RunningStats], dict[str, int]]:
    """Return the statistics of the block's finite points, and the number of other points, both by field."""
    parts, invalid = {}, {}
    for field, stored in read_block(store, plan).items():
        scale, rows = scales.get(field), stored
        parts[field] = RunningStats(field, scale=None if scale is None else scale.text)
        if scale is not None:
            scalars = store.manifest.samples.scalars_of(plan.sample_id)
            rows = stored.astype(np.float64) / scale.value(scalars, field, plan.sample_id)
        try:
            parts[field].push_tensor(rows)
        except ValueError:
            # Looked for only here, so that stores without any pay nothing.
            finite = rows[np.isfinite(rows).all(axis=1)]
            if len(finite) < len(rows):
                invalid[field] = len(rows) - len(finite)
            try:
                parts[field].push_tensor(finite)
            except ValueError as error:
                raise InvalidSample(
                    f"sample {plan.sample_id!r}: {str(error).rstrip('.')}; exclude the field, or leave the sample out.",
                    sample=plan.sample_id,
                    field=field,
                ) from error
    return parts, invalid


def _describe(invalid: Mapping[str, Mapping[str, int]], n_samples: int) -> str:
    samples = [
        f"{sample_id!r} ({', '.join(f'{field} in {points:,}' for field, points in fields.items())})"
        for sample_id, fields in invalid.items()
    ]
    return f"{len(invalid):,} of {n_samples:,} samples hold points with NaN or inf: {first_few(samples)}"
