"""Writing: what is refused, what is stored, and that the same input always gives the same bytes."""

from __future__ import annotations

import itertools
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import COUNTS, FILEMAP, sample_arrays
from drawpoint.errors import InvalidSample, StoreUnreadable
from drawpoint.samples import check_path
from drawpoint_store import FileMap, SampleEntry, StoreManifest, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.words import Words
from drawpoint_store.writer import check_sample_id

SMALL = FileMap(surface_position="p.pt", surface_pressure="q.pt", volume_position="v.pt", volume_velocity="u.pt")


def small_arrays(count: int = 10, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "surface_position": rng.standard_normal((count, 3), np.float32),
        "surface_pressure": rng.standard_normal(count, np.float32),
        "volume_position": rng.standard_normal((count + 7, 3), np.float32),
        "volume_velocity": rng.standard_normal((count + 7, 3), np.float32),
    }


def small_writer(root: Path, **kwargs: Any) -> ZarrStoreWriter:
    return ZarrStoreWriter(root, SMALL, "made", **{"chunk_points": 4, **kwargs})


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def stored(root: Path, entry: SampleEntry, array: str) -> np.ndarray[Any, Any]:
    found: Any = zarr.open_group(root / entry.relpath, mode="r")[array]
    return np.asarray(found[...])


# What is stored


@pytest.mark.parametrize("chunk_points", [1, 3, 4, 10, 17, 100])
@pytest.mark.parametrize("shard_points", [None, 1, 8])
def test_plain_zarr_reads_the_shuffled_input(tmp_path: Path, chunk_points: int, shard_points: int | None) -> None:
    writer = small_writer(tmp_path, chunk_points=chunk_points, shard_points=shard_points, shuffle_seed=5)
    arrays = small_arrays()
    entry = writer.write_group("param0/run", arrays)
    for domain, count in (("surface", 10), ("volume", 17)):
        order = Words("shuffle/1", 5, "param0/run", domain).permutation(count)
        for field, layout in writer.layouts[domain].arrays.items():
            expected = arrays[field].reshape(count, -1)[order].astype(layout.dtype)
            np.testing.assert_array_equal(stored(tmp_path, entry, layout.array_name), expected)
            assert stored(tmp_path, entry, layout.array_name).dtype == layout.dtype


def test_the_shuffle_depends_on_seed_sample_and_domain_alone(tmp_path: Path) -> None:
    orders = set()
    for seed, sample_id, count in itertools.product((0, 1), ("a", "b"), (17,)):
        arrays = small_arrays()
        arrays["surface_position"] = arrays["volume_position"] = np.arange(count * 3, dtype=np.float32).reshape(-1, 3)
        arrays["surface_pressure"], arrays["volume_velocity"] = np.zeros(count), np.zeros((count, 3))
        writer = small_writer(tmp_path / str(seed), shuffle_seed=seed)
        entry = writer.write_group(sample_id, arrays)
        for array in ("surface/position", "volume/position"):
            orders.add(tuple(stored(tmp_path / str(seed), entry, array)[:, 0]))
        coarse = small_writer(tmp_path / "coarse", shuffle_seed=seed, chunk_points=100, coords_dtype="float64")
        again = stored(tmp_path / "coarse", coarse.write_group(sample_id, arrays), "surface/position")
        np.testing.assert_array_equal(again, stored(tmp_path / str(seed), entry, "surface/position"))
    assert len(orders) == 8


def test_the_content_of_a_sample_has_a_golden_digest(tmp_path: Path) -> None:
    position, pressure = np.arange(30, dtype=np.float32).reshape(10, 3), np.arange(10) / 8
    writer = ZarrStoreWriter(tmp_path, FileMap(surface_position="p", surface_pressure="q"), "made", chunk_points=4)
    entry = writer.write_group("größe/run", {"surface_position": position, "surface_pressure": pressure})
    assert (8 * stored(tmp_path, entry, "surface/pressure")[:, 0]).tolist() == [1, 6, 5, 0, 2, 9, 8, 7, 3, 4]
    assert entry.digest == "sha256:3ef9cefdfdb93607e9f57840622bdc30ea79194b80ecad2121da0ac2e576e2f2"
    assert entry.relpath == "größe/run.zarr"


