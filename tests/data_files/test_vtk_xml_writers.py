"""VTK XML files as other programs write them: what VTK reads of them is read, what it misreads is refused."""

from __future__ import annotations

import gzip
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from vtkmodules import vtkIOXML

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files import open_data_file
from drawpoint_store.data_files.vtk_xml.vtk_xml_file import VtkXmlFile
from same_mesh import assert_is
from vtk_made import Way, read_by_vtk

TIME = (
    b'<FieldData><DataArray type="Float64" Name="TimeValue" NumberOfTuples="1" format="ascii" RangeMin="0.5">\n 0.5\n'
    b"</DataArray></FieldData>\n<Piece"
)


def written(path: Path, *, header_bits: int = 32) -> bytes:
    """Write hexahedra with arrays, the first of whose values are more than their header; return the file's bytes."""
    mesh = pv.ImageData(dimensions=(4, 3, 3)).cast_to_unstructured_grid()
    mesh.point_data["p"] = np.arange(mesh.n_points, dtype=np.float32)
    mesh.cell_data["flag"] = np.arange(mesh.n_cells, dtype=np.uint8)
    mesh.cell_data["U"] = np.arange(3.0 * mesh.n_cells).reshape(-1, 3)
    Way("inline", "None", header_bits, big_endian=False, block=1024, pieces=1).write(path, mesh)
    return path.read_bytes()


def without(*patterns: str) -> Callable[[bytes], bytes]:
    def edit(whole: bytes) -> bytes:
        for pattern in patterns:
            assert re.search(pattern.encode(), whole)
            whole = re.sub(pattern.encode(), b"", whole)
        return whole

    return edit


def with_header_by_itself(whole: bytes) -> bytes:
    """Encode header and values of each array as two pieces of base64, one after the other."""
    size = 8 if b'header_type="UInt64"' in whole else 4

    def split(found: re.Match[bytes]) -> bytes:
        data = b64decode(found[1])
        return b">\n" + b64encode(data[:size]) + b64encode(data[size:]) + b"\n"

    return re.sub(rb">\s+([A-Za-z0-9+/=]{12,})\s+", split, whole)


EDITS: dict[str, Callable[[bytes], bytes]] = {
    "single quotes": lambda whole: whole.replace(b'"', b"'"),
    "line ends of Windows": lambda whole: whole.replace(b"\n", b"\r\n"),
    "comments": lambda whole: whole.replace(b"<Piece", b"<!-- <Piece a=\"'> --><Piece"),
    "a time before the pieces": lambda whole: whole.replace(b"<Piece", TIME),
    "attributes in another order": lambda whole: whole.replace(
        b'type="Float32" Name="p" format="binary"', b'format="binary"\n ComponentName0="a" Name="p"  type="Float32"'
    ),
    "no ranges, version and order of bytes": without(
        r' Range(Min|Max)="[^"]*"', r' version="[^"]*"', r' byte_order="[^"]*"', r'( header_type="UInt32")?'
    ),
    "0 components": lambda whole: whole.replace(b'Name="p"', b'Name="p" NumberOfComponents="0"'),
    "Latin-1": lambda whole: (
        b'<?xml version="1.0" encoding="ISO-8859-1"?>\n'
        + whole.replace(b"</UnstructuredGrid>", b'<a b="\xe9"/></UnstructuredGrid>')
    ),
    "headers by themselves": with_header_by_itself,
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("header_bits", [32, 64])
def test_a_file_of_another_writer_is_read_as_vtk_reads_it(edit: str, header_bits: int, tmp_path: Path) -> None:
    path = tmp_path / "mesh.vtu"
    whole = written(path, header_bits=header_bits)
    expected = read_by_vtk(path)
    path.write_bytes(EDITS[edit](whole))
    assert path.read_bytes() != whole
    with VtkXmlFile(path) as mesh:
        assert_is(mesh, expected, cells=5)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda whole: re.sub(rb"([\w+/=]{40})([\w+/=]{40})", rb"\1\n\2", whole), "in lines"),
        (without(' NumberOfCells="12"'), "NumberOfCells=None"),
        (gzip.compress, "compressed with gzip"),
        (lambda whole: b'<?xml version="1.0" encoding="none-such"?>' + whole, "not XML"),
    ],
)
def test_what_cannot_be_read_rightly_is_refused(edit: Callable[[bytes], bytes], said: str, tmp_path: Path) -> None:
    path = tmp_path / "mesh.vtu"
    whole = written(path)
    path.write_bytes(edit(whole))
    assert path.read_bytes() != whole
    with pytest.raises(InvalidSample, match=f"{path}.*{said}"):
        open_data_file(path)


@pytest.mark.parametrize("kind", ["ImageData", "RectilinearGrid", "StructuredGrid"])
@pytest.mark.parametrize("mode", ["Binary", "Appended"])
def test_a_structured_grid_without_some_of_its_bytes_is_refused_where_vtk_makes_them_up(
    kind: str, mode: str, tmp_path: Path
) -> None:
    image = pv.ImageData(dimensions=(12, 12, 12))
    image.point_data["p"] = np.arange(image.n_points, dtype=np.float64)
    cast = {"RectilinearGrid": image.cast_to_rectilinear_grid, "StructuredGrid": image.cast_to_structured_grid}
    path = tmp_path / "grid.vts"
    writer = getattr(vtkIOXML, f"vtkXML{kind}Writer")()
    writer.SetInputData(cast.get(kind, lambda: image)())
    writer.SetFileName(str(path))
    getattr(writer, f"SetDataModeTo{mode}")()
    writer.SetEncodeAppendedData(False)
    writer.SetCompressorTypeToNone()
    assert writer.Write()
    with open_data_file(path) as mesh:
        assert np.array_equal(mesh.read(mesh.arrays[0]), image.point_data["p"][:, None])
    whole = path.read_bytes()
    middle = whole.index(b"AAAA" if mode == "Binary" else b"_") + 4000
    path.write_bytes(whole[:middle] + whole[middle + 400 :])
    with pytest.raises(InvalidSample, match=f"{path}.*(damaged|cut short)"):
        open_data_file(path)
