"""Writing: what is stored, for every form, grid and dtype."""

from __future__ import annotations

import base64
import copy
import itertools
import json
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drawpoint.draw.philox import PhiloxStream
from drawpoint.errors import InvalidSample
from drawpoint_store import FileMap, SampleEntry, ZarrChunkReader, ZarrStoreWriter
from small import files_of, small_arrays, small_writer


def stored(root: Path, entry: SampleEntry, array: str) -> np.ndarray[Any, Any]:
    found: Any = zarr.open_group(root / entry.relpath, mode="r")[array]
    return np.asarray(found[...])


def test_the_shuffle_depends_on_seed_sample_and_domain_alone(tmp_path: Path) -> None:
    arrays = small_arrays(17)
    arrays["surface_position"] = arrays["volume_position"] = np.arange(51, dtype=np.float32).reshape(-1, 3)
    arrays["volume_velocity"] = np.zeros((17, 3))
    orders = set()
    for seed, sample_id in itertools.product((0, 1), ("a", "b")):
        root = tmp_path / str(seed)
        entry = small_writer(root, shuffle_seed=seed).write_group(sample_id, arrays)
        orders |= {tuple(stored(root, entry, f"{domain}/position")[:, 0]) for domain in ("surface", "volume")}
        coarse = small_writer(tmp_path / "coarse", shuffle_seed=seed, chunk_points=100, coords_dtype="float64")
        again = stored(tmp_path / "coarse", coarse.write_group(sample_id, arrays), "surface/position")
        np.testing.assert_array_equal(again, stored(root, entry, "surface/position"))
    assert len(orders) == 8


def test_the_bytes_of_a_sample_and_what_binds_them_are_golden(tmp_path: Path) -> None:
    position, pressure = np.arange(30, dtype=np.float32).reshape(10, 3), np.arange(10) / 8
    filemap = FileMap(surface_position="p", surface_pressure="q")
    writer = ZarrStoreWriter(tmp_path, filemap, "made", chunk_points=4, compression_level=0)
    entry = writer.write_group("größe/run", {"surface_position": position, "surface_pressure": pressure})
    assert entry.relpath == "größe/run.zarr"
    assert (8 * stored(tmp_path, entry, "surface/pressure")[:, 0]).tolist() == [1, 6, 5, 0, 2, 9, 8, 7, 3, 4]
    shard = (tmp_path / entry.relpath / "surface/pressure/c/0/0").read_bytes()
    assert shard.hex(" ", -12) == (
        "0030003a00390000f9e11100 0034803c003c003bf8266bbb 0036003800000000c5882309 "  # rows, then their crc32c
        "00000000000000000c000000 000000000c00000000000000 0c0000000000000018000000 000000000c00000000000000 4d06b163"
    )
    root = json.loads((tmp_path / entry.relpath / "zarr.json").read_text())
    assert root["attributes"] == {
        "drawpoint": {
            "digest": "sha256/2:9e6b552a41c9248e251849ba0bba308b8f68770a3319a51f717d716c97497669",
            "arrays": {
                "surface/position": {
                    "values": "8186c6c563af64774ef0f5fbfd1ecb38a6aa155469272c1200d44f52a32a2f85",
                    "chunks": "826742d37f5c39a4ab0fe94cddc4b329aa9cbb3791c3abb588cbc6f41f12d3b6",
                },
                "surface/pressure": {
                    "values": "b50922222e27c34c8b915d2af74b0741937fcb3b20840409ecb1c5b02d996b4b",
                    "chunks": "224f9877ecad295efda05d4c81e304cff733212c24bee59d92c3930af9e013c9",
                },
            },
        }
    }
    assert entry.digest == root["attributes"]["drawpoint"]["digest"]
    array = root["consolidated_metadata"]["metadata"]["surface/pressure"]
    assert array["attributes"] == {"drawpoint": {"chunks_crc32c": "+eERAPgma7vFiCMJ"}}
    assert base64.b64decode("+eERAPgma7vFiCMJ") == shard[8:12] + shard[20:24] + shard[32:36]


