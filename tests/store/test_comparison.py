"""A store against the files that it came from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drawpoint_store import StoreManifest, ZarrStoreWriter
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.sources.file_tree import FileTree
from drawpoint_store.conversion.sources.filemaps import detect_filemap
from drawpoint_store.conversion.sources.pt_source import PtSource
from drawpoint_store.inspecting.comparison import Difference, compare_fields, compare_samples
from drawpoint_store.maintenance.upgrade import upgrade_store
from trees import RUN_FILEMAP, SURFACE, run_tensors, write_run, write_runs, writer_at
from unbinding import unbind


def write(root: Path, runs: Path) -> None:
    convert(runs, writer_at(root, shard_points=128))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_runs(folder / "runs", 2)
    write(folder / "store", folder / "runs")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "made"))


def differences(folder: Path, workers: int = 1) -> list[Difference]:
    compared = compare_samples(folder / "store", PtSource.scan(folder / "runs", RUN_FILEMAP), max_workers=workers)
    return [difference for sample in compared for difference in sample.differences]


def change(path: Path, row: int, value: float | list[float]) -> None:
    tensor = torch.load(path, weights_only=True)
    tensor[row] = torch.tensor(value)
    torch.save(tensor, path)


def reorder(folder: Path) -> None:
    """Give the store's samples another order, the same in all fields, as another writer might have."""
    for sample_id, entry in StoreManifest.load(folder / "store").samples.items():
        group = zarr.open_group(folder / "store" / entry.relpath, mode="r+")
        for domain, grid in entry.domains.items():
            order = np.random.default_rng(len(sample_id)).permutation(grid.n_points)
            for field in StoreManifest.load(folder / "store").domains[domain].arrays.values():
                array: Any = group[field.array_name]
                array[...] = np.asarray(array[...])[order]
    unbind(folder / "store")
    manifest = StoreManifest.load(folder / "store")
    for sample_id, entry in manifest.samples.items():
        manifest.samples[sample_id] = entry.model_copy(update={"digest": None})
    manifest.save(folder / "store")
    assert not upgrade_store(folder / "store").damaged  # what has a digest by then says nothing of the order


@pytest.mark.parametrize("workers", [1, 3])
def test_a_store_equals_what_it_was_converted_from(made: Path, workers: int) -> None:
    compared = list(compare_samples(made / "store", PtSource.scan(made / "runs", RUN_FILEMAP), max_workers=workers))
    assert [sample.sample_id for sample in compared] == ["run_0", "run_1"]
    for sample in compared:
        assert sample.differences == ()
        assert sample.order_known
        assert sample.n_values == SURFACE * 4 + 700 * 4


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    field=st.sampled_from(["surface_position", "surface_pressure", "volume_position", "volume_distance_to_surface"]),
    row=st.integers(0, SURFACE - 1),
)
def test_any_value_that_differs_is_named_with_its_row_and_both(folder: Path, field: str, row: int) -> None:
    write_run(folder / "runs" / "run_1", 1)
    vector = field.endswith("position")
    change(folder / "runs" / "run_1" / f"{field}.pt", row, [7.0, 8.0, 9.5] if vector else 9.5)
    (found,) = differences(folder)
    name = "volume_sdf" if field == "volume_distance_to_surface" else field
    assert (found.sample, found.field, found.row) == ("run_1", name, row)
    total, dtype = (SURFACE if field.startswith("surface") else 700), ("float32" if vector else "float16")
    original = run_tensors(1)[f"{field}.pt"][row].numpy().astype(dtype)
    was = f"({', '.join(map(str, original))})" if vector else str(original)
    assert found.message == (
        f"{name} of sample 'run_1' differs in 1 of {total} rows, the first is row {row} of the source: the store has "
        f"{was}, the source {'(7.0, 8.0, 9.5)' if vector else '9.5'} (as {dtype})"
    )


def test_a_group_of_another_sample_is_found(folder: Path) -> None:
    shutil.rmtree(folder / "store" / "run_1.zarr")
    shutil.copytree(folder / "store" / "run_0.zarr", folder / "store" / "run_1.zarr")
    assert {difference.sample for difference in differences(folder)} == {"run_1"}


