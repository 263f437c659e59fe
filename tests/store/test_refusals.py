"""What the writer refuses, by name and with nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import FILEMAP
from drawpoint.errors import InvalidSample, StoreUnreadable
from drawpoint.format.sample_entry import check_path
from drawpoint_store import ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.writing.sample_id import check_sample_id
from small import small_arrays, small_writer

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
    "of three axes": (np.zeros((10, 3, 1)), r"\(N, 3\), has \(10, 3, 1\)"),
}
BAD_SCALARS: dict[str, tuple[Any, str]] = {
    "of two components": (np.zeros((10, 2)), r"surface_pressure must have shape \(N,\) or \(N, 1\), has \(10, 2\)"),
    "in a row": (np.zeros((1, 10)), r"\(N,\) or \(N, 1\), has \(1, 10\)"),
    "a single number": (np.float32(3), r"has \(\)"),
    "bools": (np.zeros(10, bool), "must hold real numbers, holds bool"),
    "complex numbers": (np.zeros(10, complex), "must hold real numbers, holds complex128"),
    "objects": (np.array([None] * 10), "must hold real numbers, holds object"),
    "a ragged list": ([[1], [2, 3]], "surface_pressure is no array"),
    "a tensor that needs its gradient": (torch.zeros(10, requires_grad=True), "surface_pressure is no array"),
    "a tensor of bfloat16": (torch.zeros(10, dtype=torch.bfloat16), r"give one .* as tensor\.detach\(\)\.float\(\)"),
    "masked, which would be lost": (np.ma.masked_less(np.arange(10.0), 3), "surface_pressure is masked"),
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


OTHER_IDS = ["a", "param1/<hash>", "größe/läuft ✓", "run 1", "...", "a.b", "100%", "a#b?c", "2024/01:02"]


def test_other_ids_are_written_and_read(tmp_path: Path) -> None:
    writer = small_writer(tmp_path)
    for sample_id in OTHER_IDS:
        writer.write_sample(sample_id, small_arrays())
    writer.save_manifest()
    for sample_id in OTHER_IDS:
        assert (tmp_path / f"{sample_id}.zarr" / "zarr.json").is_file()
        assert ZarrChunkReader(tmp_path).read_sample(sample_id, {"surface": 3})["surface_pressure"].shape == (3,)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"chunk_points": 0}, "chunk_points must be a whole number of at least 1, not 0"),
        ({"chunk_points": 1.5}, "chunk_points .* not 1.5"),
        ({"chunk_points": True}, "chunk_points .* not True"),
        ({"shard_points": 0}, "shard_points .* not 0"),
        ({"compression_level": 10}, "compression_level .* not 10"),
        ({"compression_level": 2.5}, "compression_level .* not 2.5"),
        ({"coords_dtype": "int8"}, "'int8' cannot be stored; choose one of float16, float32, float64"),
        ({"values_dtype": "bfloat16"}, "'bfloat16' cannot be stored"),
        ({"field_dtypes": {"volume_velocity": "half"}}, "'half' cannot be stored"),
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


def test_more_chunks_than_a_draw_can_permute_are_refused_with_the_size_to_choose(tmp_path: Path) -> None:
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "tiny", chunk_points=1)
    with pytest.raises(InvalidSample, match=r"write with chunk_points of 2 or more"):
        writer.grid(2**20 + 1)
    assert writer.grid(2**20).n_chunks == 2**20