@pytest.mark.parametrize(
    ("chunk_points", "shard_points", "grid"),
    [
        (1, 4, (1, 4, 10)),
        (4, None, (4, 12, 3)),
        (100, None, (10, 10, 1)),
        (4, 11, (4, 8, 3)),
        (4, 3, (4, 4, 3)),
        (4, 1000, (4, 12, 3)),
        (np.int64(4), np.int32(8), (4, 8, 3)),
    ],
)
def test_plain_zarr_reads_the_shuffled_input_in_chunks_and_shards_as_told(
    tmp_path: Path, chunk_points: int, shard_points: int | None, grid: tuple[int, int, int]
) -> None:
    writer = small_writer(tmp_path, chunk_points=chunk_points, shard_points=shard_points, shuffle_seed=5)
    arrays = small_arrays()
    entry = writer.write_group("param0/run", arrays)
    cut = entry.domains["surface"]
    assert (cut.chunk_points, cut.shard_points, cut.n_chunks) == grid
    array: Any = zarr.open_group(tmp_path / entry.relpath, mode="r")["surface/position"]
    assert (array.chunks, array.shards) == ((grid[0], 3), (grid[1], 3))
    assert len(files_of(tmp_path / entry.relpath / "surface/position/c")) == -(-10 // grid[1])
    for domain, count in (("surface", 10), ("volume", 17)):
        order = PhiloxStream("shuffle/1", 5, "param0/run", domain).permutation(count)
        for field, layout in writer.layouts[domain].arrays.items():
            expected = arrays[field].reshape(count, -1)[order].astype(layout.dtype)
            found = stored(tmp_path, entry, layout.array_name)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_arrays_are_described_as_the_format_says_in_consolidated_metadata(tmp_path: Path) -> None:
    place = tmp_path / small_writer(tmp_path, compression_level=3).write_group("run", small_arrays()).relpath
    array: Any = zarr.open_group(place, mode="r")["volume/velocity"]
    assert array.metadata.zarr_format == 3
    assert array.metadata.dimension_names == ("point", "component")
    (sharding,) = array.metadata.to_dict()["codecs"]
    inner = sharding["configuration"]["codecs"]
    assert [codec["name"] for codec in inner] == ["bytes", "blosc", "crc32c"]
    assert (inner[1]["configuration"]["cname"], inner[1]["configuration"]["clevel"]) == ("zstd", 3)
    assert zarr.open_consolidated(place).metadata.consolidated_metadata is not None
    described = json.loads((place / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
    arrays = {"surface/position", "surface/pressure", "volume/position", "volume/velocity"}
    assert set(described) == {"surface", "volume", *arrays}
    for name, node in described.items():
        node.pop("consolidated_metadata", None)
        assert node == json.loads((place / name / "zarr.json").read_text())


def test_every_level_of_compression_keeps_the_values(tmp_path: Path) -> None:
    found = []
    for level in range(10):
        entry = small_writer(tmp_path, compression_level=level).write_group("run", small_arrays())
        found.append(stored(tmp_path, entry, "volume/velocity").tobytes())
    assert found == found[:1] * 10


def test_the_dtype_of_each_field_can_be_chosen(tmp_path: Path) -> None:
    writer = small_writer(
        tmp_path, coords_dtype="float64", values_dtype="float32", field_dtypes={"volume_velocity": "float16"}
    )
    entry = writer.write_group("run", small_arrays())
    dtypes = {name: stored(tmp_path, entry, name).dtype for name in ("surface/position", "surface/pressure")}
    assert dtypes == {"surface/position": np.float64, "surface/pressure": np.float32}
    assert stored(tmp_path, entry, "volume/velocity").dtype == np.float16


FORMS: dict[str, Any] = {
    "float64": lambda a: a.astype(np.float64),
    "big-endian": lambda a: a.astype(">f4"),
    "a torch tensor": torch.from_numpy,
    "column-major": np.asfortranarray,
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "a list": lambda a: a.tolist(),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "scalars in a column": lambda a: a.reshape(len(a), -1),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_input_does_not_matter(tmp_path: Path, form: str) -> None:
    arrays = small_arrays()
    reference = small_writer(tmp_path / "reference").write_group("run", arrays)
    given = {field: FORMS[form](array) for field, array in arrays.items()}
    before = copy.deepcopy(given)
    assert small_writer(tmp_path / "other").write_group("run", given) == reference
    assert all(np.array_equal(given[field], before[field]) for field in given)  # the input is left as it was
    assert files_of(tmp_path / "other") == files_of(tmp_path / "reference")


class ReadWhenAsked(Mapping[str, Any]):
    """Arrays that are made when they are asked for, and must be gone when the next one is."""

    def __init__(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self.arrays, self.asked = arrays, list[str]()
        self.last: Callable[[], object] = lambda: None

    def __getitem__(self, field: str) -> np.ndarray[Any, Any]:
        assert self.last() is None
        self.asked.append(field)
        values = self.arrays[field].copy()
        self.last = weakref.ref(values)
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


@pytest.mark.parametrize("dtype", ["float16", "float32"])  # cast, and stored as it is
def test_one_field_is_in_memory_at_a_time_and_positions_come_first(tmp_path: Path, dtype: str) -> None:
    arrays = dict(reversed(small_arrays().items()))
    lazy = ReadWhenAsked(arrays)
    small_writer(tmp_path / "lazy", values_dtype=dtype).write_group("run", lazy)
    assert lazy.asked == ["surface_position", "surface_pressure", "volume_position", "volume_velocity"]
    assert lazy.last() is None
    small_writer(tmp_path / "all", values_dtype=dtype).write_group("run", arrays)
    assert files_of(tmp_path / "lazy") == files_of(tmp_path / "all")


def test_arrays_of_many_blocks_are_stored_as_those_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = small_arrays(1000)
    small_writer(tmp_path / "one", shard_points=300).write_group("run", arrays)
    monkeypatch.setattr("drawpoint_store.writing.field_arrays._BLOCK_ROWS", 64)
    monkeypatch.setattr("drawpoint_store.writing.group.block_chunks", lambda _: 2)
    small_writer(tmp_path / "many", shard_points=300).write_group("run", arrays)
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")
    arrays["volume_velocity"][[500, 700], 1] = np.nan, np.inf
    with pytest.raises(InvalidSample, match=r"holds 1 NaN and 1 infinite of 3021 values, the first in row 500"):
        small_writer(tmp_path / "none").write_group("run", arrays)
    arrays["volume_velocity"][[500, 700], 1] = 1e5, -2e5
    with pytest.raises(InvalidSample, match="peaks at 200000,"):
        small_writer(tmp_path / "none").write_group("run", arrays)
    assert not (tmp_path / "none").exists()


def test_a_sample_that_is_refused_leaves_the_one_that_was_written_before(tmp_path: Path) -> None:
    writer = small_writer(tmp_path)
    writer.write_sample("run", small_arrays())
    files = files_of(tmp_path)
    with pytest.raises(InvalidSample, match="disagree on the number of points"):
        writer.write_sample("run", small_arrays(seed=1) | {"volume_velocity": np.zeros((18, 3))})
    assert files_of(tmp_path) == files


def test_a_sample_may_lack_a_domain(tmp_path: Path) -> None:
    arrays = {field: array for field, array in small_arrays().items() if field.startswith("volume")}
    writer = small_writer(tmp_path)
    writer.write_sample("run", arrays)
    writer.save_manifest()
    assert list(writer.manifest.samples["run"].domains) == ["volume"]
    assert not (tmp_path / "run.zarr" / "surface").exists()
    assert set(ZarrChunkReader(tmp_path).read_sample("run")) == {"volume_position", "volume_velocity"}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ([np.nan, np.inf, -np.inf, -0.0, *range(6)], "1 NaN and 2 infinite of 10 values, the first in row 0"),
        ([*range(9), np.nan], "1 NaN of 10 values, the first in row 9"),
        ([*range(8), -np.inf, 1e6], "1 infinite of 10 values, the first in row 8"),
    ],
)
def test_nan_and_infinity_are_refused_with_sample_field_and_counts(
    tmp_path: Path, dtype: str, bad: list[float], found: str
) -> None:
    arrays = small_arrays()
    arrays["surface_pressure"] = np.array(bad, np.float32)
    writer = small_writer(tmp_path, values_dtype=dtype)
    with pytest.raises(InvalidSample, match=rf"^sample 'run': surface_pressure holds {found}; leave ") as refused:
        writer.write_sample("run", arrays)
    assert (refused.value.sample, refused.value.field) == ("run", "surface_pressure")
    assert "run" not in writer.manifest.samples
    arrays["volume_position"][3, 1] = np.nan
    with pytest.raises(InvalidSample, match=r"volume_position holds 1 NaN of 51 values, the first in row 3"):
        writer.write_sample("run", arrays | {"surface_pressure": np.zeros(10)})
    assert files_of(tmp_path) == {}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@pytest.mark.parametrize(
    ("value", "dtype", "target", "remedy"),
    [
        (65520, np.float32, "float16", "float32"),
        (-65520, np.float64, "float16", "float32"),
        (10**6, np.int32, "float16", "float32"),
        (1e30, np.float64, "float16", "float32"),
        (1e39, np.float64, "float16", "float64"),
        (1e39, np.float64, "float32", "float64"),
    ],
)
def test_a_value_beyond_its_dtype_is_refused_with_peak_and_remedy(
    tmp_path: Path, value: float, dtype: type[Any], target: str, remedy: str
) -> None:
    arrays = small_arrays()
    arrays["volume_velocity"] = arrays["volume_velocity"].astype(dtype)
    arrays["volume_velocity"][3, 1] = value
    with pytest.raises(InvalidSample, match=rf"exceeds the {target} range.*volume_velocity.*{remedy}") as caught:
        small_writer(tmp_path, values_dtype=target).write_group("param0/run", arrays)
    assert f"peaks at {abs(value):.6g}," in str(caught.value)
    assert "'param0/run'" in str(caught.value)
    assert f"--field-dtype volume_velocity={remedy}" in str(caught.value)
    assert (caught.value.sample, caught.value.field) == ("param0/run", "volume_velocity")
    assert files_of(tmp_path) == {}
    wide = small_writer(tmp_path, field_dtypes={"volume_velocity": remedy})
    velocity = stored(tmp_path, wide.write_group("run", arrays), "volume/velocity")
    assert np.abs(velocity).max() == pytest.approx(abs(value))


def test_what_rounds_to_the_largest_number_is_stored_and_what_rounds_to_zero_with_a_warning(tmp_path: Path) -> None:
    writer = small_writer(tmp_path)
    arrays = small_arrays() | {"surface_pressure": np.array([1e-9, -1e-9, 0.0, *[1.0] * 7])}
    arrays["volume_velocity"][3, 1] = -65519
    with pytest.warns(UserWarning, match="sample 'a': 2 of the 9 values of surface_pressure that are not zero"):
        entry = writer.write_group("a", arrays)
    assert sorted(stored(tmp_path, entry, "surface/pressure")[:, 0].tolist()) == [0.0] * 3 + [1.0] * 7
    assert stored(tmp_path, entry, "volume/velocity").min() == -65504
