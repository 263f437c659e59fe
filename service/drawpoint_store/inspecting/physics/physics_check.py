"""The checks of all samples of a store: those of a recipe, and those that need none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from drawpoint.errors import DataDamaged, InvalidSample, SampleNotFound
from drawpoint_store.conversion.recipes.check_recipe import (
    ClosedCheck,
    CoefficientCheck,
    ForceCheck,
    InflowCheck,
    StagnationCheck,
)
from drawpoint_store.conversion.recipes.reading.sample_scalars import stated_scalars
from drawpoint_store.inspecting.physics.closed_surface import ClosedSurface
from drawpoint_store.inspecting.physics.finding import CheckedSample, Finding, NotChecked
from drawpoint_store.inspecting.physics.force import ForceIntegral
from drawpoint_store.inspecting.physics.inflow import Inflow
from drawpoint_store.inspecting.physics.normals_and_areas import NormalsAndAreas
from drawpoint_store.inspecting.physics.pressure import CoefficientComparison, LargestPressure
from drawpoint_store.reading.blocks import map_in_order, plan_blocks, read_block, sample_bar
from drawpoint_store.reading.reader import ZarrChunkReader

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from drawpoint_store.conversion.recipes.check_recipe import CheckModel
    from drawpoint_store.conversion.recipes.recipe import Recipe
    from drawpoint_store.inspecting.physics.finding import Measure

_VECTOR = 3


def check_physics(
    store_root: str | os.PathLike[str],
    recipe: Recipe | None = None,
    *,
    sample_ids: Iterable[str] | None = None,
    max_workers: int = 1,
    progress: bool = False,
) -> Iterator[list[Finding]]:
    """Yield the findings of each sample of a store, in the order of the ids; of all samples, or of `sample_ids`.

    Without a recipe, normals and areas are looked at: unit length, positive, a closed surface, pointing outward. With
    one, its `[checks]` besides; scalars that the store lacks are those that the recipe states. Values are those stored,
    and sums are of float64. `max_workers` threads read; memory stays bounded, and the result is the same for any number
    of them. `progress` shows a bar on a terminal. A sample that is damaged is a finding that fails. A scalar that the
    recipe states otherwise than the store is a remark of the first sample of which it does.

    Raises StoreNotFound, InvalidManifest, SampleNotFound, StoreUnreadable, and ValueError for `max_workers` below 1.
    """
    store = ZarrChunkReader(store_root)
    known = store.manifest.samples
    ids = sorted(known) if sample_ids is None else list(dict.fromkeys(sample_ids))
    for sample_id in ids:
        if sample_id not in known:
            raise SampleNotFound.among("sample", sample_id, known, where="the store", sample=sample_id)
    told: set[str] = set()
    for sample_id in sample_bar(ids, progress=progress):
        findings = _check_sample(store, recipe, sample_id, max_workers)
        remarks = [remark for remark in _other_scalars(store, recipe, sample_id) if remark.check not in told]
        told.update(remark.check for remark in remarks)
        yield remarks + findings


def _check_sample(store: ZarrChunkReader, recipe: Recipe | None, sample_id: str, max_workers: int) -> list[Finding]:
    measures: list[Measure] = []
    findings: list[Finding] = []
    try:
        sample = _open_sample(store, recipe, sample_id)
    except InvalidSample as error:
        return [Finding(sample_id, "scalars", "not checked", message=str(error).rstrip("."))]
    for name, check in ({} if recipe is None else recipe.checks).items():
        try:
            measures.append(_measure(sample, name, check))
        except NotChecked as reason:
            findings.append(Finding(sample_id, name, "not checked", message=str(reason)))
    closed = {} if recipe is None else {each.domain for each in recipe.checks.values() if isinstance(each, ClosedCheck)}
    measures += _general(sample, store, closed)
    # Sums over NaN and inf are NaN, which no check takes for what it expects.
    with np.errstate(invalid="ignore", over="ignore"):
        try:
            _read_all(store, sample_id, measures, max_workers)
        except DataDamaged as error:
            message = f"{str(error).rstrip('.')}; `drawpoint verify` tells what is damaged"
            return [*findings, Finding(sample_id, "values", "fails", message=message)]
        return findings + [found for measure in measures for found in measure.findings()]


def _open_sample(store: ZarrChunkReader, recipe: Recipe | None, sample_id: str) -> CheckedSample:
    manifest = store.manifest
    held = manifest.samples[sample_id].domains
    stated = {} if recipe is None else stated_scalars(recipe.scalars, sample_id)
    fields = {
        field: layout
        for domain, each in manifest.domains.items()
        if domain in held
        for field, layout in each.arrays.items()
    }
    return CheckedSample(sample_id, stated | manifest.samples.scalars_of(sample_id), fields)


def _other_scalars(store: ZarrChunkReader, recipe: Recipe | None, sample_id: str) -> Iterator[Finding]:
    """Yield a remark on each scalar that the recipe states otherwise than the store, whose values count."""
    if recipe is None or not recipe.checks:
        return
    held = store.manifest.samples.scalars_of(sample_id)
    try:
        stated = stated_scalars(recipe.scalars, sample_id)
    except InvalidSample:  # which the sample's own findings tell
        return
    for name, value in stated.items():
        if name in held and not math.isclose(held[name], value, rel_tol=1e-6):
            message = f"it is {held[name]:.6g} in the store, which counts, and {value:.6g} in the recipe"
            remedy = "`drawpoint annotate --scalars` changes the store's; more samples may differ and are not named"
            yield Finding(sample_id, f"scalar {name}", "remark", message=message, causes=(remedy,))


def _measure(sample: CheckedSample, name: str, check: CheckModel) -> Measure:
    """Return the measure of a recipe's check; raises NotChecked where the sample has not what it needs."""
    match check:
        case ForceCheck():
            return ForceIntegral(sample, name, check)
        case CoefficientCheck():
            return CoefficientComparison(sample, name, check)
        case StagnationCheck():
            return LargestPressure(sample, name, check)
        case InflowCheck():
            return Inflow(sample, name, check)
        case ClosedCheck():
            return ClosedSurface(sample, name, check, is_demanded=True)
    raise AssertionError(check)


