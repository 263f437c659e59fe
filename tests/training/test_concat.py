"""Several stores in one training: epochs, resumption, batches, normalisation of each, and what may not differ."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

import drawpoint
from drawpoint import ConcatSampleDataset, Normaliser, RemoteReader, SampleDataset, SampleLoader
from drawpoint.errors import InvalidDraw, InvalidParameter
from drawpoint_store import FileMap, ZarrChunkReader, ZarrStoreWriter, calculate_store_statistics
from live import LiveService
from small import small_arrays

FIELDS = ["surface_position", "surface_pressure"]
COUNTS = {"surface": 4}


@pytest.fixture(scope="module")
def other_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three samples that has areas besides, and no volume."""
    root = tmp_path_factory.mktemp("other")
    filemap = FileMap(surface_position="p.pt", surface_pressure="q.pt", surface_area="a.pt")
    writer = ZarrStoreWriter(root, filemap, "other", chunk_points=4)
    for number in range(3):
        arrays = {field: 10 + 3 * small_arrays(12, seed=90 + number)[field] for field in FIELDS}
        writer.write_sample(f"other/{number}", {**arrays, "surface_area": arrays["surface_pressure"]})
    writer.save_manifest()
    return root


@pytest.fixture
def other(other_root: Path) -> ZarrChunkReader:
    return ZarrChunkReader(other_root)


def dataset_of(reader: Any, **options: Any) -> SampleDataset:
    return SampleDataset(reader, **{"num_points": COUNTS, "fields": FIELDS, "with_sample_id": True, **options})