@pytest.mark.parametrize(
    ("chunk_points", "shard_points", "grid"),
    [
        (4, None, (4, 12, 3)),
        (100, None, (10, 10, 1)),
        (10, None, (10, 10, 1)),
        (4, 8, (4, 8, 3)),
        (4, 11, (4, 8, 3)),
        (4, 3, (4, 4, 3)),
        (4, 1000, (4, 12, 3)),
        (1, 4, (1, 4, 10)),
        (np.int64(4), np.int32(8), (4, 8, 3)),
    ],
)
def test_chunks_and_shards_are_cut_as_told(
    tmp_path: Path, chunk_points: int, shard_points: int | None, grid: tuple[int, int, int]
) -> None:
    writer = small_writer(tmp_path, chunk_points=chunk_points, shard_points=shard_points)
    entry = writer.write_group("run", small_arrays())
    cut = entry.domains["surface"]
    assert (cut.chunk_points, cut.shard_points, cut.n_chunks) == grid
    array: Any = zarr.open_group(tmp_path / entry.relpath, mode="r")["surface/position"]
    assert array.chunks == (grid[0], 3)
    assert array.shards == (grid[1], 3)
    shards = [path for path in (tmp_path / entry.relpath / "surface/position/c").rglob("*") if path.is_file()]
    assert len(shards) == -(-10 // grid[1])


def test_arrays_are_described_as_the_format_says(tmp_path: Path) -> None:
    entry = small_writer(tmp_path, compression_level=3).write_group("run", small_arrays())
    array: Any = zarr.open_group(tmp_path / entry.relpath, mode="r")["volume/velocity"]
    assert array.metadata.zarr_format == 3
    assert array.metadata.dimension_names == ("point", "component")
    (sharding,) = array.metadata.to_dict()["codecs"]
    inner = sharding["configuration"]["codecs"]
    assert [codec["name"] for codec in inner] == ["bytes", "blosc", "crc32c"]
    assert inner[1]["configuration"]["cname"] == "zstd"
    assert inner[1]["configuration"]["clevel"] == 3


def test_the_metadata_of_a_sample_is_consolidated(tmp_path: Path) -> None:
    entry = small_writer(tmp_path).write_group("run", small_arrays())
    place = tmp_path / entry.relpath
    described = json.loads((place / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
    assert set(described) == {
        "surface", "volume", "surface/position", "surface/pressure", "volume/position", "volume/velocity",
    }  # fmt: skip
    for name, node in described.items():
        node.pop("consolidated_metadata", None)
        assert node == json.loads((place / name / "zarr.json").read_text())
    group = zarr.open_consolidated(place)
    assert group.metadata.consolidated_metadata is not None


def test_a_chunk_of_zeros_is_stored_too(tmp_path: Path) -> None:
    arrays = small_arrays()
    arrays["surface_pressure"] = np.zeros(10)
    entry = small_writer(tmp_path).write_group("run", arrays)
    index = (tmp_path / entry.relpath / "surface/pressure/c/0/0").read_bytes()[-4 - 3 * 16 : -4]
    assert (np.frombuffer(index, "<u8") < 2**63).all()


@pytest.mark.parametrize("level", range(10))
def test_every_level_of_compression_keeps_the_values(tmp_path: Path, level: int) -> None:
    entry = small_writer(tmp_path, compression_level=level).write_group("run", small_arrays())
    reference = small_writer(tmp_path / "reference").write_group("run", small_arrays())
    assert entry.digest == reference.digest
    np.testing.assert_array_equal(
        stored(tmp_path, entry, "volume/velocity"), stored(tmp_path / "reference", reference, "volume/velocity")
    )


def test_the_dtype_of_each_field_can_be_chosen(tmp_path: Path) -> None:
    writer = small_writer(
        tmp_path, coords_dtype="float64", values_dtype="float32", field_dtypes={"volume_velocity": "float16"}
    )
    entry = writer.write_group("run", small_arrays())
    dtypes = {name: stored(tmp_path, entry, name).dtype for name in ("surface/position", "surface/pressure")}
    assert dtypes == {"surface/position": np.float64, "surface/pressure": np.float32}
    assert stored(tmp_path, entry, "volume/velocity").dtype == np.float16


def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array = array.copy()
    array.flags.writeable = False
    return array


FORMS: dict[str, Any] = {
    "float64": lambda a: a.astype(np.float64),
    "big-endian": lambda a: a.astype(">f4"),
    "a torch tensor": torch.from_numpy,
    "column-major": np.asfortranarray,
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "a list": lambda a: a.tolist(),
    "read-only": _read_only,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_input_does_not_matter(tmp_path: Path, form: str) -> None:
    arrays = small_arrays()
    reference = small_writer(tmp_path / "reference").write_group("run", arrays)
    other = small_writer(tmp_path / "other").write_group("run", {k: FORMS[form](v) for k, v in arrays.items()})
    assert other == reference
    assert files_of(tmp_path / "other") == files_of(tmp_path / "reference")


def test_scalars_may_come_as_a_column(tmp_path: Path) -> None:
    arrays = small_arrays()
    reference = small_writer(tmp_path / "reference").write_group("run", arrays)
    column = arrays | {"surface_pressure": arrays["surface_pressure"][:, None]}
    assert small_writer(tmp_path / "other").write_group("run", column) == reference


def test_integers_are_stored_as_floats(tmp_path: Path) -> None:
    arrays = small_arrays() | {"surface_pressure": np.arange(10, dtype=np.uint8)}
    entry = small_writer(tmp_path).write_group("run", arrays)
    assert sorted(stored(tmp_path, entry, "surface/pressure")[:, 0].tolist()) == list(range(10))


def test_the_input_is_left_as_it_was(tmp_path: Path) -> None:
    arrays = small_arrays()
    before = {field: array.copy() for field, array in arrays.items()}
    small_writer(tmp_path).write_group("run", arrays)
    for field, array in arrays.items():
        np.testing.assert_array_equal(array, before[field])


def test_a_sample_may_lack_a_domain(tmp_path: Path) -> None:
    arrays = {field: array for field, array in small_arrays().items() if field.startswith("volume")}
    writer = small_writer(tmp_path)
    writer.write_sample("run", arrays)
    writer.save_manifest()
    assert list(writer.manifest.samples["run"].domains) == ["volume"]
    assert not (tmp_path / "run.zarr" / "surface").exists()
    assert set(ZarrChunkReader(tmp_path).read_sample("run")) == {"volume_position", "volume_velocity"}


def test_nan_and_infinity_are_stored_as_they_are(tmp_path: Path) -> None:
    arrays = small_arrays()
    arrays["surface_pressure"] = np.array([np.nan, np.inf, -np.inf, -0.0, *range(6)])
    entry = small_writer(tmp_path).write_group("run", arrays)
    values = stored(tmp_path, entry, "surface/pressure")
    assert np.isnan(values).sum() == 1
    assert np.isinf(values).sum() == 2


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 60), st.integers(1, 70), st.none() | st.integers(1, 70), st.integers(-5, 2**70))
def test_whatever_the_grid_all_points_are_stored_once(
    tmp_path: Path, count: int, chunk_points: int, shard_points: int | None, seed: int
) -> None:
    filemap = FileMap(surface_position="p")
    writer = ZarrStoreWriter(tmp_path, filemap, "made", seed, chunk_points, shard_points)
    rows = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    writer.write_sample("run", {"surface_position": rows})
    read = ZarrChunkReader(tmp_path, writer.manifest).read_sample("run")["surface_position"].numpy()
    np.testing.assert_array_equal(read[np.argsort(read[:, 0])], rows)


# Half precision


def test_the_largest_value_that_rounds_into_float16_is_stored(tmp_path: Path) -> None:
    arrays = small_arrays()
    arrays["volume_velocity"][3, 1] = -65519
    entry = small_writer(tmp_path).write_group("run", arrays)
    assert stored(tmp_path, entry, "volume/velocity").min() == -65504


@pytest.mark.parametrize("value", [65520, -65520, 1e30, 10**6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_beyond_float16_is_refused_with_peak_and_remedy(
    tmp_path: Path, value: float, dtype: type[np.floating[Any]]
) -> None:
    arrays = small_arrays()
    arrays["volume_velocity"] = arrays["volume_velocity"].astype(dtype)
    arrays["volume_velocity"][3, 1] = value
    with pytest.raises(ValueError, match=r"exceeds the float16 range.*volume_velocity.*float32") as caught:
        small_writer(tmp_path).write_group("param0/run", arrays)
    assert f"peaks at {abs(value):.6g}," in str(caught.value)
    assert "'param0/run'" in str(caught.value)
    assert "--field-dtype volume_velocity=float32" in str(caught.value)
    assert isinstance(caught.value, InvalidSample)
    assert (caught.value.sample, caught.value.field) == ("param0/run", "volume_velocity")
    assert files_of(tmp_path) == {}
    wide = small_writer(tmp_path, field_dtypes={"volume_velocity": "float32"})
    assert stored(tmp_path, wide.write_group("run", arrays), "volume/velocity").max() < 1.1e30


def test_an_integer_beyond_float16_is_refused_too(tmp_path: Path) -> None:
    arrays = small_arrays() | {"surface_pressure": np.arange(10) * 10_000}
    with pytest.raises(ValueError, match=r"exceeds the float16 range: surface_pressure peaks at 90000"):
        small_writer(tmp_path).write_group("run", arrays)


def test_the_remedy_for_what_float32_cannot_hold_is_float64(tmp_path: Path) -> None:
    arrays = small_arrays()
    arrays["volume_velocity"] = arrays["volume_velocity"].astype(np.float64)
    arrays["volume_velocity"][0, 0] = 1e39
    for dtype in ("float16", "float32"):
        with pytest.raises(ValueError, match=rf"exceeds the {dtype} range.*--field-dtype volume_velocity=float64"):
            small_writer(tmp_path, values_dtype=dtype).write_group("run", arrays)


# What is refused, with nothing left behind

Change = dict[str, Any]
BAD_DOMAINS: dict[str, tuple[Change, str]] = {
    "no fields": (dict.fromkeys(small_arrays()), "has no fields"),
    "a field that is not stored": ({"surface_friction": np.zeros((10, 3))}, "surface_friction is not in the FileMap"),
    "a domain without its position": ({"surface_position": None}, "lacks surface_position"),
    "a domain without a field": ({"volume_velocity": None}, "lacks volume_velocity"),
    "no points": (
        {"surface_position": np.zeros((0, 3)), "surface_pressure": np.zeros(0)},
        r"surface_position has no points \(shape \(0, 3\)\)",
    ),
    "counts that disagree": (
        {"surface_pressure": np.zeros(11)},
        r"disagree on the number of points: surface_position \(10, 3\), surface_pressure \(11, 1\)",
    ),
}
BAD_POSITIONS: dict[str, tuple[Any, str]] = {
    "in the plane": (np.zeros((10, 2)), r"surface_position must have shape \(N, 3\), has \(10, 2\)"),
    "across": (np.zeros((3, 10)), r"\(N, 3\), has \(3, 10\)"),
    "flat": (np.zeros(30), r"\(N, 3\), has \(30,\)"),
    "of three axes": (np.zeros((10, 3, 1)), r"\(N, 3\), has \(10, 3, 1\)"),
}
BAD_SCALARS: dict[str, tuple[Any, str]] = {
    "of two components": (np.zeros((10, 2)), r"surface_pressure must have shape \(N,\) or \(N, 1\), has \(10, 2\)"),
    "in a row": (np.zeros((1, 10)), r"\(N,\) or \(N, 1\), has \(1, 10\)"),
    "of three axes": (np.zeros((10, 1, 1)), r"has \(10, 1, 1\)"),
    "a single number": (np.float32(3), r"has \(\)"),
    "words": (np.array(["a"] * 10), "surface_pressure must hold real numbers"),
    "bools": (np.zeros(10, bool), "must hold real numbers, holds bool"),
    "complex numbers": (np.zeros(10, complex), "must hold real numbers, holds complex128"),
    "objects": (np.array([None] * 10), "must hold real numbers, holds object"),
    "a ragged list": ([[1], [2, 3]], "surface_pressure is no array"),
    "a tensor that needs its gradient": (torch.zeros(10, requires_grad=True), "surface_pressure is no array"),
}
BAD_ARRAYS: dict[str, tuple[Change, str]] = {
    **BAD_DOMAINS,
    **{f"positions {what}": ({"surface_position": bad}, why) for what, (bad, why) in BAD_POSITIONS.items()},
    **{f"scalars: {what}": ({"surface_pressure": bad}, why) for what, (bad, why) in BAD_SCALARS.items()},
}


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_arrays_that_are_no_sample_are_refused_and_leave_nothing(tmp_path: Path, what: str) -> None:
    change, message = BAD_ARRAYS[what]
    arrays = {field: array for field, array in (small_arrays() | change).items() if array is not None}
    writer = small_writer(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        writer.write_sample("param0/run", arrays)
    assert isinstance(caught.value, InvalidSample)
    assert "'param0/run'" in str(caught.value)
    assert caught.value.sample == "param0/run"
    assert list(tmp_path.iterdir()) == []
    assert len(writer.manifest.samples) == 0


BAD_IDS = [
    "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a/.", "../../etc", "a\0", "a\nb", "a\x1b[31m", "a\\b",
    "s3://bucket/a", "file:a", "C:\\a", "C:a", "x.zarr/y", "\u202eevil", "%2e%2e/a", "a/b::c", "run.rewritten-1",
]  # fmt: skip


@pytest.mark.parametrize("sample_id", BAD_IDS)
def test_ids_that_could_leave_the_store_are_refused_and_leave_nothing(tmp_path: Path, sample_id: str) -> None:
    with pytest.raises(ValueError, match=r"sample id .* is refused: ") as caught:
        small_writer(tmp_path / "root").write_group(sample_id, small_arrays())
    assert isinstance(caught.value, InvalidSample)
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=12) | st.lists(st.sampled_from([".", "/", "a", ":", "%2e", ".zarr"]), max_size=6).map("".join))
def test_every_id_that_is_taken_names_a_path_that_a_manifest_may_hold(sample_id: str) -> None:
    try:
        check_sample_id(sample_id)
    except InvalidSample:
        return
    assert check_path(f"{sample_id}.zarr")
    assert Path("/root", f"{sample_id}.zarr").resolve().is_relative_to("/root")


@pytest.mark.parametrize(
    "sample_id", ["a", "param1/<hash>", "größe/läuft ✓", "run 1", "...", "a.b", "100%", "a#b?c", "2024/01:02"]
)
def test_other_ids_are_written_and_read(tmp_path: Path, sample_id: str) -> None:
    writer = small_writer(tmp_path)
    writer.write_sample(sample_id, small_arrays())
    writer.save_manifest()
    assert (tmp_path / f"{sample_id}.zarr" / "zarr.json").is_file()
    assert ZarrChunkReader(tmp_path).read_sample(sample_id, {"surface": 3})["surface_pressure"].shape == (3,)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"chunk_points": 0}, "chunk_points must be a whole number of at least 1, not 0"),
        ({"chunk_points": -4}, "chunk_points .* not -4"),
        ({"chunk_points": 1.5}, "chunk_points .* not 1.5"),
        ({"chunk_points": "4"}, "chunk_points .* not '4'"),
        ({"chunk_points": True}, "chunk_points .* not True"),
        ({"shard_points": 0}, "shard_points .* not 0"),
        ({"shard_points": 2.0}, "shard_points .* not 2.0"),
        ({"compression_level": 10}, "compression_level .* not 10"),
        ({"compression_level": -1}, "compression_level .* not -1"),
        ({"compression_level": 2.5}, "compression_level .* not 2.5"),
        ({"coords_dtype": "int8"}, "'int8' cannot be stored"),
        ({"values_dtype": "bfloat16"}, "'bfloat16' cannot be stored"),
        ({"field_dtypes": {"volume_velocity": "half"}}, "'half' cannot be stored"),
        ({"field_dtypes": {"volume_speed": "float32"}}, "not stored: volume_speed"),
        ({"field_dtypes": {"velocity": "float32"}}, "not stored: velocity; there is: surface_position"),
    ],
)
def test_a_writer_that_cannot_write_is_refused(tmp_path: Path, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_writer(tmp_path / "root", **kwargs)
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnreadable, match="file"):
        small_writer(tmp_path / "file").write_group("run", small_arrays())


