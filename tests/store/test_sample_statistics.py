"""Moments of each sample: measured while it is written, kept in a file, and measured by executors."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import zipfile
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawpoint.errors import DataDamaged, DrawpointError, MetadataDamaged
from drawpoint.format.manifest import ArrayLayout
from drawpoint_store import FileMap, StoreManifest, ZarrChunkReader, ZarrStoreWriter, calculate_store_statistics
from drawpoint_store.statistics.moments import Moments
from drawpoint_store.statistics.moments_table import MomentsTable, held_arrays, read_moments, write_moments
from drawpoint_store.statistics.sample_statistics import WrittenRows, measure_by_executor, measure_samples
from foreign import write_small_foreign
from small import small_arrays, small_writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

POINTS = 300_000  # more than two blocks


def exactly(moments: Mapping[str, Moments]) -> dict[str, list[Any]]:
    return {field: [each.rows, *(part.tolist() for part in each[1:])] for field, each in moments.items()}


def measured(root: str | os.PathLike[str], **options: Any) -> dict[str, Any]:
    return {field: stats.to_dict() for field, stats in calculate_store_statistics(root, **options).items()}


def filled_table(root: Path) -> MomentsTable:
    """Return the table of a store, with what is read of its samples."""
    store = ZarrChunkReader(root)
    table = MomentsTable.of(store.manifest)
    fields = {sample_id: list(store.manifest.fields) for sample_id in sorted(store.manifest.samples)}
    for sample in measure_samples(store, fields, {}):
        for field, (layout, n_points) in held_arrays(store.manifest, sample.sample_id).items():
            assert table.put(sample.sample_id, layout, n_points, sample.moments[field])
    return table


def lose_chunks(root: Path) -> None:
    """Remove all data of a store, so that a read of any sample is an error."""
    chunks = [path for path in root.rglob("c") if path.is_dir()]
    assert chunks
    for path in chunks:
        shutil.rmtree(path)


@pytest.mark.parametrize(
    ("chunk_points", "shard_points", "level"), [(4096, None, 0), (1000, 70_000, 0), (200_000, 200_000, 5)]
)
def test_rows_that_are_written_have_the_moments_of_those_that_are_read_to_the_last_bit(
    tmp_path: Path, chunk_points: int, shard_points: int | None, level: int
) -> None:
    rng = np.random.default_rng(1)
    arrays = {
        "surface_position": rng.standard_normal((POINTS, 3)) * [1, 1e-3, 1e3] + 100,
        "surface_pressure": rng.standard_normal(POINTS) * 100,
        "surface_friction": rng.standard_normal((POINTS, 3)),
    }
    writer = ZarrStoreWriter(
        tmp_path,
        FileMap(surface_position="p", surface_pressure="q", surface_friction="f"),
        "made",
        chunk_points=chunk_points,
        shard_points=shard_points,
        compression_level=level,
        field_dtypes={"surface_friction": "float64"},
    )
    written = WrittenRows()
    writer.manifest.samples["run"] = writer.write_group("run", arrays, measure=written.push)
    writer.save_manifest()
    (read,) = measure_samples(ZarrChunkReader(tmp_path), {"run": list(arrays)}, {}, max_workers=2)
    found = written.moments()
    assert found.keys() == arrays.keys()
    assert exactly(found) == exactly(read.moments)
    assert (found["surface_pressure"].rows, read.invalid) == (POINTS, {})


def test_a_field_whose_squares_leave_the_float64_range_has_no_moments_and_is_written(tmp_path: Path) -> None:
    writer = small_writer(tmp_path, values_dtype="float64")
    written = WrittenRows()
    large = small_arrays() | {"surface_pressure": np.linspace(-1e300, 1e300, 10)}
    writer.manifest.samples["run"] = writer.write_group("run", large, measure=written.push)
    assert written.moments().keys() == large.keys() - {"surface_pressure"}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A store of three small samples whose moments it keeps, one of them without a volume."""
    writer = small_writer(tmp_path / "store")
    writer.write_sample("a/1", small_arrays(seed=1))
    writer.write_sample("b", {name: rows for name, rows in small_arrays(seed=2).items() if name.startswith("surface")})
    writer.write_sample("c", small_arrays(40, seed=3))
    writer.save_manifest()
    write_moments(tmp_path / "store", filled_table(tmp_path / "store"))
    return tmp_path / "store"


