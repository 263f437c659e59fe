"""Planning a read: what is asked for, what there is, and what it will hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import COUNTS, FILEMAP, sample_arrays
from drawpoint.draw.rows import all_rows, draw_rows, part_rows
from drawpoint.draw.selection import KNOWN_DOMAINS, select_coords, select_sample
from drawpoint.errors import InvalidDraw, SampleNotFound, UnknownDomain, UnknownField
from drawpoint.format.manifest import StoreManifest
from drawpoint_store import FIELD_SPECS, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.reading.plan import ReadPlan, plan_coords, plan_draw, plan_sample


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plan")
    writer = ZarrStoreWriter(root, FILEMAP, "made", chunk_points=256)
    writer.write_sample("param0/run", sample_arrays())
    surface = {field: array for field, array in sample_arrays().items() if field.startswith("surface")}
    writer.write_sample("param1/shell", surface)
    writer.save_manifest()
    return root


@pytest.fixture(scope="module")
def manifest(root: Path) -> StoreManifest:
    return ZarrChunkReader(root).manifest


def plan(
    manifest: StoreManifest,
    num_points: Mapping[str, int | None] | None = None,
    *,
    fields: Collection[str] | None = None,
    sample_id: str = "param0/run",
    seed: int = 3,
    part: int | None = None,
) -> ReadPlan:
    return plan_sample(manifest, sample_id, num_points, seed=seed, part=part, fields=fields)


def test_an_unknown_name_is_told_near_ones(manifest: StoreManifest) -> None:
    expected = "store 'made' has no sample 'param0/rum'; near names: param0/run"
    with pytest.raises(SampleNotFound, match=expected) as caught:
        plan(manifest, sample_id="param0/rum")
    assert caught.value.sample == "param0/rum"
    with pytest.raises(SampleNotFound, match=expected):
        plan_coords(manifest, "param0/rum", {"surface": 1}, seed=0)
    with pytest.raises(UnknownDomain, match="no domain 'surfaces'; near names: surface"):
        plan(manifest, {"surfaces": 10})
    with pytest.raises(UnknownDomain, match="no domain 'surfaces'; near names: surface"):
        plan_coords(manifest, "param0/run", {"surfaces": 10}, seed=0)
    with pytest.raises(UnknownField, match=r"no field 'surface_presure'; near names: surface_pressure"):
        plan(manifest, fields=["surface_position", "surface_presure"])


@pytest.mark.parametrize("sample_id", ["", "/param0/run", "param0/run/", "./param0/run", "../x", "\0"])
def test_sample_ids_are_looked_up_as_they_are(manifest: StoreManifest, sample_id: str) -> None:
    with pytest.raises(SampleNotFound):
        plan(manifest, sample_id=sample_id)


def test_a_count_for_a_usual_domain_that_the_store_lacks_means_nothing(manifest: StoreManifest) -> None:
    assert set(KNOWN_DOMAINS) == {spec.domain for spec in FIELD_SPECS}
    lacking = dict.fromkeys(set(KNOWN_DOMAINS) - manifest.domains.keys(), 7)
    assert lacking
    assert plan(manifest, {"surface": 10, **lacking}) == plan(manifest, {"surface": 10})
    assert plan(manifest, dict.fromkeys(lacking)) == plan(manifest)
    for domain in lacking:
        with pytest.raises(InvalidDraw, match=f"point count of '{domain}' must be an integer"):
            plan(manifest, {domain: 0})
        with pytest.raises(UnknownDomain, match=f"no domain '{domain}'"):
            plan_coords(manifest, "param0/run", {domain: 7}, seed=0)


@pytest.mark.parametrize("count", [0, True, "3"])
def test_a_count_that_is_no_count_is_refused_with_its_domain(manifest: StoreManifest, count: Any) -> None:
    with pytest.raises(InvalidDraw, match="point count of 'volume' must be an integer"):
        plan(manifest, {"surface": 5, "volume": count})
    with pytest.raises(InvalidDraw, match="point count of 'volume' must be an integer"):
        plan_coords(manifest, "param0/run", {"volume": count}, seed=0)
    with pytest.raises(InvalidDraw):  # also for a domain that the sample lacks, or that no field is asked of
        plan(manifest, {"volume": count}, sample_id="param1/shell")
    with pytest.raises(InvalidDraw):
        plan(manifest, {"volume": count}, fields=["surface_area"])


def test_counts_are_mapped_from_domains_and_fields_are_a_collection_with_a_name_in_it(manifest: StoreManifest) -> None:
    num_points: Any
    for num_points in (5, "surface", [("surface", 5)]):
        with pytest.raises(InvalidDraw, match="num_points maps domains to counts"):
            plan(manifest, num_points)
    fields: Any
    for fields in ("surface_pressure", [], iter(["surface_pressure"]), 5):
        with pytest.raises(InvalidDraw, match="fields is a collection of field names"):
            plan(manifest, fields=fields)


def test_a_domain_that_is_left_out_or_none_is_read_in_full(manifest: StoreManifest) -> None:
    for made in (plan(manifest, {"surface": 10}), plan(manifest, {"surface": 10, "volume": None})):
        assert made.draws["surface"].num_rows == 10
        assert made.draws["volume"].num_rows == COUNTS["volume"]
        assert made.draws["volume"].rows == all_rows(made.draws["volume"].grid)
    assert plan(manifest, {"surface": 10**9}).draws["surface"].num_rows == COUNTS["surface"]


def test_rows_are_those_of_the_draw_rule(manifest: StoreManifest) -> None:
    grid = manifest.samples["param0/run"].domains["surface"]
    made = plan(manifest, {"surface": 100})
    expected = draw_rows(grid, 100, seed=3, sample_id="param0/run", domain="surface", stream="fields")
    assert made.draws["surface"].rows == expected
    parted = plan(manifest, {"surface": 100}, part=4)
    assert parted.draws["surface"].rows == part_rows(
        grid, 100, seed=3, part=4, sample_id="param0/run", domain="surface"
    )
    coords = plan_coords(manifest, "param0/run", {"surface": 100}, seed=3)
    expected = draw_rows(grid, 100, seed=3, sample_id="param0/run", domain="surface", stream="coords")
    assert coords.draws["surface"].rows == expected


def test_fields_do_not_change_the_rows(manifest: StoreManifest) -> None:
    whole = plan(manifest, {"surface": 100, "volume": 50})
    some = plan(manifest, {"surface": 100, "volume": 50}, fields=["surface_area"])
    assert some.draws == {"surface": whole.draws["surface"]}
    assert list(some.arrays) == ["surface_area"]


def test_arrays_come_in_the_order_of_the_store(manifest: StoreManifest) -> None:
    assert list(plan(manifest).arrays) == list(manifest.fields)
    assert list(plan(manifest, fields=list(manifest.fields)[::-1]).arrays) == list(manifest.fields)


def test_the_fields_of_a_domain_that_the_sample_lacks_are_absent_and_its_coordinates_are_an_error(
    manifest: StoreManifest,
) -> None:
    made = plan(manifest, {"surface": 10, "volume": 10}, sample_id="param1/shell")
    assert list(made.draws) == ["surface"]
    assert all(field.startswith("surface") for field in made.arrays)
    made = plan(manifest, sample_id="param1/shell", fields=["surface_area", "volume_pressure"])
    assert list(made.arrays) == ["surface_area"]
    assert plan(manifest, sample_id="param1/shell", fields=["volume_pressure"]).arrays == {}
    with pytest.raises(UnknownDomain, match="sample 'param1/shell' has no domain 'volume'; there is: surface"):
        plan_coords(manifest, "param1/shell", {"surface": 3, "volume": 10}, seed=0)


def test_coordinates_are_the_positions_of_the_domains_named(manifest: StoreManifest) -> None:
    made = plan_coords(manifest, "param0/run", {"volume": 10, "surface": None}, seed=0)
    assert set(made.arrays) == {"volume_position", "surface_position"}
    assert made.draws["volume"].num_rows == 10
    assert made.draws["surface"].rows == all_rows(made.draws["surface"].grid)
    with pytest.raises(InvalidDraw, match="at least one domain; store 'made' has: surface, volume"):
        plan_coords(manifest, "param0/run", {}, seed=0)


@pytest.mark.parametrize("counts", [None, {"surface": 7, "volume": 300}])
def test_a_draw_has_the_shapes_and_the_bytes_that_were_told_before_it(
    root: Path, counts: dict[str, int] | None
) -> None:
    reader = ZarrChunkReader(root)
    selections = [select_sample(reader.manifest, "param0/run", counts)]
    selections += [select_coords(reader.manifest, "param0/run", counts)] if counts else []
    for selection in selections:
        made = plan_draw(selection, seed=3)
        for dtype in (None, "float32"):
            out = {field: np.empty(array.shape, dtype or array.layout.dtype) for field, array in made.arrays.items()}
            reader.read_into(made, out)
            assert selection.nbytes(dtype) == sum(array.nbytes for array in out.values())
    made = plan(reader.manifest, counts)
    assert made.arrays["surface_pressure"].shape == (7 if counts else 1500,)
    assert made.arrays["volume_velocity"].shape == (300 if counts else 10_000, 3)