# The same bytes


def test_order_restart_and_threads_change_no_byte(tmp_path: Path) -> None:
    samples = {f"param{number}/run": sample_arrays(number) for number in range(4)}

    def write(root: Path, order: list[str], threads: int, *, restart: bool = False) -> dict[str, bytes]:
        kwargs = ZarrStoreWriter(root, FILEMAP, "made", 3, 256, 1024).to_init_kwargs()
        writer = ZarrStoreWriter(**kwargs)
        with ThreadPoolExecutor(threads) as pool:
            if restart:
                writer.write_group(order[0], samples[order[1]])  # what a killed job may have left
                ZarrStoreWriter(**kwargs).write_group(order[2], samples[order[2]])
            entries = list(pool.map(lambda each: writer.write_group(each, samples[each]), order))
        assert len(writer.manifest.samples) == 0
        for sample_id, entry in zip(order, entries, strict=True):
            writer.manifest.samples[sample_id] = entry
        writer.save_manifest()
        return files_of(root)

    reference = write(tmp_path / "serial", sorted(samples), 1)
    assert write(tmp_path / "threads", sorted(samples), 4) == reference
    assert write(tmp_path / "backwards", sorted(samples)[::-1], 2) == reference
    assert write(tmp_path / "restarted", sorted(samples), 1, restart=True) == reference


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import pickle, sys; from drawpoint_store import ZarrStoreWriter\n"
        "kwargs, arrays = pickle.load(sys.stdin.buffer)\n"
        "writer = ZarrStoreWriter(**kwargs); writer.write_sample('run', arrays); writer.save_manifest()\n"
        "assert 'torch' not in sys.modules\n"
    )
    writer = small_writer(tmp_path / "here", field_dtypes={"volume_velocity": "float32"})
    writer.write_sample("run", small_arrays())
    writer.save_manifest()
    kwargs = writer.to_init_kwargs() | {"store_root": str(tmp_path / "there")}
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps((kwargs, small_arrays())), check=True)
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