def test_kept_moments_are_used_in_place_of_the_data_and_give_the_same_bits(kept: Path) -> None:
    chosen: list[dict[str, Any]] = [{}, {"sample_ids": ["c", "b"]}, {"fields": ["volume_velocity"]}, {"limit": 1}]
    before = [measured(kept, **options, reread=True) for options in chosen]
    lose_chunks(kept)
    assert [measured(kept, **options) for options in chosen] == before
    with pytest.raises(DrawpointError, match="a/1"):
        measured(kept, reread=True)
    with pytest.raises(DrawpointError, match="a/1"):
        measured(kept, scale={"surface_pressure": "2"}, fields=["surface_pressure"])


def test_only_samples_of_another_digest_are_read(kept: Path) -> None:
    lose_chunks(kept)
    writer = small_writer(kept)
    writer.manifest = StoreManifest.load(kept)
    writer.write_sample("c", small_arrays(40, seed=4))
    writer.write_sample("d", small_arrays(seed=5))
    writer.save_manifest()
    fresh = kept.parent / "fresh"
    other = small_writer(fresh)
    other.write_sample("c", small_arrays(40, seed=4))
    other.write_sample("d", small_arrays(seed=5))
    other.save_manifest()
    assert measured(kept, sample_ids=["c", "d"]) == measured(fresh)
    assert measured(kept)["surface_pressure"]["count"] == 10 + 10 + 40 + 10


def test_a_store_without_digests_is_always_read(tmp_path: Path) -> None:
    write_small_foreign(tmp_path, consolidated=True, checksums=False)
    manifest = StoreManifest.load(tmp_path)
    expected = measured(tmp_path)
    table = MomentsTable({"a": ""}, {layout.array_name: layout.dim for layout in manifest.fields.values()})
    for layout, n_points in held_arrays(manifest, "a").values():
        wrong = np.ones((2, layout.dim))
        assert table.put("a", layout, n_points, Moments(n_points, wrong, wrong, wrong[0], wrong[0]))
    assert len(MomentsTable.of(manifest, table)) == 0
    write_moments(tmp_path, table)
    assert measured(tmp_path) == expected


def test_moments_of_some_points_are_not_kept_as_those_of_all(kept: Path) -> None:
    manifest = StoreManifest.load(kept)
    table = MomentsTable.of(manifest)
    layout, n_points = held_arrays(manifest, "c")["surface_pressure"]
    some = np.ones((2, 1))
    assert not table.put("c", layout, n_points, Moments(n_points - 1, some, some, some[0], some[0]))
    assert len(table) == 0
    assert table.find("c", manifest.samples["c"].digest, layout, n_points) is None


finite = st.floats(allow_nan=False, allow_infinity=False)
ids = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=5)


@settings(max_examples=30)
@given(st.dictionaries(ids, st.lists(finite, min_size=12, max_size=12), max_size=4))
def test_a_table_comes_back_from_its_file_to_the_last_bit(samples: dict[str, list[float]]) -> None:
    layout = ArrayLayout(array_name="wall/shear", field="wall_shear", dtype="float32", dim=2)
    table = MomentsTable(dict.fromkeys(samples, "sha256/2:0"), {layout.array_name: 2})
    for sample_id, values in samples.items():
        columns = np.array(values).reshape(6, 2)
        assert table.put(sample_id, layout, 7, Moments(7, columns[:2], columns[2:4], columns[4], columns[5]))
    back = MomentsTable.from_bytes(table.to_bytes())
    assert len(back) == len(samples)
    for sample_id, values in samples.items():
        found = back.find(sample_id, "sha256/2:0", layout, 7)
        assert found is not None
        assert (
            np.concatenate([found.mean, found.squares, [found.low, found.high]]).tobytes() == np.array(values).tobytes()
        )
        for digest, other, n_points in (
            ("sha256/2:1", layout, 7),
            ("sha256/2:0", layout, 8),
            ("sha256/2:0", layout.model_copy(update={"dim": 1}), 7),
            ("sha256/2:0", layout.model_copy(update={"array_name": "wall/other"}), 7),
        ):
            assert back.find(sample_id, digest, other, n_points) is None


