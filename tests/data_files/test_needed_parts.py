"""The parts of a file that are told to hold what is needed hold it, and are a part of it."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from vtkmodules.vtkCommonDataModel import vtkPolyData

from drawpoint_store.data_files import needed_parts as module
from drawpoint_store.data_files.data_file import MeshFile
from drawpoint_store.data_files.needed_parts import Needed, needed_parts
from drawpoint_store.data_files.opening import open_data_file
from drawpoint_store.data_files.vtk_xml.vtk_xml_file import VtkXmlFile
from vtk_files import add_arrays, block, save
from vtk_made import BINARY_WAYS, POLYHEDRON, Way, meshes, pieces_of


class WatchedFile:
    """A file elsewhere, of which `allowed` says which bytes may be read; every read is a round trip."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.data = path.read_bytes()
        self.size = len(self.data)
        self.allowed = np.ones(self.size, bool)
        self.round_trips = 0

    def __str__(self) -> str:
        return f"s3://far/{self.name}"

    def preadv(self, view: memoryview, position: int) -> int:
        part = self.data[position : position + len(view)]
        assert self.allowed[position : position + len(view)].all(), f"{position}: {part[:40]!r}"
        self.round_trips += 1
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        pass


@settings(max_examples=40)  # what they share with local files is tested with more
@given(meshes(), BINARY_WAYS, st.data())
def test_all_that_is_read_of_needed_arrays_lies_in_their_parts(mesh: Any, way: Way, data: st.DataObject) -> None:
    kinds = {mesh.GetCellType(number) for number in range(mesh.GetNumberOfCells())}
    assume(way.pieces == 1 or (POLYHEDRON not in kinds and all(each.GetNumberOfCells() for each in pieces_of(mesh, 2))))
    with TemporaryDirectory() as folder:
        path = Path(folder, "mesh.vtp" if isinstance(mesh, vtkPolyData) else "mesh.vtu")
        way.write(path, mesh)
        far = WatchedFile(path)
        with VtkXmlFile(far) as ours, VtkXmlFile(path) as here:
            names = frozenset(data.draw(st.lists(st.sampled_from([*(each.name for each in ours.arrays), "none"]))))
            needed = Needed(names, data.draw(st.booleans()), data.draw(st.booleans()), data.draw(st.booleans()))
            far.allowed[:] = False
            for begin, end in ours.spans(needed):
                far.allowed[begin:end] = True
            for mine, array in zip(ours.arrays, here.arrays, strict=True):
                if needed.has(array.name, array.active):
                    assert ours.read(mine).tobytes() == here.read(array).tobytes()
            if needed.points:
                assert ours.points().tobytes() == here.points().tobytes()
            if needed.cells:
                for mine_block, cells in zip(ours.cell_blocks(3), here.cell_blocks(3), strict=True):
                    assert mine_block.connectivity.tolist() == cells.connectivity.tolist()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A file of 300 kB with thirteen arrays of the cells."""
    mesh = block(0, 12)
    add_arrays(mesh, {f"array_{number}": 3 for number in range(13)})
    save(mesh, tmp_path / "volume.vtu")
    return tmp_path / "volume.vtu"


def test_a_file_is_read_whole_that_takes_too_many_round_trips_or_is_of_another_kind(
    volume: Path, tmp_path: Path
) -> None:
    needed = Needed(frozenset({"array_3"}))
    size = volume.stat().st_size
    assert needed_parts([WatchedFile(volume)], needed) is None  # 300 kB are not worth four round trips
    with mock.patch.object(module, "ROUND_TRIP_BYTES", size // (8 * 400)):
        far = WatchedFile(volume)
        found = needed_parts([far], needed)
        assert found is not None
        [spans] = found
        assert sum(end - begin for begin, end in spans) < size / 10
        trips = far.round_trips
    for most in (trips // 2, 4):
        with mock.patch.object(module, "ROUND_TRIP_BYTES", size // (8 * most)):
            far = WatchedFile(volume)
            assert needed_parts([far], needed) is None
            assert far.round_trips <= most + 1
    with mock.patch.object(module, "ROUND_TRIP_BYTES", 1):
        for name, data in (
            ("cut.vtu", volume.read_bytes()[:-100]),
            ("table.csv", b"x\n" * 99),
            ("a.npy", b"\x93" * 99),
        ):
            (tmp_path / name).write_bytes(data)
            assert needed_parts([WatchedFile(tmp_path / name)], needed) is None


def test_parts_of_a_file_each_have_their_own_spans(volume: Path, tmp_path: Path) -> None:
    whole, files = volume.read_bytes(), []
    for number, begin in enumerate(range(0, len(whole), 10_000)):
        part = tmp_path / f"volume.vtu.{number:03}.part"
        part.write_bytes(whole[begin : begin + 10_000])
        files.append(WatchedFile(part))
    with mock.patch.object(module, "ROUND_TRIP_BYTES", 1):
        found = needed_parts(files, Needed(frozenset({"array_3", "array_9"}), points=True))
    assert found is not None
    for file, spans in zip(files, found, strict=True):
        assert all(0 <= begin < end <= file.size for begin, end in spans)
    assert any(not spans for spans in found)
    with open_data_file(files) as far, open_data_file(volume) as here:
        assert isinstance(far, MeshFile)
        assert isinstance(here, MeshFile)
        assert np.array_equal(far.points(), here.points())
        assert np.array_equal(far.read(far.arrays[0]), here.read(here.arrays[0]))


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_of_an_array_are_read_by_their_place_unless_columns_follow_each_other(tmp_path: Path, order: Any) -> None:
    values = np.asarray(np.random.default_rng(0).random((50, 7, 3)), order=order)
    np.save(tmp_path / "values.npy", values)
    far = WatchedFile(tmp_path / "values.npy")
    with mock.patch.object(module, "ROUND_TRIP_BYTES", 1):
        found = needed_parts([far], Needed(rows=frozenset({4, 9})))
        assert needed_parts([far], Needed(rows=frozenset({50}))) is None
        assert needed_parts([far], Needed()) is None
    if order == "F":
        assert found is None
        return
    assert found is not None
    assert sorted(end - begin for begin, end in found[0]) == [7 * 3 * 8] * 2
    with open_data_file(far) as file:
        far.allowed[:] = False
        for begin, end in found[0]:
            far.allowed[begin:end] = True
        assert np.array_equal(file.read(file.arrays[0], 4, 5).reshape(7, 3), values[4])
        assert os.path.basename(str(far)) == "values.npy"  # noqa: PTH119  a URL
