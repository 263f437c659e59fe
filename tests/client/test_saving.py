"""Drawn tensors go to a file that the safetensors library reads, whole or not at all."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import drawpoint
from drawpoint.format.payload import parse
from drawpoint_store import ZarrChunkReader

SAMPLE = "param0/run"
ROWS = torch.arange(12.0).reshape(4, 3)


def test_a_draw_and_a_part_are_loaded_as_they_were_saved(local: ZarrChunkReader, tmp_path: Path) -> None:
    drawn = local.read_sample(SAMPLE, {"surface": 7, "volume": 20}, seed=0)
    for tensors in (drawn, next(local.iter_parts(SAMPLE, "surface", 300)), {}):
        path = drawpoint.save(tensors, tmp_path / "draw.safetensors")
        loaded = safetensors.torch.load_file(path)
        assert loaded.keys() == tensors.keys()
        assert all(loaded[field].equal(tensors[field]) for field in tensors)
        # The wire format is a form of the same: what reads answers reads this.
        ours, _ = parse(bytearray(path.read_bytes()))
        assert all(np.array_equal(ours[field], tensor.numpy()) for field, tensor in tensors.items())


def test_tensors_of_any_kind_and_in_shared_memory_are_saved_by_value(tmp_path: Path) -> None:
    tensors = {
        "whole": ROWS,
        "again": ROWS,
        "column": ROWS[:, 0],
        "turned": ROWS.t(),
        "some": ROWS[1:3],
        "wide": ROWS.expand(2, 4, 3),
        "half": ROWS.to(torch.bfloat16),
        "mask": ROWS > 5,
        "number": torch.tensor(3.0),
        "none": torch.zeros(0, 3),
        "weight": torch.nn.Parameter(ROWS.clone()),
    }
    loaded = safetensors.torch.load_file(drawpoint.save(tensors, tmp_path / "all"))
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].equal(tensor)


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    path, link = tmp_path / "a.safetensors", tmp_path / "link"
    link.symlink_to(path)
    umask = os.umask(0o027)
    try:
        drawpoint.save({"a": ROWS}, link)
    finally:
        os.umask(umask)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # as on a disk that is full
    try:
        with pytest.raises(OSError, match="File too large"):
            drawpoint.save({"a": torch.zeros(10_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.safetensors", "link"]


@pytest.mark.parametrize(
    ("tensors", "error", "reason"),
    [
        ([ROWS], TypeError, "a mapping from names to tensors, such as a drawn sample, not list"),
        (ROWS, TypeError, "not torch.Tensor"),
        ({"a": np.zeros(3)}, TypeError, "'a' is numpy.ndarray"),
        ({"a": {"b": ROWS}}, TypeError, "'a' is dict"),
        ({1: ROWS}, TypeError, "1 is torch.Tensor; save takes torch tensors by name"),
        ({"a": ROWS.to_sparse()}, ValueError, "'a' is a sparse, nested, quantised or meta tensor"),
        ({"a": ROWS.to("meta")}, ValueError, "'a' is a sparse, nested, quantised or meta tensor"),
        ({"__metadata__": ROWS}, ValueError, "__metadata__"),
    ],
)
def test_what_is_no_tensor_is_refused_by_its_name(
    tmp_path: Path, tensors: Any, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        drawpoint.save(tensors, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; make it first"):
        drawpoint.save({"a": ROWS}, tmp_path / "nowhere" / "a")
    for place in (tmp_path, "/dev/null"):
        with pytest.raises(FileExistsError, match="is no file"):
            drawpoint.save({"a": ROWS}, place)
    with pytest.raises(ValueError, match="is a URL"):
        drawpoint.save({"a": ROWS}, "s3://bucket/a")