def test_no_flipped_bit_and_no_lost_byte_of_the_file_is_taken_for_moments(kept: Path) -> None:
    place = kept / "statistics" / "samples.npz"
    data = place.read_bytes()
    for at in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        for damaged in (bytes(flipped), data[:at]):
            with pytest.raises(ValueError, match="its checksum is another one"):
                MomentsTable.from_bytes(damaged)
    expected = measured(kept)
    place.write_bytes(data[: len(data) // 2])
    with pytest.raises(
        MetadataDamaged, match=r"samples\.npz is not used: its checksum is another one; `drawpoint stats`"
    ):
        read_moments(kept)
    with pytest.warns(UserWarning, match=r"samples\.npz is not used: its checksum"):
        assert measured(kept) == expected


def resigned(file: io.BytesIO) -> bytes:
    """Return a NumPy archive with the checksum that a table has."""
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = bytes(64)
    data = file.getvalue()[:-64]
    return data + hashlib.sha256(data).hexdigest().encode()


@pytest.mark.parametrize("change", ["version", "rows", "unsorted", "pickle", "digests", "no array", "nothing"])
def test_a_file_with_a_valid_checksum_that_is_no_table_is_refused(kept: Path, change: str) -> None:
    with np.load(io.BytesIO((kept / "statistics" / "samples.npz").read_bytes())) as archive:
        arrays: dict[str, Any] = dict(archive)
    if change == "version":
        arrays["version"] = np.array(2)
    elif change == "rows":
        arrays["rows/surface/pressure"] = arrays["rows/surface/pressure"][:1]
    elif change == "unsorted":
        arrays["ids"] = np.frombuffer(b"b\na/1\nc", np.uint8)
    elif change == "pickle":
        arrays["ids"] = np.array([{}], object)
    elif change == "digests":
        arrays["digests"] = np.array(7)
    elif change == "nothing":
        arrays = {}
    file = io.BytesIO()
    np.savez(file, **arrays)
    if change == "no array":
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("moments/volume/other", b"text")
    with pytest.raises(ValueError, match=r"version is 2|not sorted|of it is int64|no table|pickle|magic string"):
        MomentsTable.from_bytes(resigned(file))


def test_a_compressed_file_is_refused_since_it_may_take_any_memory() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, version=np.array(1), ids=np.zeros(10**6, np.uint8))
    with pytest.raises(ValueError, match=r"version\.npy is compressed"):
        MomentsTable.from_bytes(resigned(file))


def test_a_table_of_a_sample_whose_id_is_empty_comes_back() -> None:
    data = MomentsTable({"": "sha256/2:0"}, {"wall/p": 1}).to_bytes()
    assert MomentsTable.from_bytes(data).to_bytes() == data


@pytest.fixture(params=["threads", "processes"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made: Executor = ThreadPoolExecutor(2)
    if request.param == "processes":  # elsewhere, as the workers of a cluster are
        made = ProcessPoolExecutor(2, get_context("spawn"), initializer=os.chdir, initargs=("/",))
    with made:
        yield made


def test_an_executor_gives_the_same_bits_also_for_a_relative_path(
    kept: Path, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kept.parent)
    options: dict[str, Any] = {"reread": True, "scale": {"surface_pressure": "4"}}
    assert measured("store", executor=executor, **options) == measured("store", **options)
    place = kept / "a" / "1.zarr" / "volume" / "velocity" / "c" / "0" / "0"
    place.write_bytes(place.read_bytes()[:-1])
    with pytest.raises(DataDamaged, match="a/1"):
        measured("store", executor=executor, reread=True)
    assert measured("store", executor=executor, sample_ids=["b"], reread=True)


def test_a_worker_that_dies_is_an_error_that_names_the_sample(kept: Path) -> None:
    with (
        ProcessPoolExecutor(1, get_context("spawn"), initializer=os._exit, initargs=(1,)) as dying,
        pytest.raises(DrawpointError, match=r"did not measure sample 'a/1' \(BrokenProcessPool: .*run it again"),
    ):
        measured(kept, executor=dying, reread=True)
    with pytest.raises(ValueError, match="give max_workers or executor, not both"):
        measured(kept, executor=dying, max_workers=2)
    with pytest.raises(DrawpointError, match="did not measure sample 'a/1'"):  # what is broken takes no task
        measured(kept, executor=dying, reread=True)


def test_a_task_is_small_whatever_the_number_of_samples(kept: Path) -> None:
    manifest = StoreManifest.load(kept)
    for number in range(1_000):
        manifest.samples[f"more/{number}"] = manifest.samples["c"].model_copy(update={"relpath": f"{number}.zarr"})
    sizes: list[int] = []

    class Weighing(ThreadPoolExecutor):
        def submit(self, *call: Any, **options: Any) -> Any:
            sizes.append(len(pickle.dumps(call)))
            return super().submit(*call, **options)

    with Weighing(1) as executor:
        store = ZarrChunkReader(kept, manifest=manifest)
        fields = {sample_id: ["surface_pressure"] for sample_id in ("a/1", "b", "c")}
        assert len(list(measure_by_executor(executor, store, fields, {}))) == 3
    assert max(sizes) < 3_000
