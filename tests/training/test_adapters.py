"""Stand-ins that make the calls of other libraries get what our own reader gives."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import drawpoint
from drawpoint import Part, SampleDataset, StoreManifest
from drawpoint.adapters.noether import write_metadata
from drawpoint.errors import UnknownDomain
from drawpoint.export import write_vtp
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.manifest import StoreManifest as StoredManifest
from live import LiveService

from .conftest import IDS, SPLIT, Reader

COUNTS = {"surface": 4, "volume": 5}


class AeroDataset:
    """Makes the calls of noether's ZarrAeroDataset and ZarrDrivAerNetDataset: root, manifest, splits, reader."""

    def __init__(self, root: Path, sampling_seed: int | None) -> None:
        self.store_root = root
        self.manifest = StoredManifest.load(root)
        self.reader: Any = ZarrChunkReader(self.store_root, self.manifest, read_concurrency=1)
        self.sampling_seed = sampling_seed
        blacklist = {line for name in ("blacklist.txt", "blacklist2.txt") for line in self._read_lines(name)}
        splits = {name: self._read_lines(f"{name}_design_ids.txt") for name in ("train", "test", "val")}
        self.design_ids = [each for each in splits["train"] if each not in blacklist]
        missing = [each for each in self.design_ids if each not in self.manifest.samples]
        assert not missing
        self.fields = {field for layout in self.manifest.domains.values() for field in layout.arrays}

    def _read_lines(self, name: str) -> list[str]:
        return [line.strip() for line in (self.store_root / name).read_text().splitlines() if line.strip()]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = None
        if self.sampling_seed is not None:
            generator = torch.Generator().manual_seed(self.sampling_seed + index)
        sample_id = self.design_ids[index]
        fields: dict[str, torch.Tensor] = self.reader.read_sample(sample_id, num_points=COUNTS, generator=generator)
        fields["geometry_position"] = self.reader.read_coords(sample_id, "surface", 3, generator)
        assert set(fields) == self.fields | {"geometry_position"}
        return fields