def test_a_writer_is_rebuilt_from_its_arguments(tmp_path: Path) -> None:
    given: Mapping[str, Any] = {
        "store_root": str(tmp_path),
        "filemap": SMALL,
        "dataset_name": "made",
        "shuffle_seed": 9,
        "chunk_points": 5,
        "shard_points": 20,
        "coords_dtype": "float64",
        "values_dtype": "float32",
        "field_dtypes": {"volume_velocity": "float16"},
        "compression_level": 2,
    }
    kwargs = ZarrStoreWriter(**given).to_init_kwargs()
    assert kwargs == given
    other = ZarrStoreWriter(**pickle.loads(pickle.dumps(kwargs)))
    assert other.to_init_kwargs() == given
    for name in given.keys() - {"shuffle_seed", "dataset_name"}:
        assert getattr(other, name) == given[name]
    assert (other.manifest.shuffle_seed, other.manifest.dataset_name) == (9, "made")
    assert other.manifest.to_json() == ZarrStoreWriter(**given).manifest.to_json()
    assert other.manifest.domains == other.layouts


def test_the_defaults_are_those_of_the_format(tmp_path: Path) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "made")
    assert (writer.chunk_points, writer.shard_points, writer.compression_level) == (4096, None, 5)
    assert (writer.coords_dtype, writer.values_dtype, writer.manifest.shuffle_seed) == ("float32", "float16", 0)
    assert writer.grid(100_000).chunk_points == 4096
    assert writer.grid(COUNTS["surface"]).chunk_points == COUNTS["surface"]


