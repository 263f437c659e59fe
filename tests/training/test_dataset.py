"""The items of a dataset depend on seed, epoch and sample id, and on nothing else."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

import drawpoint
from drawpoint import Normaliser, SampleDataset, StoreManifest
from drawpoint.draw.seeds import derive_seed
from drawpoint.errors import (
    ChunkDamaged,
    InvalidDraw,
    InvalidParameter,
    RevisionChanged,
    SampleNotFound,
    ServiceUnavailable,
    SplitNotFound,
    UnknownDomain,
    UnknownField,
)
from drawpoint_store import ZarrChunkReader
from live import LiveService
from small import small_arrays, small_writer

from .conftest import IDS, SPLIT, Reader, tear

COUNTS = {"surface": 4, "volume": 5}
Item = dict[str, torch.Tensor]


def assert_equal(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for field, tensor in expected.items():
        assert torch.equal(found[field], tensor), field


class PlainReader:
    """Nothing but what a dataset needs of a reader, and a record of what it was asked."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.asked: list[tuple[Any, ...]] = []

    @property
    def manifest(self) -> StoreManifest:
        return self._reader.manifest

    def read_sample(self, *args: Any, **kwargs: Any) -> Item:
        self.asked.append(("sample", args, kwargs))
        return self._reader.read_sample(*args, **kwargs)

    def read_coords(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.asked.append(("coords", args, kwargs))
        return self._reader.read_coords(*args, **kwargs)


class BatchReader(PlainReader):
    def read_batch(self, *args: Any, **kwargs: Any) -> list[Item | drawpoint.errors.DrawpointError]:
        self.asked.append(("batch", args, kwargs))
        return self._reader.read_batch(*args, **kwargs)


class TestItems:
    def test_are_the_draws_of_seed_epoch_and_sample_id(self, reader: Reader, local: ZarrChunkReader) -> None:
        dataset = SampleDataset(reader, num_points=COUNTS, num_geometry_points=3, seed=11)
        for epoch in (0, 1, 2**62):
            dataset.set_epoch(epoch)
            for index, sample_id in enumerate(IDS):
                seed = derive_seed("dataset/1", "independent", 11, epoch, sample_id)
                expected = local.read_sample(sample_id, COUNTS, seed=seed)
                expected["geometry_position"] = local.read_coords(sample_id, "surface", 3, seed=seed)
                assert_equal(dataset[index], expected)

    def test_keep_their_seeds_in_all_versions(self) -> None:
        # A training that is resumed with another drawpoint must go on with the same samples.
        assert derive_seed("dataset/1", "independent", 0, 0, "run/0") == 3233694958294259144
        assert derive_seed("dataset/1", "parts", 3, "größe/läuft ✓") == 5719243832232732934

    def test_have_the_fields_asked_for_and_the_id(self, reader: Reader) -> None:
        dataset = SampleDataset(reader, fields=["surface_pressure"], num_points=COUNTS, with_sample_id=True)
        assert dataset[3].keys() == {"surface_pressure", "sample_id"}
        assert dataset[-1]["sample_id"] == "run/6"
        with pytest.raises(IndexError):
            dataset[7]
        assert [batch["sample_id"] for batch in DataLoader(dataset, 4)] == [IDS[:4], IDS[4:]]

    def test_are_what_the_transform_returns(self, local: ZarrChunkReader) -> None:
        dataset = SampleDataset(
            local, num_points=COUNTS, with_sample_id=True, transform=lambda item: (item["sample_id"], len(item))
        )
        assert dataset[4] == ("run/4", 5)
        assert dataset.__getitems__([1]) == [("run/1", 5)]


class TestPartsMode:
    def test_every_point_comes_once_a_cycle_and_cycles_differ(self, reader: Reader, local: ZarrChunkReader) -> None:
        dataset = SampleDataset(reader, num_points={"surface": 5, "volume": 5}, mode="parts", seed=2)
        for index, sample_id in enumerate(IDS):
            everything = local.read_sample(sample_id)
            seen = []
            for epoch in range(12):
                dataset.set_epoch(epoch)
                seen.append(dataset[index])
            for field, cycle in (("surface_pressure", 2), ("volume_velocity", 4)):
                expected = everything[field].reshape(len(everything[field]), -1).sort(dim=0).values
                cycles = [torch.cat([item[field] for item in seen[at : at + cycle]]) for at in range(0, 12, cycle)]
                for found in cycles:
                    assert torch.equal(found.reshape(len(found), -1).sort(dim=0).values, expected)
                assert not all(torch.equal(found, cycles[0]) for found in cycles)

    def test_the_geometry_is_drawn_anew_each_epoch(self, reader: Reader, local: ZarrChunkReader) -> None:
        dataset = SampleDataset(reader, num_points=COUNTS, num_geometry_points=3, mode="parts")
        for epoch in range(3):
            dataset.set_epoch(epoch)
            seed = derive_seed("dataset/1", "independent", 0, epoch, "run/1")
            expected = local.read_coords("run/1", "surface", 3, seed=seed)
            assert torch.equal(dataset[1]["geometry_position"], expected)
            assert torch.equal(dataset.__getitems__([1])[0]["geometry_position"], expected)


class TestBatches:
    @pytest.mark.parametrize("mode", ["independent", "parts", "fixed"])
    def test_hold_the_items_in_order(self, reader: Reader, mode: Any) -> None:
        dataset = SampleDataset(reader, num_points=COUNTS, num_geometry_points=3, mode=mode, with_sample_id=True)
        first = SampleDataset(reader, num_points=COUNTS, num_geometry_points=3, mode=mode)[0]
        dataset.set_epoch(1)
        fixed = torch.equal(dataset[0]["volume_position"], first["volume_position"])
        assert fixed == (mode == "fixed")
        indices = [3, 0, 3, -1]
        for item, index in zip(dataset.__getitems__(indices), indices, strict=True):
            expected = dataset[index]
            assert item.pop("sample_id") == expected.pop("sample_id")
            assert_equal(item, expected)

    def test_are_one_request_if_the_reader_has_read_batch(self, local: ZarrChunkReader) -> None:
        reader = BatchReader(local)
        dataset = SampleDataset(reader, num_points=COUNTS, num_geometry_points=3)
        batches = list(DataLoader(dataset, 3))
        assert [kind for kind, *_ in reader.asked] == ["batch"] * 3
        assert batches[0]["geometry_position"].shape == (3, 3, 3)
        assert batches[2]["volume_velocity"].shape == (1, 5, 3)

    def test_are_read_item_by_item_otherwise(self, local: ZarrChunkReader) -> None:
        plain, whole = (SampleDataset(reader, num_points=COUNTS) for reader in (PlainReader(local), local))
        for found, expected in zip(DataLoader(plain, 3), DataLoader(whole, 3), strict=True):
            assert_equal(found, expected)


class TestSamples:
    def test_are_all_of_the_store_sorted_or_those_of_a_split_in_its_order(self, reader: Reader) -> None:
        assert SampleDataset(reader).sample_ids == IDS
        assert SampleDataset(reader, split="train").sample_ids == SPLIT

    def test_of_sample_ids_that_the_store_lacks_are_left_out_with_a_warning(self, reader: Reader) -> None:
        told = r"^1 samples of sample_ids are not in the store and left out: run/99\.$"
        with pytest.warns(UserWarning, match=told) as caught:
            dataset = SampleDataset(reader, sample_ids=reader.split("torn"))
        assert caught[0].filename == __file__
        assert dataset.sample_ids == ["run/5"]
        with pytest.warns(UserWarning, match=r"^4 samples .*: run/11, run/12, run/13, \.\.\.\.$"):
            dataset = SampleDataset(reader, [f"run/{number}" for number in (1, 11, 12, 13, 14)])
        assert dataset.sample_ids == ["run/1"]

    def test_are_an_error_if_the_store_lacks_all_of_them_or_the_split(self, reader: Reader) -> None:
        with pytest.raises(SampleNotFound, match=r"'run/77'; near names: run/"):
            SampleDataset(reader, ["run/77", "run/78"])
        with pytest.raises(SampleNotFound, match="'run/98'"):
            SampleDataset(reader, split="gone")
        with pytest.raises(SplitNotFound):
            SampleDataset(reader, split="trian")


class TestItemsOfUnequalSize:
    @pytest.fixture
    def unequal(self, tmp_path: Path) -> ZarrChunkReader:
        writer = small_writer(tmp_path)
        for sample_id, n_points in (("long", 9), ("short", 6), ("longer", 12)):
            arrays = {field: each[:n_points] for field, each in small_arrays(12).items()}
            writer.write_sample(sample_id, arrays)
        writer.save_manifest()
        return ZarrChunkReader(tmp_path)

    def test_cause_a_warning_that_names_the_sample_and_its_points(self, unequal: ZarrChunkReader) -> None:
        told = r"^num_points\['volume'\] is 7 but sample 'short' has only 6 points .* at most 6, .*collate_fn=list\.$"
        with pytest.warns(UserWarning, match=told) as caught:
            dataset = SampleDataset(unequal, num_points={"surface": 6, "volume": 7}, seed=3)
        with pytest.warns(UserWarning, match=r"^num_geometry_points is 8 but sample 'short' has only 6 points"):
            SampleDataset(unequal, num_points={"surface": 6, "volume": 6}, num_geometry_points=8)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        with pytest.raises(RuntimeError, match="equal size"):
            next(iter(DataLoader(dataset, 3)))
        dataset.set_epoch(0)
        batch = next(iter(DataLoader(dataset, 3, collate_fn=list)))
        assert [len(item["volume_velocity"]) for item in batch] == [7, 7, 6]

    @pytest.mark.parametrize(
        "options",
        [
            {"num_points": {"surface": 6, "volume": 6}},
            {"num_points": {"surface": 7}, "sample_ids": ["long", "longer"]},
            {"num_points": {"surface": 99}, "sample_ids": ["short"]},
            {"num_points": {"surface": 7}, "fields": ["volume_velocity"]},
        ],
        ids=["enough", "enough in those chosen", "a single one", "not drawn"],
    )
    def test_cause_no_warning_where_all_are_equal(self, unequal: ZarrChunkReader, options: Any) -> None:
        SampleDataset(unequal, **options)  # a warning is an error


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"sample_ids": ["run/1"], "split": "train"}, ValueError, "both choose"),
        ({"sample_ids": "run/1"}, ValueError, "not one string"),
        ({"sample_ids": []}, ValueError, "No samples are named"),
        ({"num_points": {"surfaces": 3}}, UnknownDomain, "surface"),
        ({"num_points": {"surface": 0}}, InvalidDraw, "point count"),
        ({"num_geometry_points": 0}, InvalidDraw, r"^num_geometry_points must be"),
        ({"fields": ["surface_presure"]}, UnknownField, "surface_pressure"),
        ({"fields": "surface_pressure"}, InvalidDraw, "collection"),
        ({"fields": []}, InvalidDraw, "at least one"),
        ({"seed": -1}, InvalidDraw, "seed"),
        ({"mode": "part"}, InvalidParameter, "independent or parts or fixed"),
        ({"on_error": "ignore"}, InvalidParameter, "raise or skip"),
        ({"normalise": 3}, ValueError, "normalise"),
    ],
)
def test_invalid_arguments_are_refused_at_once(
    local: ZarrChunkReader, options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        SampleDataset(local, **options)


def test_an_epoch_is_an_integer_from_0_on(local: ZarrChunkReader) -> None:
    dataset = SampleDataset(local)
    dataset.set_epoch(3)
    assert dataset.epoch == 3
    others: list[Any] = [-1, 1.5]
    for other in others:
        with pytest.raises(InvalidDraw, match=r"^epoch must be an integer"):
            dataset.set_epoch(other)


class TestNormalisedItems:
    def test_use_the_statistics_that_the_store_ships(self, reader: Reader) -> None:
        plain = SampleDataset(reader, num_points=COUNTS, num_geometry_points=3)
        normalised = SampleDataset(reader, num_points=COUNTS, num_geometry_points=3, normalise=True)
        assert normalised.normaliser is not None
        assert_equal(normalised[2], normalised.normaliser.normalise(plain[2]))
        assert not torch.equal(normalised[2]["geometry_position"], plain[2]["geometry_position"])
        assert_equal(normalised.__getitems__([2])[0], normalised[2])

    def test_refuse_statistics_of_another_revision(self, reader: Reader) -> None:
        statistics = reader.statistics() | {"revision": "0" * 64}
        with pytest.raises(RevisionChanged, match="drawpoint stats"):
            SampleDataset(reader, normalise=statistics)

    def test_need_no_statistics_of_a_geometry_that_stays_as_it_is(self, reader: Reader) -> None:
        statistics = reader.statistics()
        del statistics["fields"]["surface_position"]
        with pytest.raises(UnknownField, match=r"no statistics of 'surface_position'; .*leave="):
            SampleDataset(reader, fields=["surface_pressure"], num_geometry_points=3, normalise=statistics)
        normaliser = Normaliser(statistics, leave=["surface_position"])
        left, plain = (
            SampleDataset(reader, num_points=COUNTS, num_geometry_points=3, normalise=each)
            for each in (normaliser, None)
        )
        assert torch.equal(left[0]["geometry_position"], plain[0]["geometry_position"])


class TestDamage:
    def test_is_raised_by_default(self, torn_root: Path) -> None:
        dataset = SampleDataset(ZarrChunkReader(torn_root))
        with pytest.raises(ChunkDamaged, match="run/2"):
            dataset[2]
        with pytest.raises(ChunkDamaged, match="run/3"):
            dataset.__getitems__([0, 3])

    def test_is_skipped_with_a_warning_under_on_error_skip(
        self, torn_root: Path, local: ZarrChunkReader, caplog: pytest.LogCaptureFixture
    ) -> None:
        with LiveService({"torn": torn_root}) as service, drawpoint.connect(service.url) as connection:
            for reader in (ZarrChunkReader(torn_root), connection.store("torn")):
                caplog.clear()
                dataset = SampleDataset(reader, on_error="skip", with_sample_id=True)
                with caplog.at_level(logging.WARNING, "drawpoint"):
                    (batch,) = DataLoader(dataset, 7)
                assert batch["sample_id"] == ["run/0", "run/1", "run/4", "run/4", "run/4", "run/5", "run/6"]
                whole = SampleDataset(local)
                assert torch.equal(batch["volume_position"][2], whole[4]["volume_position"])
                assert dataset[2]["sample_id"] == "run/4"
                assert "run/2" in caplog.text
                assert "takes its place" in caplog.text

    def test_of_all_samples_is_raised_under_on_error_skip(self, torn_root: Path) -> None:
        for sample_id in (*IDS[:2], *IDS[4:]):
            tear(torn_root, sample_id)
        with pytest.raises(ChunkDamaged):
            SampleDataset(ZarrChunkReader(torn_root), on_error="skip")[0]

    def test_an_outage_is_raised_under_on_error_skip(self, small_root: Path) -> None:
        with LiveService({"small": small_root}) as service:
            reader = drawpoint.connect(service.url, deadline=3.0).store("small")
            dataset = SampleDataset(reader, on_error="skip", num_points=COUNTS)
            assert dataset[0]
        for read in (lambda: dataset[0], lambda: dataset.__getitems__([0, 1])):
            with pytest.raises(ServiceUnavailable):
                read()


class TestWithTorch:
    def test_distributed_sampler_shares_the_items_among_ranks(self, reader: Reader) -> None:
        alone = SampleDataset(reader, num_points=COUNTS, with_sample_id=True)
        alone.set_epoch(4)
        items = {item.pop("sample_id"): item for item in (alone[index] for index in range(7))}
        seen = []
        for rank in range(2):
            dataset = SampleDataset(reader, num_points=COUNTS, with_sample_id=True)
            dataset.set_epoch(4)
            sampler: DistributedSampler[Any] = DistributedSampler(dataset, num_replicas=2, rank=rank, seed=5)
            sampler.set_epoch(4)
            for item in DataLoader(dataset, None, sampler=sampler):
                sample_id = item.pop("sample_id")
                seen.append(sample_id)
                assert_equal(item, items[sample_id])
        assert len(seen) == 8  # 7 do not divide: the sampler shows one again
        assert set(seen) == set(IDS)

    def test_copies_have_an_epoch_of_their_own(self, reader: Reader) -> None:
        dataset = SampleDataset(reader, num_points=COUNTS, normalise=True)
        dataset.set_epoch(2)
        for twin in (pickle.loads(pickle.dumps(dataset)), copy.deepcopy(dataset)):
            assert twin.epoch == 2
            assert_equal(twin[1], dataset[1])
            twin.set_epoch(3)
            assert dataset.epoch == 2