class TestNoether:
    def test_reads_the_same_tensors_through_a_remote_reader(
        self, small_root: Path, remote: drawpoint.RemoteReader, tmp_path: Path
    ) -> None:
        root = write_metadata(remote, tmp_path / "a" / "b")
        assert StoreManifest.from_json((root / "manifest.json").read_bytes()).samples == remote.manifest.samples
        assert (root / "val_design_ids.txt").read_text() == ""
        served = AeroDataset(root, sampling_seed=7)
        served.reader = remote
        assert served.design_ids == SPLIT
        own = ZarrChunkReader(small_root)
        for index, sample_id in enumerate(SPLIT):
            generator = torch.Generator().manual_seed(7 + index)
            expected = own.read_sample(sample_id, COUNTS, generator)
            expected["geometry_position"] = own.read_coords(sample_id, "surface", 3, generator)
            found = served[index]
            assert found.keys() == expected.keys()
            assert all(torch.equal(found[field], expected[field]) for field in expected)

    def test_splits_leave_out_samples_of_a_blacklist(self, small_root: Path, tmp_path: Path) -> None:
        shutil.copytree(small_root, tmp_path / "store")
        (tmp_path / "store" / "blacklist.txt").write_text("meshes/run/5.vtk\nrun/98\nrun/1\n")
        (tmp_path / "store" / "splits" / "train.txt").write_text("run/98\nrun/1\nrun/2\nrun/3\n")
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "blacklist2.txt").write_text("run/3\n")
        with LiveService({"small": tmp_path / "store"}) as service, drawpoint.connect(service.url) as connection:
            root = write_metadata(connection.store("small"), folder)
        assert AeroDataset(root, sampling_seed=None).design_ids == ["run/2"]
        assert (root / "train_design_ids.txt").read_text() == "run/2\n"
        assert (root / "blacklist2.txt").read_text() == "run/3\n"

    def test_splits_leave_out_samples_that_the_store_lacks_with_a_warning(
        self, small_root: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(small_root, tmp_path / "store")
        for name, ids in (("train", "run/98\nrun/1\n"), ("test", "run/97\nrun/99\n")):
            (tmp_path / "store" / "splits" / f"{name}.txt").write_text(ids)
        reader = ZarrChunkReader(tmp_path / "store")
        with pytest.warns(UserWarning, match="samples of split") as caught:
            root = write_metadata(reader, tmp_path / "folder")  # type: ignore[arg-type]  # has what it takes
        assert [str(each.message) for each in caught] == [
            "1 samples of split 'train' are not in the store and left out: run/98.",
            "2 samples of split 'test' are not in the store and left out: run/97, run/99.",
        ]
        assert caught[0].filename == __file__
        assert AeroDataset(root, sampling_seed=None).design_ids == ["run/1"]
        assert (root / "test_design_ids.txt").read_text() == ""


class StandInReader(ABC):
    """Makes the calls of physicsnemo.datapipes.readers.base.Reader, with a dict in the place of a TensorDict."""

    def __init__(self, *, include_index_in_metadata: bool = True) -> None:
        self.include_index_in_metadata = include_index_in_metadata
        self.seed_base: int | None = None
        self.epoch = 0

    @abstractmethod
    def _load_sample(self, index: int) -> dict[str, torch.Tensor]: ...

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _get_sample_metadata(self, index: int) -> dict[str, Any]: ...

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        metadata = self._get_sample_metadata(index)
        if self.include_index_in_metadata:
            metadata["index"] = index
        return dict(self._load_sample(index)), metadata

    def set_generator(self, generator: torch.Generator) -> None:
        self.seed_base = generator.initial_seed()

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


@pytest.fixture
def sample_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The adapter's class, on top of the stand-in."""
    for name in ("physicsnemo", "physicsnemo.datapipes", "physicsnemo.datapipes.readers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    base: Any = ModuleType("physicsnemo.datapipes.readers.base")
    base.Reader = StandInReader
    monkeypatch.setitem(sys.modules, base.__name__, base)
    yield importlib.import_module("drawpoint.adapters.physicsnemo").SampleReader
    del sys.modules["drawpoint.adapters.physicsnemo"]


class TestPhysicsNeMo:
    def test_reads_samples_with_their_ids(self, sample_reader: Any, reader: Reader) -> None:
        dataset = SampleDataset(reader, num_points=COUNTS, num_geometry_points=3)
        theirs = sample_reader(SampleDataset(reader, num_points=COUNTS, num_geometry_points=3))
        assert len(theirs) == 7
        for index, sample_id in enumerate(IDS):
            tensors, metadata = theirs[index]
            assert metadata == {"sample_id": sample_id, "index": index}
            assert all(torch.equal(tensors[field], tensor) for field, tensor in dataset[index].items())
        assert sample_reader(dataset, include_index_in_metadata=False)[0][1] == {"sample_id": "run/0"}

    def test_sets_epoch_and_seed_of_the_draws(self, sample_reader: Any, local: ZarrChunkReader) -> None:
        theirs = sample_reader(SampleDataset(local, num_points=COUNTS))
        theirs.set_generator(torch.Generator().manual_seed(2**63 + 5))
        theirs.set_epoch(3)
        assert theirs.seed_base == 2**63 + 5
        assert theirs.epoch == 3
        expected = SampleDataset(local, num_points=COUNTS, seed=5)
        expected.set_epoch(3)
        assert torch.equal(theirs[1][0]["volume_position"], expected[1]["volume_position"])


class TestExport:
    @pytest.fixture
    def pyvista(self) -> Any:
        if importlib.util.find_spec("pyvista") is None:
            pytest.skip("THE EXPORT TO .vtp IS NOT TESTED: pyvista is not installed; pip install '.[viz]'")
        return importlib.import_module("pyvista")

    def test_writes_points_with_their_fields_of_draws_and_parts(
        self, pyvista: Any, local: ZarrChunkReader, tmp_path: Path
    ) -> None:
        drawn = local.read_sample("run/0", COUNTS, seed=1)
        drawn["volume_speed"] = drawn["volume_velocity"].norm(dim=1).requires_grad_()
        found = pyvista.read(write_vtp(tmp_path / "draw.vtp", drawn, "volume"))
        assert torch.equal(torch.from_numpy(found.points.copy()), drawn["volume_position"])
        assert set(found.point_data) == {"velocity", "speed"}
        assert torch.equal(torch.from_numpy(found.point_data["velocity"].copy()), drawn["volume_velocity"])
        assert found.n_verts == 5
        part: Part = next(iter(local.iter_parts("run/0", "surface", 4)))
        found = pyvista.read(write_vtp(tmp_path / "part.vtp", part))
        assert found.n_points == 4
        assert list(found.point_data) == ["pressure"]

    @pytest.mark.usefixtures("pyvista")
    def test_refuses_unknown_domains_suffixes_and_row_counts(self, local: ZarrChunkReader, tmp_path: Path) -> None:
        drawn = local.read_sample("run/0", COUNTS, seed=1)
        with pytest.raises(UnknownDomain, match="'inlet'"):
            write_vtp(tmp_path / "a.vtp", drawn, "inlet")
        with pytest.raises(ValueError, match=r"a\.vtk' does not end in \.vtp"):
            write_vtp(tmp_path / "a.vtk", drawn)
        with pytest.raises(ValueError, match="surface_extra has 3 rows, but surface_position has 4"):
            write_vtp(tmp_path / "a.vtp", drawn | {"surface_extra": torch.zeros(3)})
        assert not list(tmp_path.iterdir())


def test_a_blacklist_that_is_no_text_is_an_error(remote: drawpoint.RemoteReader, tmp_path: Path) -> None:
    (tmp_path / "blacklist.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"blacklist\.txt is not UTF-8 text"):
        write_metadata(remote, tmp_path)