# Revisions


def written(root: Path, seed: int, **others: int) -> ZarrStoreWriter:
    writer = small_writer(root)
    for sample_id, each in {"run": seed, **others}.items():
        writer.write_sample(sample_id, small_arrays(seed=each))
    writer.save_manifest()
    return writer


def test_a_sample_written_anew_lies_beside_the_old_one_and_changes_the_revision(tmp_path: Path) -> None:
    written(tmp_path, 0, other=1)
    old = ZarrChunkReader(tmp_path)
    before = old.read_sample("run")["surface_pressure"]
    written(tmp_path, 5, other=1)
    new = ZarrChunkReader(tmp_path)
    assert new.manifest.revision != old.manifest.revision
    assert new.manifest.samples["run"].relpath != old.manifest.samples["run"].relpath
    assert new.manifest.samples["run"].digest != old.manifest.samples["run"].digest
    assert not torch.equal(new.read_sample("run")["surface_pressure"], before)
    fresh = ZarrChunkReader(tmp_path, old.manifest)  # has nothing of it in memory
    assert torch.equal(fresh.read_sample("run")["surface_pressure"], before)
    assert torch.equal(old.read_sample("run")["surface_pressure"], before)


def test_the_same_values_written_anew_have_the_same_digest(tmp_path: Path) -> None:
    one, other = (written(tmp_path, 0).manifest.samples["run"] for _ in range(2))
    assert one.digest == other.digest
    assert one.relpath != other.relpath