def _general(sample: CheckedSample, store: ZarrChunkReader, closed: Iterable[str]) -> Iterator[Measure]:
    """Yield what can be measured of each domain without a recipe, but for surfaces that the recipe calls `closed`."""
    for domain in store.manifest.domains:
        normals = _field(sample, domain, "normals", _VECTOR)
        area = _field(sample, domain, "area", 1)
        if normals is not None or area is not None:
            yield NormalsAndAreas(sample, domain, normals, area)
        if normals is not None and area is not None and domain not in closed:
            yield ClosedSurface(
                sample, f"{domain} closed", ClosedCheck(check="closed", domain=domain), is_demanded=False
            )


def _field(sample: CheckedSample, domain: str, name: str, dim: int) -> str | None:
    try:
        return sample.field(domain, name, dim)
    except NotChecked:
        return None


def _read_all(store: ZarrChunkReader, sample_id: str, measures: list[Measure], max_workers: int) -> None:
    """Give each measure all rows of its domain; every field is read once."""
    fields = {field for measure in measures for field in measure.fields}
    if not fields:
        return
    plans = plan_blocks(store.manifest, sample_id, fields)
    for block in map_in_order(lambda plan: _by_components(read_block(store, plan)), plans, max_workers):
        for measure in measures:
            if set(measure.fields) <= block.keys():
                measure.add(block)


def _by_components(rows: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """Return rows of shape (N, dim) as float64 (dim, N), of which sums are several times as fast."""
    return {field: np.ascontiguousarray(values.T, np.float64) for field, values in rows.items()}
