"""A draw knows what its answer must hold, and takes nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from drawpoint.draw.selection import DomainSelection, Selection
from drawpoint.errors import ResponseDamaged
from drawpoint.format.manifest import ArrayLayout, DomainSample
from drawpoint.format.payload import TensorSpec, allocate
from drawpoint.format.tensors import as_float32_each
from drawpoint.remote.requests import DrawRequest

LAYOUTS = {
    "surface_position": ArrayLayout(array_name="p", field="surface_position", dtype="float32", dim=3),
    "surface_pressure": ArrayLayout(array_name="q", field="surface_pressure", dtype="float16", dim=1),
}
GRID = DomainSample(n_points=100, chunk_points=100, shard_points=100, n_chunks=1)
DOMAINS = {"surface": DomainSelection(GRID, (*LAYOUTS.values(),), 4, 4)}
SELECTION = Selection("a/b", "a/b.zarr", "fields", 2, DOMAINS, scalars={})
DRAW = DrawRequest("s", "r", SELECTION, seed=5)
METADATA = {"store": "s", "revision": "r", "sample": "a/b", "seed": "5", "part": "2", "new": "x"}
SPECS = [TensorSpec("surface_position", "float32", (4, 3)), TensorSpec("surface_pressure", "float16", (4,))]


def make_body(specs: list[TensorSpec] = SPECS, metadata: dict[str, str] = METADATA) -> bytearray:
    payload = allocate(specs, metadata)
    for tensor in payload.tensors.values():
        tensor[...] = np.arange(tensor.size).reshape(tensor.shape)
    return payload.body


def test_an_answer_becomes_tensors_that_share_its_memory() -> None:
    body = make_body()
    tensors = DRAW.read(body)
    assert list(tensors) == list(LAYOUTS)
    assert tensors["surface_pressure"].tolist() == [0, 1, 2, 3]
    before = bytes(body)
    tensors["surface_position"][0, 0] = 100
    assert bytes(body) != before


@pytest.mark.parametrize(
    ("name", "value"), [("store", "t"), ("revision", "q"), ("sample", "a/c"), ("seed", "6"), ("part", "3")]
)
def test_an_answer_for_something_else_is_refused(name: str, value: str) -> None:
    with pytest.raises(ResponseDamaged, match=f"for {name} '{value}'"):
        DRAW.read(make_body(metadata={**METADATA, name: value}))


@pytest.mark.parametrize(
    "specs",
    [
        SPECS[:1],
        [*SPECS, TensorSpec("surface_area", "float16", (4,))],
        [SPECS[0], replace(SPECS[1], dtype="float32")],
        [SPECS[0], replace(SPECS[1], shape=(5,))],
        [SPECS[0], replace(SPECS[1], shape=(4, 1))],
        [replace(SPECS[0], shape=(3, 4)), SPECS[1]],
    ],
)
def test_an_answer_with_other_tensors_is_refused(specs: list[TensorSpec]) -> None:
    with pytest.raises(ResponseDamaged):
        DRAW.read(make_body(specs))


@pytest.mark.parametrize("points", [1, 10_000, 40_000, 1_500_000])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_tensors_converted_together_are_those_converted_one_by_one(points: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "vector": rng.standard_normal((points, 3)).astype(dtype),
        "scalar": rng.standard_normal(points).astype(dtype),
        "single": rng.standard_normal(points).astype("float32"),
    }
    together = as_float32_each(arrays)
    assert list(together) == list(arrays)
    for name, array in arrays.items():
        assert together[name].dtype == torch.float32
        assert torch.equal(together[name], torch.from_numpy(array).to(torch.float32))
        assert together[name].untyped_storage().nbytes() == together[name].nbytes
