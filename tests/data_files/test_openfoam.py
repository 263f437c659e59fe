"""OpenFOAM cases in all encodings, compared with what was put in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.data_file import MeshFile
from drawpoint_store.data_files.geometry import cell_areas, cell_centres, cell_volumes
from drawpoint_store.data_files.normals import cell_normals
from drawpoint_store.data_files.opening import open_data_file
from drawpoint_store.data_files.vtk_library import VtkMesh
from foam import FoamCase, cell_faces

GRID = pv.UnstructuredGrid(Path(__file__).parent / "data" / "ahmed_cells.vtu")
CENTRES = np.asarray(GRID.cell_data["C"], np.float64)
FACES = cell_faces(GRID)
P = np.arange(GRID.n_cells) / 7
ENCODINGS: dict[str, dict[str, Any]] = {
    "ascii": {},
    "ascii, compressed": {"compressed": True},
    "binary": {"binary": True},
    "binary, 64-bit labels, 32-bit numbers, compressed": {
        "binary": True,
        "label_bits": 64,
        "scalar_bits": 32,
        "compressed": True,
    },
}


def write_case(path: Path, encoding: str = "ascii", times: tuple[str, ...] = ("0", "90", "500")) -> FoamCase:
    case = FoamCase(path, GRID, FACES, **ENCODINGS[encoding])
    case.write_mesh()
    walls = case.patches["wall"]
    for time in times:
        case.write_field(time, "p", P + float(time), {"wall": walls[:, 0] + float(time)})
        case.write_field(time, "U", CENTRES, {"wall": walls})
        stress = np.stack([P + k for k in range(6)], 1)
        case.write_field(time, "R", stress, {})
    return case


def opened(path: Path, member: str | None = None) -> MeshFile:
    file = open_data_file(path, member)
    assert isinstance(file, MeshFile)
    return file


def values(mesh: MeshFile, name: str) -> np.ndarray:
    return mesh.read(next(array for array in mesh.arrays if array.name == name))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cells_and_patches_have_the_values_that_were_put_in(encoding: str, tmp_path: Path) -> None:
    case = write_case(tmp_path, encoding)
    cells = opened(tmp_path)
    assert [(array.name, array.place, array.components) for array in cells.arrays] == [
        ("R", "cell", 6),
        ("U", "cell", 3),
        ("p", "cell", 1),
    ]
    assert np.allclose(values(cells, "p")[:, 0], P + 500, rtol=1e-6)
    assert np.allclose(values(cells, "U"), CENTRES, atol=1e-6)
    assert np.allclose(values(cells, "R"), P[:, None] + [0, 3, 5, 1, 4, 2], rtol=1e-6)
    assert np.linalg.norm(cell_centres(cells, "centroid") - CENTRES, axis=1).max() < 1e-6
    assert np.allclose(cell_volumes(cells), cell_volumes(VtkMesh(GRID, "a mesh")), rtol=1e-4)
    wall = opened(tmp_path, "wa*")
    assert np.allclose(cell_centres(wall), case.patches["wall"], atol=1e-6)
    assert np.allclose(values(wall, "p")[:, 0], case.patches["wall"][:, 0] + 500, rtol=1e-6)
    assert np.allclose(values(wall, "U"), case.patches["wall"], atol=1e-6)


def test_patches_come_in_order_with_the_values_of_cells_where_they_have_none(tmp_path: Path) -> None:
    write_case(tmp_path)
    wall, far = opened(tmp_path, "wall"), opened(tmp_path, "farField")
    both = opened(tmp_path, "farField, wall")
    assert both.n_cells == wall.n_cells + far.n_cells
    for name in ("p", "U"):
        assert np.array_equal(values(both, name), np.concatenate([values(wall, name), values(far, name)]))
    assert set(np.rint((values(far, "p")[:, 0] - 500) * 7).astype(int)) <= set(range(GRID.n_cells))
    closed = cell_areas(both)[:, None] * cell_normals(both)
    assert np.abs(closed.sum(0)).max() < 1e-5 * cell_areas(both).sum()  # all faces turn out of the cells


def test_a_case_is_found_by_its_folder_a_file_in_it_or_the_folder_of_a_time(tmp_path: Path) -> None:
    write_case(tmp_path)
    (tmp_path / "run.foam").touch()
    for path, time in ((tmp_path, 500), (tmp_path / "run.foam", 500), (tmp_path / "90", 90), (tmp_path / "0", 0)):
        assert np.allclose(values(opened(path), "p")[:, 0], P + time, rtol=1e-6)


def test_fields_are_those_of_the_time_alone(tmp_path: Path) -> None:
    case = write_case(tmp_path)
    case.write_field("0", "early", P, {})
    case.write_field("500", "late", P, {})
    (tmp_path / "500" / "phi").write_text((tmp_path / "500" / "p").read_text().replace("volScalar", "surfaceScalar"))
    (tmp_path / "500" / "notes.txt").write_text("of no class")
    for time, names in (("0", ["R", "U", "early", "p"]), ("90", ["R", "U", "p"]), ("500", ["R", "U", "late", "p"])):
        assert [array.name for array in opened(tmp_path / time).arrays] == names
    assert np.allclose(values(opened(tmp_path), "late")[:, 0], P, rtol=1e-6)
    assert np.allclose(values(opened(tmp_path / "0"), "early")[:, 0], P, rtol=1e-6)


def test_a_decomposed_case_is_read_processor_by_processor(tmp_path: Path) -> None:
    write_case(tmp_path, times=("0",))
    for processor in ("processor0", "processor10", "processor2"):
        write_case(tmp_path / processor)
    cells, wall = opened(tmp_path), opened(tmp_path, "wall")
    assert np.allclose(values(cells, "p")[:, 0], np.tile(P + 500, 3), rtol=1e-6)
    assert np.linalg.norm(cell_centres(cells, "centroid") - np.tile(CENTRES, (3, 1)), axis=1).max() < 1e-6
    assert len(values(wall, "U")) == wall.n_cells


@pytest.mark.parametrize("compressed", [False, True])
def test_patches_are_chosen_by_name_pattern_type_or_group(compressed: bool, tmp_path: Path) -> None:
    case = FoamCase(tmp_path, GRID, FACES, compressed=compressed, wall="body_1")
    case.write_mesh()
    case.write_field("1", "U", CENTRES, {"body_1": case.patches["body_1"]})
    for member in ("body_1", "body*", "wall", "walls", "wall, body*"):
        assert np.allclose(values(opened(tmp_path, member), "U"), case.patches["body_1"], rtol=1e-6)
    both = opened(tmp_path, "wall, patch")
    assert both.n_cells == len(FACES[1]) > len(case.patches["body_1"])
    with pytest.raises(InvalidSample, match="no patch 'wal'; it has: body_1, farField"):
        opened(tmp_path, "wal")


@pytest.mark.parametrize(
    ("path", "member", "problem"),
    [
        ("", "body", "no patch 'body'; it has: wall, farField"),
        ("7", None, "no time 7; it has: 0, 90, 500"),
        ("no_results", None, "no folder of a time"),
    ],
)
def test_a_case_without_what_is_asked_for_says_what_it_has(
    path: str, member: str | None, problem: str, tmp_path: Path
) -> None:
    write_case(tmp_path)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "uniform").mkdir()
    write_case(tmp_path / "no_results", times=())
    with pytest.raises(InvalidSample, match=problem):
        open_data_file(tmp_path / path, member)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
@pytest.mark.parametrize("name", ["500/p", "500/U", "constant/polyMesh/owner", "constant/polyMesh/points"])
def test_a_case_with_a_file_that_was_cut_short_is_refused(encoding: str, name: str, tmp_path: Path) -> None:
    write_case(tmp_path, encoding)
    data = (tmp_path / name).read_bytes()
    for keep in (len(data) // 10, len(data) // 3, len(data) // 2):
        (tmp_path / name).write_bytes(data[:keep])
        with pytest.raises(InvalidSample, match=str(tmp_path)):  # noqa: PT012  the file is read when it is asked for
            mesh = opened(tmp_path)
            values(mesh, Path(name).name if "500" in name else "p")
