"""Values per sample as a tensor of each item: of the right sample, in the order asked for, in every mode."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import drawpoint
from drawpoint import ConcatSampleDataset, SampleDataset, SampleLoader, transforms
from drawpoint.errors import InvalidParameter, UnknownScalar
from drawpoint_store import ZarrChunkReader
from live import LiveService
from small import small_arrays, small_writer

from .conftest import Reader, tear

COUNTS = {"surface": 4, "volume": 5}
IDS = [f"run/{number}" for number in range(5)]


def expect(index: int) -> list[float]:
    return [20.0 + index, -0.5 * index]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five samples with speed and yaw, of which two have a drag coefficient and one a value beyond float32."""
    root = tmp_path_factory.mktemp("scalars")
    writer = small_writer(root)
    for number, sample_id in enumerate(IDS):
        scalars = dict(zip(("U_inf", "yaw"), expect(number), strict=True))
        scalars |= {"huge": 1e39, "tiny": 1e-50} if number == 3 else {"huge": 1.0, "tiny": 0.0}
        scalars |= {"Cd": 0.25} if number < 2 else {}
        writer.write_sample(sample_id, small_arrays(seed=number), scalars)
    writer.save_manifest()
    return root


@pytest.fixture(scope="module")
def local(root: Path) -> ZarrChunkReader:
    return ZarrChunkReader(root)


@pytest.fixture(scope="module")
def service(root: Path) -> Iterator[LiveService]:
    with LiveService({"small": root}) as service:
        yield service


@pytest.mark.parametrize("mode", ["independent", "parts", "fixed"])
def test_items_have_the_scalars_of_their_sample_and_are_otherwise_as_they_were(reader: Reader, mode: Any) -> None:
    options: dict[str, Any] = {"num_points": COUNTS, "num_geometry_points": 3, "mode": mode, "with_sample_id": True}
    dataset = SampleDataset(reader, scalars=["U_inf", "yaw"], **options)
    plain = SampleDataset(reader, **options)
    for items, others in (
        ([dataset[4], dataset[0]], [plain[4], plain[0]]),
        (dataset.__getitems__([4, 0]), plain.__getitems__([4, 0])),
    ):
        for item, other in zip(items, others, strict=True):
            scalars = item.pop("scalars")
            assert (scalars.dtype, scalars.shape) == (torch.float32, (2,))
            assert scalars.tolist() == expect(IDS.index(item["sample_id"]))
            assert item.pop("sample_id") == other.pop("sample_id")
            assert item.keys() == other.keys()
            assert all(torch.equal(item[field], other[field]) for field in item)
    dataset[0]["scalars"].zero_()
    assert dataset[0]["scalars"].tolist() == expect(0)


def test_they_are_in_the_order_asked_for_and_neither_augmented_nor_normalised(local: ZarrChunkReader) -> None:
    moments = {
        field: {"mean": [2.0] * array.dim, "std": [3.0] * array.dim} for field, array in local.manifest.fields.items()
    }
    dataset = SampleDataset(
        local,
        ["run/2"],
        num_points=COUNTS,
        scalars=("yaw", "U_inf"),
        augment=transforms.Mirror("y", probability=1.0),
        normalise=moments,
        transform=lambda item: item["scalars"] * 2,
    )
    assert dataset[0].tolist() == [-2.0, 44.0]
    item = SampleDataset(local, ["run/2"], num_points=COUNTS, scalars=["yaw", "U_inf"])[0]
    assert transforms.Scale(2.0)(item)["scalars"].tolist() == [-1.0, 22.0]


def test_loaders_with_worker_processes_stack_them(local: ZarrChunkReader) -> None:
    dataset = SampleDataset(local, num_points=COUNTS, scalars=["U_inf", "yaw"], with_sample_id=True)
    loaders: list[Any] = [
        SampleLoader(dataset, 2, num_workers=1),
        DataLoader(dataset, 2, num_workers=1, multiprocessing_context="spawn"),
        SampleLoader(ConcatSampleDataset([dataset, dataset]), 4),
    ]
    for loader in loaders:
        for batch in loader:
            assert batch["scalars"].tolist() == [expect(IDS.index(each)) for each in batch["sample_id"]]


def test_a_sample_that_takes_the_place_of_a_damaged_one_brings_its_own(tmp_path: Path, root: Path, caplog: Any) -> None:
    writer = small_writer(tmp_path)
    for number, sample_id in enumerate(IDS):
        writer.write_sample(sample_id, small_arrays(seed=number), {"U_inf": number})
    writer.save_manifest()
    tear(tmp_path, IDS[1])
    dataset = SampleDataset(
        ZarrChunkReader(tmp_path), scalars=["U_inf"], num_points={}, on_error="skip", with_sample_id=True
    )
    with caplog.at_level(logging.CRITICAL, "drawpoint"):
        items = dataset.__getitems__([1, 2])
    assert [item["sample_id"] for item in items] == ["run/2", "run/2"]
    assert [item["scalars"].tolist() for item in items] == [[2.0], [2.0]]


def test_a_name_that_some_samples_lack_is_refused_with_their_number_and_near_names(reader: Reader) -> None:
    store = r"store '(small|/.*)'"
    told = rf"^3 of 5 samples of {store} lack the scalar 'Cd': run/2, run/3, run/4; add it with `drawpoint annotate"
    with pytest.raises(UnknownScalar, match=told):
        SampleDataset(reader, scalars=["U_inf", "Cd"])
    assert SampleDataset(reader, ["run/1", "run/0"], num_points=COUNTS, scalars=["Cd"])[0]["scalars"].item() == 0.25
    with pytest.raises(
        UnknownScalar, match=r"5 of 5 .* 'u_inf': run/0, run/1, run/2, \.\.\.; near names: U_inf\."
    ) as caught:
        SampleDataset(reader, scalars=["u_inf"])
    assert caught.value.near == ("U_inf",)


@pytest.mark.parametrize("names", [[], "U_inf", ["U_inf", "U_inf"]])
def test_names_that_are_no_list_of_different_ones_are_refused(local: ZarrChunkReader, names: Any) -> None:
    with pytest.raises(InvalidParameter, match=r"scalars is a list of names, such as \['U_inf', 'yaw'\], each once"):
        SampleDataset(local, scalars=names)


@pytest.mark.parametrize(("name", "value"), [("huge", "1e[+]39"), ("tiny", "1e-50")])
def test_a_value_that_float32_does_not_hold_is_refused_by_sample_and_name(
    local: ZarrChunkReader, name: str, value: str
) -> None:
    with pytest.raises(
        InvalidParameter, match=rf"scalar '{name}' of sample 'run/3' is {value}, beyond the range of fl"
    ):
        SampleDataset(local, scalars=["U_inf", name])
    assert len(SampleDataset(local, ["run/0"], scalars=["U_inf", name])) == 1


def test_datasets_with_other_scalars_are_not_joined(local: ZarrChunkReader) -> None:
    datasets = [SampleDataset(local, num_points=COUNTS, scalars=names) for names in (["yaw"], ["U_inf"], None)]
    with pytest.raises(InvalidParameter, match=r"scalars: yaw in \[0\], U_inf in \[1\], absent in \[2\]"):
        drawpoint.ConcatSampleDataset(datasets)
