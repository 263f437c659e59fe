"""Stand-ins that make the calls of other libraries get what our own reader gives."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
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

from .conftest import IDS, SPLIT, Reader

COUNTS = {"surface": 4, "volume": 5}


class TestNoether:
    """Its ZarrAeroDataset reads manifest, splits and blacklists of a folder, and all else through `self.reader`."""

    def test_finds_the_manifest_and_the_splits_in_the_folder(
        self, remote: drawpoint.RemoteReader, tmp_path: Path
    ) -> None:
        root = write_metadata(remote, tmp_path / "a" / "b")
        assert StoreManifest.from_json((root / "manifest.json").read_bytes()).samples == remote.manifest.samples
        assert {path.name: path.read_text().split() for path in root.glob("*.txt")} == {
            "train_design_ids.txt": SPLIT,
            **{name: [] for name in ("val_design_ids.txt", "test_design_ids.txt", "blacklist.txt", "blacklist2.txt")},
        }

    def test_splits_leave_out_samples_of_a_blacklist_and_those_that_the_store_lacks(
        self, small_root: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(small_root, tmp_path / "store")
        (tmp_path / "store" / "blacklist.txt").write_text("run/97\n")
        for name, ids in (("train", "run/98\nrun/2\nrun/3\nrun/97\n"), ("test", "run/99\n")):
            (tmp_path / "store" / "splits" / f"{name}.txt").write_text(ids)
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "blacklist2.txt").write_text("run/3\n")
        reader = ZarrChunkReader(tmp_path / "store")
        with pytest.warns(UserWarning, match="samples of split") as caught:
            write_metadata(reader, folder)  # type: ignore[arg-type]  # has what it takes
        assert [str(each.message) for each in caught] == [
            "1 samples of split 'train' are not in the store and left out: run/98.",
            "1 samples of split 'test' are not in the store and left out: run/99.",
        ]
        assert caught[0].filename == __file__
        assert (folder / "train_design_ids.txt").read_text() == "run/2\n"
        assert (folder / "test_design_ids.txt").read_text() == ""
        assert (folder / "blacklist2.txt").read_text() == "run/3\n"

    def test_a_blacklist_that_is_no_text_is_an_error(self, remote: drawpoint.RemoteReader, tmp_path: Path) -> None:
        (tmp_path / "blacklist.txt").write_bytes(b"\xff")
        with pytest.raises(ValueError, match=r"blacklist\.txt is not UTF-8 text"):
            write_metadata(remote, tmp_path)


class StandInReader:
    """Makes the calls of physicsnemo.datapipes.readers.base.Reader, with a dict in the place of a TensorDict."""

    epoch = 0

    def __init__(self, *, include_index_in_metadata: bool = True) -> None:
        self.include_index_in_metadata = include_index_in_metadata

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        it: Any = self
        metadata = it._get_sample_metadata(index)  # noqa: SLF001  the interface that its subclasses have
        if self.include_index_in_metadata:
            metadata["index"] = index
        return dict(it._load_sample(index)), metadata  # noqa: SLF001  part of that interface

    def set_generator(self, generator: torch.Generator) -> None:
        self.generator = generator

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
        assert theirs.generator.initial_seed() == 2**63 + 5
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

    def test_leaves_out_the_fields_of_a_domain_whose_name_begins_alike(self, pyvista: Any, tmp_path: Path) -> None:
        surface = {"surface_position": torch.zeros(4, 3), "surface_area": torch.ones(4)}
        stl = {"surface_stl_position": torch.ones(4, 3), "surface_stl_area": torch.ones(4)}
        found = pyvista.read(write_vtp(tmp_path / "a.vtp", surface | stl))
        assert list(found.point_data) == ["area"]
        found = pyvista.read(write_vtp(tmp_path / "b.vtp", surface | stl, "surface_stl"))
        assert (list(found.point_data), found.points.max()) == (["area"], 1)

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
