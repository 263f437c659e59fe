"""Normalised fields have the moments that they should, and come back as they were."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from drawpoint import Normaliser
from drawpoint.errors import InvalidParameter, UnknownField
from drawpoint_store import ZarrChunkReader, calculate_store_statistics

from .conftest import IDS, Reader

PRESSURE = {"mean": [2.0], "std": [4.0], "logmean": [1.0], "logstd": [0.5]}
VELOCITY = {"mean": [1.0, 5.0, -1.0], "std": [2.0, 0.0, None], "logmean": [0, 0, 0], "logstd": [1, 1, 1]}
STATISTICS = {"revision": "r", "fields": {"surface_pressure": PRESSURE, "volume_velocity": VELOCITY}}


def everything(reader: Reader) -> dict[str, torch.Tensor]:
    read = [reader.read_sample(sample_id) for sample_id in IDS]
    return {field: torch.cat([tensors[field] for tensors in read]) for field in read[0]}


class TestStatisticsOfAStore:
    @pytest.mark.parametrize("log", [(), ("volume_velocity",)])
    def test_give_zero_mean_and_unit_deviation(self, reader: Reader, log: tuple[str, ...]) -> None:
        for tensor in Normaliser(reader.statistics(), log=log).normalise(everything(reader)).values():
            assert torch.allclose(tensor.mean(dim=0), torch.zeros(()), atol=1e-5)
            assert torch.allclose(tensor.std(dim=0), torch.ones(()), atol=1e-5)

    def test_may_be_measured_in_python(self, local: ZarrChunkReader) -> None:
        shipped, measured = Normaliser(local.statistics()), Normaliser(calculate_store_statistics(local.store_root))
        tensors = everything(local)
        for field, tensor in shipped.normalise(tensors).items():
            assert torch.equal(measured.normalise(tensors)[field], tensor)


@pytest.mark.parametrize("log", [(), ("volume_velocity", "surface_pressure")])
def test_denormalise_inverts_normalise_and_changes_nothing_in_place(log: tuple[str, ...]) -> None:
    normaliser: Normaliser = pickle.loads(pickle.dumps(Normaliser(STATISTICS, log=log)))
    tensors = {"surface_pressure": torch.linspace(-9, 9, 20), "volume_velocity": torch.linspace(-5, 5, 60).view(20, 3)}
    kept = {field: tensor.clone() for field, tensor in tensors.items()}
    back = normaliser.denormalise(normaliser.normalise(tensors))
    for field, tensor in tensors.items():
        assert torch.allclose(back[field], tensor, atol=1e-5)
        assert torch.equal(tensor, kept[field])  # nothing is done in place: readers share memory among tensors


def test_components_are_normalised_separately_in_a_batch_too() -> None:
    normaliser = Normaliser(STATISTICS)
    assert normaliser.normalise({"surface_pressure": torch.tensor([[2.0, 6.0]])})["surface_pressure"].tolist() == [
        [0.0, 1.0]
    ]
    velocity = normaliser.normalise({"volume_velocity": torch.tensor([[[3.0, 5.0, -1.0]]])})["volume_velocity"]
    assert velocity.tolist() == [[[1.0, 0.0, 0.0]]]


def test_constant_components_are_only_shifted() -> None:
    values = torch.tensor([[1.0, 5.0, -1.0], [1.0, 5.5, 3.0]])
    normalised = Normaliser(STATISTICS).normalise({"volume_velocity": values})["volume_velocity"]
    assert normalised.tolist() == [[0.0, 0.0, 0.0], [0.0, 0.5, 4.0]]


def test_leave_keeps_fields_as_they_are() -> None:
    normaliser = Normaliser(STATISTICS, leave=["surface_normals", "surface_position"])
    tensors = {"surface_normals": torch.ones(2, 3), "geometry_position": torch.ones(2, 3)}
    for move in (normaliser.normalise, normaliser.denormalise):
        assert all(torch.equal(tensor, tensors[field]) for field, tensor in move(tensors).items())


@pytest.mark.parametrize(
    ("statistics", "options", "error", "match"),
    [
        ({"fields": {"surface_pressure": {"mean": [1.0]}}}, {}, InvalidParameter, "no mean and std"),
        ({"fields": {"surface_pressure": {"mean": [1.0], "std": [1.0, 2.0]}}}, {}, InvalidParameter, "mean and std"),
        ({"fields": {"surface_pressure": 3}}, {}, InvalidParameter, "mean and std"),
        (STATISTICS, {"log": ["volume_vorticity"]}, UnknownField, "volume_vorticity"),
        (STATISTICS, {"log": "volume_velocity"}, InvalidParameter, "a list of field names"),
        (STATISTICS, {"leave": "volume_velocity"}, InvalidParameter, "a list of field names"),
    ],
)
def test_invalid_statistics_are_refused(
    statistics: dict[str, Any], options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        Normaliser(statistics, **options)