def test_no_path_is_used_again_however_often_a_sample_is_written_anew(tmp_path: Path) -> None:
    relpaths = [written(tmp_path, seed).manifest.samples["run"].relpath for seed in range(4)]
    assert len(set(relpaths)) == 4
    assert relpaths[0] == "run.zarr"
    assert all(relpath.endswith(".zarr") for relpath in relpaths)


def test_the_same_writer_writes_anew_beside_what_it_has_published(tmp_path: Path) -> None:
    writer = written(tmp_path, 0)
    old = ZarrChunkReader(tmp_path)
    before = files_of(tmp_path / "run.zarr")
    writer.write_sample("run", small_arrays(seed=3))
    assert files_of(tmp_path / "run.zarr") == before
    writer.save_manifest()
    assert old.manifest.revision != writer.manifest.revision
    assert writer.manifest.samples["run"].relpath == "run.rewritten-1.zarr"


def test_what_was_not_published_is_replaced(tmp_path: Path) -> None:
    writer = small_writer(tmp_path / "often")
    entries = [writer.write_group("run", small_arrays(40 - 10 * seed, seed)) for seed in range(3)]
    assert {entry.relpath for entry in entries} == {"run.zarr"}
    small_writer(tmp_path / "once").write_group("run", small_arrays(20, 2))
    assert files_of(tmp_path / "often") == files_of(tmp_path / "once")