def test_samples_and_files_that_one_side_lacks_are_named(folder: Path) -> None:
    write_run(folder / "runs" / "run_7", 7)
    write_run(folder / "runs" / "preprocessed" / "run_1", 1)
    (folder / "runs" / "run_0" / "surface_pressure.pt").unlink()
    runs = folder / "runs"
    assert [difference.message for difference in differences(folder)] == [
        "sample 'run_0' lacks surface_pressure.pt (surface_pressure) in the source",
        f"sample 'run_1': {runs}/preprocessed/run_1 and {runs}/run_1 would be samples of the same id",
        "sample 'run_7' is in the source, and not in the store",
    ]
    shutil.rmtree(folder / "runs" / "run_1")
    shutil.rmtree(folder / "runs" / "preprocessed")
    assert "sample 'run_1' is in the store, and not in the source" in [each.message for each in differences(folder)]


def test_a_domain_that_a_sample_lacks_in_the_store_is_a_difference_only_if_the_source_has_it(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 2)
    writer = ZarrStoreWriter(tmp_path / "store", RUN_FILEMAP, "made")
    for number in range(2):
        tensors = run_tensors(number)
        names = ("surface_position", "surface_pressure")
        writer.write_sample(f"run_{number}", {name: tensors[f"{name}.pt"] for name in names})
    writer.save_manifest()
    for name in ("volume_position.pt", "volume_distance_to_surface.pt"):
        (tmp_path / "runs" / "run_0" / name).unlink()
    expected = [("run_1", "volume_position"), ("run_1", "volume_sdf")]
    assert [(found.sample, found.field) for found in differences(tmp_path)] == expected


def test_damage_files_of_other_counts_and_unreadable_ones_are_named_and_the_rest_compared(folder: Path) -> None:
    (folder / "store" / "run_0.zarr" / "surface" / "position" / "c" / "1" / "0").unlink()
    torch.save(torch.zeros(SURFACE + 1), folder / "runs" / "run_0" / "surface_pressure.pt")
    (folder / "runs" / "run_1" / "volume_position.pt").write_bytes(b"no tensor")
    damage, count, unreadable = differences(folder)
    assert damage.field == "surface_position"
    assert "missing" in damage.message
    assert count.message == "surface_pressure of sample 'run_0' has 300 points in the store, and 301 in the source"
    assert unreadable.message.startswith("sample 'run_1': volume_position.pt ")


def test_what_the_cast_rounds_away_is_no_difference_and_what_it_cannot_hold_is_one(folder: Path) -> None:
    path = folder / "runs" / "run_0" / "surface_pressure.pt"
    torch.save(torch.load(path, weights_only=True).half().double(), path)
    assert differences(folder) == []
    for value in (float("nan"), float("inf"), 1e6):
        change(path, 5, value)
        (found,) = differences(folder)
        assert (found.field, found.row) == ("surface_pressure", 5)


def test_another_writers_order_is_undone_by_position(folder: Path) -> None:
    reorder(folder)
    compared = list(compare_samples(folder / "store", PtSource.scan(folder / "runs", RUN_FILEMAP)))
    assert [(sample.order_known, sample.differences) for sample in compared] == [(False, ())] * 2
    change(folder / "runs" / "run_0" / "surface_pressure.pt", 123, 9.5)
    change(folder / "runs" / "run_1" / "surface_position.pt", 123, [1.0, 2.0, 3.0])
    value, position = differences(folder)
    assert (value.sample, value.field, value.row) == ("run_0", "surface_pressure", 123)
    assert "the source 9.5" in value.message
    assert (position.sample, position.field, position.row) == ("run_1", "surface_position", 123)
    assert "1 of 300 rows of the source are nowhere in the store, the first is row 123: (1.0, 2.0, 3.0)" in (
        position.message
    )


def test_points_that_share_a_position_are_compared_in_another_writers_order(tmp_path: Path) -> None:
    position = run_tensors(0)["surface_position.pt"]
    position[:100] = 1
    write_run(tmp_path / "runs" / "run_0", surface_position=position)
    write(tmp_path / "store", tmp_path / "runs")
    reorder(tmp_path)
    assert differences(tmp_path) == []
    change(tmp_path / "runs" / "run_0" / "surface_pressure.pt", 50, 99.0)
    assert {found.field for found in differences(tmp_path)} == {"surface_pressure"}


def test_fields_of_one_side_alone_are_named(made: Path) -> None:
    manifest = StoreManifest.load(made / "store")
    tree = FileTree.scan(made / "runs")
    assert compare_fields(manifest, PtSource(tree, RUN_FILEMAP)) == []
    other = detect_filemap({"surface_position.pt", "surface_area.pt", "volume_position.pt", "surface_pressure.pt"})
    assert compare_fields(manifest, PtSource(tree, other)) == [
        "volume_sdf is in the store, and not in the source",
        "surface_area is in the source, and not in the store",
    ]
