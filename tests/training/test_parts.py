"""Parts hold every point once, and scatter puts values back in stored order."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from drawpoint import Part, iter_parts
from drawpoint.errors import InvalidDraw, SampleNotFound, UnknownDomain, UnknownField
from drawpoint_store import ZarrChunkReader

from .conftest import Reader

SAMPLE = "run/3"


@pytest.mark.parametrize("num_points", [1, 5, 8, 100])
def test_scattered_parts_equal_a_full_read(reader: Reader, local: ZarrChunkReader, num_points: int) -> None:
    whole = local.read_sample(SAMPLE)
    parts = list(reader.iter_parts(SAMPLE, "volume", num_points, seed=6))
    assert [part.index for part in parts] == list(range(parts[0].count))
    assert all(len(part.rows) <= num_points for part in parts)
    assert sorted(torch.cat([part.rows for part in parts]).tolist()) == list(range(17))
    for field in ("volume_position", "volume_velocity"):
        out = None
        for part in parts:
            assert list(part) == ["volume_position", "volume_velocity"]
            out = part.scatter(part[field], out)
        assert out is not None
        assert torch.equal(out, whole[field])


def test_another_seed_groups_the_points_anew(local: ZarrChunkReader) -> None:
    groups = {tuple(next(local.iter_parts(SAMPLE, "volume", 4, seed=seed)).rows.tolist()) for seed in range(8)}
    assert len(groups) > 1


def test_scatter_takes_any_shape_and_dtype(local: ZarrChunkReader) -> None:
    out = torch.full((10, 2, 3), -1, dtype=torch.float64)
    for part in local.iter_parts(SAMPLE, "surface", 3):
        values = part.rows[:, None, None].expand(-1, 2, 3)
        assert part.scatter(values, out) is out
    assert out[:, 1, 2].tolist() == list(range(10))


def test_only_the_fields_asked_for_are_read(reader: Reader) -> None:
    for part in reader.iter_parts(SAMPLE, "surface", 4, fields=["surface_pressure"]):
        assert list(part) == ["surface_pressure"]
        assert len(part) == 1
        assert part["surface_pressure"].shape == part.rows.shape


class Counting:
    def __init__(self, reader: ZarrChunkReader) -> None:
        self.manifest = reader.manifest
        self._reader = reader
        self.reads = 0

    def read_sample(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        self.reads += 1
        return self._reader.read_sample(*args, **kwargs)


def test_one_part_is_read_at_a_time(local: ZarrChunkReader) -> None:
    reader = Counting(local)
    parts = iter_parts(reader, SAMPLE, "volume", 4)
    for expected in range(5):
        assert reader.reads == expected
        next(parts)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"sample_id": "run/33"}, SampleNotFound),
        ({"domain": "surfaces"}, UnknownDomain),
        ({"num_points": 0}, InvalidDraw),
        ({"seed": -1}, InvalidDraw),
        ({"fields": ["volume_pressure"]}, UnknownField),
        ({"fields": ["surface_pressure"]}, UnknownField),
        ({"fields": []}, InvalidDraw),
    ],
)
def test_invalid_arguments_are_refused_before_the_first_part(
    reader: Reader, changed: dict[str, Any], error: type[Exception]
) -> None:
    arguments: dict[str, Any] = {"sample_id": SAMPLE, "domain": "volume", "num_points": 4} | changed
    with pytest.raises(error):
        reader.iter_parts(**arguments)


def test_values_that_do_not_fit_are_refused(local: ZarrChunkReader) -> None:
    part: Part = next(iter(local.iter_parts(SAMPLE, "volume", 4)))
    for values, out in (
        (torch.zeros(3), None),
        (torch.zeros(4), torch.zeros(16)),
        (torch.zeros(4, 3), torch.zeros(17, 2)),
    ):
        with pytest.raises(ValueError, match="part 0 has 4 of 17 points"):
            part.scatter(values, out)