def pair_of(local: ZarrChunkReader, other: ZarrChunkReader, **options: Any) -> list[SampleDataset]:
    return [dataset_of(reader, **options) for reader in (local, other)]


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    assert found.pop("sample_id") == expected.pop("sample_id")
    assert all(torch.equal(found[field], expected[field]) for field in expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_epoch_has_all_samples_with_points_of_its_own(
    local: ZarrChunkReader, other: ZarrChunkReader, workers: int
) -> None:
    datasets, expected = pair_of(local, other), pair_of(local, other)
    loader = SampleLoader(ConcatSampleDataset(datasets), 4, num_workers=workers)
    assert len(loader) == 3
    for epoch in range(2):
        seen = []
        for each in expected:
            each.set_epoch(epoch)
        for batch in loader:
            for slot, sample_id in enumerate(batch["sample_id"]):
                source = expected[sample_id.startswith("other")]
                item = source[source.sample_ids.index(sample_id)]
                assert torch.equal(batch["surface_position"][slot], item["surface_position"])
                seen.append(sample_id)
        assert sorted(seen) == sorted(expected[0].sample_ids + expected[1].sample_ids)


def test_a_training_resumes_in_the_middle_of_an_epoch(local: ZarrChunkReader, other: ZarrChunkReader) -> None:
    loader = SampleLoader(ConcatSampleDataset(pair_of(local, other)), 3)
    batches = [batch for _ in range(2) for batch in loader]
    loader = SampleLoader(ConcatSampleDataset(pair_of(local, other)), 3)
    for count, _ in enumerate(loader, 1):
        if count == 2:
            break
    state = loader.state_dict()
    resumed = SampleLoader(ConcatSampleDataset(pair_of(local, other)), 3)
    resumed.load_state_dict(state)
    rest = [batch for _ in range(2) for batch in resumed]
    assert len(rest) == len(batches) - 2
    for found, expected in zip(rest, batches[2:], strict=True):
        assert_equal(found, expected)


def test_each_dataset_normalises_by_its_own_statistics(local: ZarrChunkReader, other: ZarrChunkReader) -> None:
    normalisers = [
        Normaliser({field: found.to_dict() for field, found in calculate_store_statistics(reader.store_root).items()})
        for reader in (local, other)
    ]
    datasets = [
        dataset_of(reader, normalise=normaliser) for reader, normaliser in zip((local, other), normalisers, strict=True)
    ]
    items = ConcatSampleDataset(datasets).__getitems__([0, 8])
    for item, normaliser, plain in zip(items, normalisers, pair_of(local, other), strict=True):
        expected = plain[plain.sample_ids.index(item.pop("sample_id"))]
        expected.pop("sample_id")
        assert item["surface_pressure"].abs().max() < 4
        torch.testing.assert_close(normaliser.denormalise(item), expected, rtol=1e-3, atol=1e-3)


def test_a_batch_is_one_read_of_each_store(local: ZarrChunkReader, other: ZarrChunkReader) -> None:
    datasets = pair_of(local, other)
    asked: list[list[str]] = []
    for dataset in datasets:
        counting: Any = CountingReader(dataset.reader, asked)
        dataset.reader = counting
    expected = ConcatSampleDataset(pair_of(local, other))
    batch = next(
        iter(DataLoader(ConcatSampleDataset(datasets), sampler=[8, 0, 9, 3, -1], batch_size=5, collate_fn=list))
    )
    assert asked == [["other/1", "other/2", "other/2"], ["run/0", "run/3"]]
    for item, index in zip(batch, [8, 0, 9, 3, 9], strict=True):
        assert_equal(item, expected[index])


class CountingReader:
    def __init__(self, reader: Any, asked: list[list[str]]) -> None:
        self.manifest = reader.manifest
        self._reader = reader
        self._asked = asked

    def read_batch(self, requests: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        self._asked.append([request["id"] for request in requests])
        return self._reader.read_batch(requests, *args, **kwargs)


def test_served_and_local_stores_go_together(remote: RemoteReader, other_root: Path, other: ZarrChunkReader) -> None:
    with LiveService({"other": other_root}) as service, drawpoint.connect(service.url) as connection:
        served = ConcatSampleDataset([dataset_of(remote), dataset_of(connection.store("other"))])
        mixed = ConcatSampleDataset([dataset_of(remote), dataset_of(other)])
        for index in (0, 6, 7, 9):
            assert_equal(served[index], mixed[index])


def test_two_datasets_of_one_store_show_it_twice_with_other_points(local: ZarrChunkReader) -> None:
    twice = ConcatSampleDataset([dataset_of(local, seed=seed) for seed in (0, 1)])
    assert len(twice) == 14
    assert twice[0]["sample_id"] == twice[7]["sample_id"]
    assert not torch.equal(twice[0]["surface_position"], twice[7]["surface_position"])


def test_subsets_and_copies_of_it_work(local: ZarrChunkReader, other: ZarrChunkReader) -> None:
    first, second = pair_of(local, other)
    nested = ConcatSampleDataset([Subset(Subset(first, [1, 3, 5]), [0, 2]), second])
    again = pickle.loads(pickle.dumps(nested))
    again.set_epoch(3)
    for dataset in (first, second):
        dataset.set_epoch(3)
    assert [item["sample_id"] for item in again.__getitems__([1, 2])] == ["run/5", "other/0"]
    assert_equal(again[1], first[5])


class TestWhatDiffers:
    def test_is_listed_with_the_fields_in_common(self, local: ZarrChunkReader, other: ZarrChunkReader) -> None:
        datasets = [
            SampleDataset(local, num_points={"surface": 4}, normalise=True),
            SampleDataset(other, num_points={"surface": 5}, num_geometry_points=3),
            SampleDataset(other, num_points={"surface": 4}, with_sample_id=True),
        ]
        with pytest.raises(InvalidParameter) as error:
            ConcatSampleDataset(datasets)
        assert str(error.value) == (
            f"the items of these datasets cannot be stacked (0 is of {local.store_root}, 1 is of {other.store_root}, "
            f"2 is of {other.store_root}). surface points: 4 in [0, 2], 5 in [1]; volume points: all in [0], absent in "
            "[1, 2]; volume_position: 3 components in [0], absent in [1, 2]; volume_velocity: 3 components in [0], "
            "absent in [1, 2]; normalised: yes in [0], no in [1, 2]; surface_area: absent in [0], a scalar in [1, 2]; "
            "geometry_position: absent in [0, 2], 3 points in [1]; sample_id: absent in [0, 1], present in [2]. "
            "Give all of them the same arguments, with the fields in common: "
            "fields=['surface_position', 'surface_pressure']."
        )
        ConcatSampleDataset([SampleDataset(reader, num_points=COUNTS, fields=FIELDS) for reader in (local, other)])

    def test_may_be_made_alike_by_a_transform(self, local: ZarrChunkReader, other: ZarrChunkReader) -> None:
        datasets = [
            SampleDataset(reader, num_points=COUNTS, transform=lambda item: item["surface_position"])
            for reader in (local, other)
        ]
        batch = next(iter(DataLoader(ConcatSampleDataset(datasets), 10)))
        assert batch.shape == (10, 4, 3)

    @pytest.mark.parametrize("datasets", [[], [TensorDataset(torch.zeros(3))], [3]])
    def test_is_no_dataset_of_ours(self, datasets: list[Any]) -> None:
        with pytest.raises(InvalidParameter, match="datasets is a list of SampleDataset"):
            ConcatSampleDataset(datasets)

    def test_an_epoch_that_is_not_valid_is_refused(self, local: ZarrChunkReader) -> None:
        with pytest.raises(InvalidDraw, match="epoch must be an integer"):
            ConcatSampleDataset([dataset_of(local)]).set_epoch(-1)
