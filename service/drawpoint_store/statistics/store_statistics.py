"""Statistics of a store's fields, for normalisation: computed in one pass, kept in `<root>/statistics.json`."""

from __future__ import annotations

import difflib
import warnings
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from drawpoint.draw.seeds import check_integer
from drawpoint.errors import InvalidSample, MetadataDamaged, UnknownField
from drawpoint.format.scale import Scale, check_samples, check_scaled_fields, parse_scales
from drawpoint_store.reading.blocks import sample_bar
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.statistics.moments_table import MomentsTable, held_arrays, read_moments
from drawpoint_store.statistics.running_stats import RunningStats
from drawpoint_store.statistics.sample_statistics import MeasuredSample, measure_by_executor, measure_samples
from drawpoint_store.wording import first_few

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from concurrent.futures import Executor

    from drawpoint.format.manifest import StoreManifest

OnInvalid = Literal["error", "skip"]


class Measurement(NamedTuple):
    """Statistics by field, a sentence on the points that they are without or None, and the number of samples read."""

    statistics: dict[str, RunningStats]
    left_out: str | None
    n_read: int


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
    executor: Executor | None = None,
    reread: bool = False,
) -> dict[str, RunningStats]:
    """Return the statistics of each field over all rows of the samples, by canonical field in manifest order.

    `fields` and `exclude_fields` choose fields (all by default), `sample_ids` samples, each counted once, of which
    the first `limit` are taken. The values are those stored. Fields in `scale` are divided before by an expression in
    the scalars of their sample, such as `{"surface_pressure": "0.5 * rho_inf * U_inf**2"}`. `max_workers` threads
    measure, each reading with `read_concurrency` threads; memory stays bounded. A field that none of the samples holds
    is left out. `progress` shows a bar on a terminal.

    With an `executor`, such as a ProcessPoolExecutor or that of a Dask client, each sample is a task of its own, and
    `max_workers` stays 1. Workers elsewhere must find the store under its absolute path or URL. The result is the same,
    bit for bit, whatever measures it; only processors with AVX-512 may round logarithms in another way.

    Samples whose moments the store keeps (`drawpoint convert` and `drawpoint stats` write them) are not read, unless
    `reread` is set; fields in `scale` are always read.

    Stores of other writers may hold NaN or inf, often inf where a value exceeded float16. `on_invalid="skip"` leaves
    out points that hold any, of that field alone and with all their components; `count` is the number of points
    measured. `"error"` raises once all samples have been read, and names all that are concerned.

    Warns (UserWarning) of sample ids that are not in the store, of points left out, and of kept moments that are
    damaged, so that all samples are read. Raises ValueError for unknown fields and where nothing is left to measure,
    InvalidSample (a ValueError) for NaN or inf; StoreNotFound, DataDamaged as a read does, and DrawpointError where a
    worker of the executor dies.
    """
    if executor is not None and max_workers != 1:
        raise ValueError("an executor has its own workers; give max_workers or executor, not both.")
    if on_invalid not in get_args(OnInvalid):
        raise ValueError(f'on_invalid must be "error" or "skip", not {on_invalid!r}.')
    store = ZarrChunkReader(store_root, read_concurrency=read_concurrency)
    wanted = choose_fields(store.manifest, fields, exclude_fields)
    ids = choose_samples(store.manifest, sample_ids, limit)
    table, damaged = open_table(store)
    if damaged is not None:
        warnings.warn(damaged, stacklevel=2)
    measured = measure_fields(
        store,
        wanted,
        ids,
        table,
        max_workers=max_workers,
        executor=executor,
        progress=progress,
        on_invalid=on_invalid,
        scale=scale,
        reread=reread,
    )
    if measured.left_out is not None:
        warnings.warn(measured.left_out, stacklevel=2)
    return measured.statistics


def open_table(store: ZarrChunkReader) -> tuple[MomentsTable, str | None]:
    """Return what the store keeps of the moments of its samples: nothing where that is damaged, and why, or None."""
    try:
        return MomentsTable.of(store.manifest, read_moments(store.storage)), None
    except MetadataDamaged as error:
        return MomentsTable.of(store.manifest), str(error)


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
    table: MomentsTable,
    *,
    max_workers: int = 1,
    executor: Executor | None = None,
    progress: bool = False,
    on_invalid: OnInvalid = "error",
    scale: Mapping[str, str | Scale] | None = None,
    reread: bool = False,
) -> Measurement:
    """Return the statistics of `fields` over all rows of the samples, in the order of `fields`.

    What `table` knows is not read, unless with `reread`; what is read is put into it. Fields that are scaled are always
    read. Raises InvalidSample for NaN or inf that are not to be left out, ValueError where no sample holds any of the
    fields, and, before anything is read, UnknownField, UnknownScalar or InvalidParameter for a scale of another field,
    or that a sample has no scalars for.
    """
    scales = parse_scales(scale)
    check_scaled_fields(scales, fields, "what is measured")
    check_samples(scales, store.manifest, sample_ids)
    totals = {field: RunningStats(field, scale=scales[field].text if field in scales else None) for field in fields}
    invalid: dict[str, Mapping[str, int]] = {}  # points that hold NaN or inf, by sample id and field
    unknown = _find_unknown(store.manifest, fields, sample_ids, None if reread else table, scales)
    if executor is None:
        measured = measure_samples(store, unknown, scales, max_workers=max_workers)
    else:
        measured = measure_by_executor(executor, store, unknown, scales)
    with sample_bar(sample_ids, progress=progress) as bar:
        for sample_id in sample_ids:
            read = next(measured) if sample_id in unknown else MeasuredSample(sample_id, {}, {})
            digest = store.manifest.samples[sample_id].digest
            for field, (layout, n_points) in held_arrays(store.manifest, sample_id).items():
                moments = read.moments.get(field)
                if moments is not None and field not in scales:
                    table.put(sample_id, layout, n_points, moments)
                if field in totals and field not in unknown.get(sample_id, ()):
                    moments = table.find(sample_id, digest, layout, n_points)
                if moments is not None:
                    totals[field].add_moments(moments)
            if read.invalid:
                invalid[sample_id] = read.invalid
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
    left_out = f"{where}; the statistics of these fields are without these points." if invalid else None
    return Measurement(held, left_out, len(unknown))


def _find_unknown(
    manifest: StoreManifest,
    fields: Sequence[str],
    sample_ids: Sequence[str],
    table: MomentsTable | None,
    scales: Mapping[str, Scale],
) -> dict[str, list[str]]:
    """Return the fields to be read of each sample of which any are."""
    unknown = {}
    for sample_id in sample_ids:
        digest, arrays = manifest.samples[sample_id].digest, held_arrays(manifest, sample_id)
        names = [
            field
            for field in fields
            if field in arrays
            and (table is None or field in scales or table.find(sample_id, digest, *arrays[field]) is None)
        ]
        if names:
            unknown[sample_id] = names
    return unknown


def _describe(invalid: Mapping[str, Mapping[str, int]], n_samples: int) -> str:
    samples = [
        f"{sample_id!r} ({', '.join(f'{field} in {points:,}' for field, points in fields.items())})"
        for sample_id, fields in invalid.items()
    ]
    return f"{len(invalid):,} of {n_samples:,} samples hold points with NaN or inf: {first_few(samples)}"
