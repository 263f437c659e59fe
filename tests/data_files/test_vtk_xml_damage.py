"""Damaged VTK XML files are refused by name: never other values, never zeros, never more memory than the file has."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkUnstructuredGrid

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files import open_data_file
from drawpoint_store.data_files.vtk_xml.structure import NotReadHere
from drawpoint_store.data_files.vtk_xml.vtk_xml_file import VtkXmlFile
from vtk_made import BINARY_WAYS, Way, bare_meshes, with_arrays

RAW = Way("raw", "None", 64, big_endian=False, block=1024, pieces=1)
ZLIB = Way("raw", "ZLib", 64, big_endian=False, block=1024, pieces=1)
INLINE = Way("inline", "None", 64, big_endian=False, block=1024, pieces=1)
N = 300
MEMORY = 1 << 22


def tetrahedra() -> Any:
    """Make a grid of N tetrahedra that share points, with an array on the cells and on the points."""
    mesh, points = vtkUnstructuredGrid(), vtkPoints()
    for number in range(N + 3):
        points.InsertNextPoint(number, number % 7, number % 3)
    mesh.SetPoints(points)
    for number in range(N):
        mesh.InsertNextCell(10, 4, list(range(number, number + 4)))
    return with_arrays(mesh)


def read_all(path: Path) -> list[bytes]:
    """Read all that a file holds."""
    with VtkXmlFile(path) as mesh:
        values = [mesh.points(), *(mesh.read(array) for array in mesh.arrays)]
        values += [part for block in mesh.cell_blocks(100) for part in (block.offsets, block.connectivity, block.types)]
    return [each.tobytes() for each in values]


def assert_refused(path: Path, match: str | None = None) -> None:
    with pytest.raises(InvalidSample, match=match) as caught:
        read_all(path)
    assert str(path) in str(caught.value)


@given(bare_meshes(), BINARY_WAYS.filter(lambda way: way.pieces == 1), st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_short_is_refused(mesh: Any, way: Way, share: float) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, f"mesh.{'vtp' if mesh.IsA('vtkPolyData') else 'vtu'}")
        way.write(path, with_arrays(mesh))
        whole = path.read_bytes().rstrip()
        path.write_bytes(whole[: int(share * len(whole))])
        assert_refused(path)


@given(st.sampled_from(["raw", "base64"]), st.sampled_from(["None", "ZLib", "LZ4"]), st.data())
def test_a_file_without_a_part_in_its_middle_is_refused(mode: str, compressor: str, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "mesh.vtu")
        Way(mode, compressor, 64, big_endian=False, block=1024, pieces=1).write(path, tetrahedra())
        whole = path.read_bytes()
        first = whole.index(b"_", whole.index(b"<AppendedData")) + 1
        last = len(whole[: whole.rindex(b"</AppendedData")].rstrip())
        begin, end = sorted(data.draw(st.sets(st.integers(first, last), min_size=2, max_size=2)))
        path.write_bytes(whole[:begin] + whole[end:])
        assert_refused(path)


@given(st.sampled_from([RAW, ZLIB, INLINE]), st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1))
def test_flipped_bits_end_in_a_refusal_or_in_values_and_in_bounded_memory(
    way: Way, flips: list[tuple[int, int]]
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "mesh.vtu")
        way.write(path, tetrahedra())
        flipped = bytearray(path.read_bytes())
        for position, bits in flips:
            flipped[position % len(flipped)] ^= bits
        path.write_bytes(flipped)
        tracemalloc.start()
        try:
            read_all(path)
        except (InvalidSample, NotReadHere):
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < MEMORY


def replaced(path: Path, old: np.ndarray, new: np.ndarray) -> None:
    """Put other values in the place of the only ones that lie so in a file, as they are."""
    whole = path.read_bytes()
    assert whole.count(old.tobytes()) == 1
    path.write_bytes(whole.replace(old.tobytes(), new.tobytes()))


def counts(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint64)


OFFSETS = np.arange(4, 4 * N + 4, 4)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(lambda p: replaced(p, OFFSETS, OFFSETS[::-1]), "array 'offsets'.*do not ascend", id="descending"),
        pytest.param(lambda p: replaced(p, OFFSETS, OFFSETS - 8), "array 'offsets'.*do not ascend", id="negative"),
        pytest.param(lambda p: replaced(p, OFFSETS, OFFSETS + 4), "array 'offsets'.*beyond", id="too-far"),
        pytest.param(lambda p: replaced(p, OFFSETS, OFFSETS << 40), "array 'offsets'.*beyond", id="much-too-far"),
        pytest.param(
            lambda p: replaced(p, np.arange(N - 1, N + 3), np.arange(N, N + 4)),
            "array 'connectivity'.*name points from 200 to 303 of a piece with 303",
            id="point-beyond",
        ),
        pytest.param(
            lambda p: replaced(p, np.arange(N - 1, N + 3), -np.arange(4)),
            "array 'connectivity'.*name points from -3 to",
            id="point-negative",
        ),
        pytest.param(
            lambda p: replaced(p, counts(8 * N, *OFFSETS), counts(2**60, *OFFSETS)),
            "array 'offsets' claims 1,152,921,504,606,846,976 bytes",
            id="claims-2**60-bytes",
        ),
        pytest.param(
            lambda p: replaced(p, counts(8 * N, *OFFSETS), counts(8 * N - 8, *OFFSETS)),
            "array 'offsets' of <Cells> has 299 values for 300 cells",
            id="claims-too-little",
        ),
    ],
)
def test_a_damaged_array_is_named(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "mesh.vtu"
    RAW.write(path, tetrahedra())
    damage(path)
    assert_refused(path, said)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (counts(2**60, 1024, 176), "claims .* bytes"),
        (counts(2, 1024, 2**60), "its last block claims"),
        (counts(2, 2**60, 176), "more than can be"),
        (counts(2, 0, 0), "its last block claims"),
        (counts(2, 512, 176), "has 172 values where 300 cells"),
    ],
)
def test_a_table_of_blocks_that_claims_what_cannot_be_is_refused(tmp_path: Path, table: np.ndarray, said: str) -> None:
    path = tmp_path / "mesh.vtu"
    ZLIB.write(path, tetrahedra())
    with VtkXmlFile(path) as mesh:
        array = next(array for array in mesh.arrays if array.place == "cell")
    whole = path.read_bytes()
    begin = whole.index(b"_", whole.index(b"<AppendedData")) + 1
    place = begin + int(re.search(rb'<CellData>.*?"number".*?offset="(\d+)"', whole, re.DOTALL)[1])  # type: ignore[index]  # it is there
    assert np.frombuffer(whole, np.uint64, 3, place).tolist() == [2, 1024, 4 * N - 1024]
    path.write_bytes(whole[:place] + table.tobytes() + whole[place + 24 :])
    with VtkXmlFile(path) as mesh, pytest.raises(InvalidSample, match=f"array 'number' .*{said}"):
        mesh.read(array)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"<VTKFile ", b'<!DOCTYPE VTKFile [<!ENTITY a "aaaa">]><VTKFile ', "no VTK XML file"),
        (b'Name="number"', b'Name="a&b"', "not XML"),
        (b'offset="0"', b'offset="99999999"', "begins after the file's end"),
        (b'NumberOfCells="300"', b'NumberOfCells="301"', "300 values where 301 cells"),
        (
            b'NumberOfCells="300"',
            b'NumberOfCells="1152921504606846976"',
            "300 values where 1,152,921,504,606,846,976 cells",
        ),
        (b'NumberOfPoints="303"', b'NumberOfPoints="-3"', "no count"),
        (b"</Cells>", b"</Cell>", "closes what is not open"),
        (b"<Cells>", b"<Calls>", "closes what is not open"),
        (b'"types"', b'"typos"', "without an array 'types'"),
    ],
)
def test_what_the_xml_says_is_checked(tmp_path: Path, old: bytes, new: bytes, said: str) -> None:
    path = tmp_path / "mesh.vtu"
    RAW.write(path, tetrahedra())
    whole = path.read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new, 1))
    assert_refused(path, said)


def test_a_name_may_have_entities_and_any_letters(tmp_path: Path) -> None:
    path = tmp_path / "mesh.vtu"
    RAW.write(path, tetrahedra())
    name = 'Name="Wall Shear Stress (N/m\u00b2) &lt;a&gt;&amp;&#98;&quot;"'
    path.write_bytes(path.read_bytes().replace(b'Name="number"', name.encode()))
    with open_data_file(path) as mesh:
        assert {array.name for array in mesh.arrays} == {'Wall Shear Stress (N/m\u00b2) <a>&b"'}
        assert mesh.read(mesh.arrays[0]).shape == (N + 3, 1)