def test_a_sample_is_never_written_where_another_one_is_published(tmp_path: Path) -> None:
    writer = written(tmp_path, 0)
    manifest = StoreManifest.load(tmp_path)
    manifest.samples["elsewhere"] = manifest.samples["run"]  # relpath is free
    del manifest.samples["run"]
    manifest.save(tmp_path)
    assert small_writer(tmp_path).write_group("run", small_arrays()).relpath != "run.zarr"
    assert writer.manifest.samples["run"].relpath == "run.zarr"


def test_a_damaged_manifest_at_the_root_stops_the_writer(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="is refused"):
        small_writer(tmp_path).write_group("run", small_arrays())
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_the_manifest_says_how_values_were_stored(tmp_path: Path) -> None:
    written(tmp_path, 0)
    manifest = StoreManifest.load(tmp_path)
    assert re.match("blosc-zstd", manifest.compressor)
    assert (manifest.dataset_name, manifest.shuffle_seed, manifest.format_version) == ("made", 0, 1)
    assert manifest.fields["volume_velocity"].dtype == "float16"
    assert manifest.fields["volume_position"].dtype == "float32"


def test_a_store_in_memory_is_written_and_read(tmp_path: Path) -> None:
    root = f"memory://{tmp_path.name}"
    writer = ZarrStoreWriter(root, SMALL, "made", chunk_points=4)
    writer.write_sample("param0/run", small_arrays())
    assert writer.save_manifest() == f"{root}/manifest.json"
    reference = small_writer(tmp_path)
    reference.write_sample("param0/run", small_arrays())
    there, here = ZarrChunkReader(root), ZarrChunkReader(tmp_path, reference.manifest)
    assert there.manifest.to_json() == reference.manifest.to_json()
    for num_points in (None, {"surface": 3, "volume": 9}):
        one, other = (
            there.read_sample("param0/run", num_points, seed=1),
            here.read_sample("param0/run", num_points, seed=1),
        )
        assert one.keys() == other.keys()
        assert all(torch.equal(one[field], other[field]) for field in one)
    writer.write_sample("param0/run", small_arrays(seed=1))
    assert writer.manifest.samples["param0/run"].relpath != "param0/run.zarr"
