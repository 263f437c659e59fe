"""EnSight cases: which parts are read, and that what VTK crashes on, or takes from memory, is named as damage."""

from __future__ import annotations

from pathlib import Path

import pytest
import pyvista as pv

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files import files_besides, open_data_file
from drawpoint_store.data_files.ensight_parts import chosen, write_parts
from ensight import write_case
from vtk_files import add_arrays, block, body


@pytest.fixture
def case(tmp_path: Path) -> Path:
    parts: dict[str, pv.DataSet] = {"domain": block(), "car": body()}
    add_arrays(parts["domain"], {"p": 1, "U": 3})
    add_arrays(parts["car"], {"p": 1, "tau": 3})
    write_case(tmp_path / "case" / "E_1.case", parts, {"p": 1, "U": 3, "tau": 3})
    return tmp_path / "case" / "E_1.case"


def test_a_member_names_parts_by_patterns_and_by_what_they_have() -> None:
    parts = {"domain": {"p", "U"}, "Block.bottom": {"p", "tau"}, "wheels": {"p", "tau"}, "porous": {"p"}}
    expected = {
        "*": [*parts],
        "domain": ["domain"],
        "w*, porous": ["wheels", "porous"],
        "has tau, !Block.*": ["wheels"],
        "!domain,!p*": ["Block.bottom", "wheels"],
    }
    for member, names in expected.items():
        assert [name for name, arrays in parts.items() if chosen(member, name, arrays)] == names


def test_the_files_that_a_case_names_are_listed_with_it(case: Path) -> None:
    (case.parent / "E_2.case").touch()
    assert [path.name for path in files_besides(case)] == ["E_1.case", "E_1.geo", "E_1.p", "E_1.U", "E_1.tau"]


def test_all_parts_are_one_mesh_and_nothing_is_left_behind(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (case.parent / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(case.parent / "tmp"))
    with open_data_file(case.parent) as file:
        assert len(file.read(next(array for array in file.arrays if array.name == "p"))) == block().n_cells + 9
    with pytest.raises(InvalidSample, match=r"E_1.case has no part 'wheels'; there is: domain, car"):
        open_data_file(case, "wheels")
    assert list((case.parent / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("file", "kept", "message"),
    [
        ("geo", 164, "VTK's reader of EnSight files crashes on it .SIGSEGV."),
        ("p", 170, "E_1.p is damaged, or of another case"),
        ("tau", -4, "E_1.case cannot be read, VTK says"),
        ("U", 0, "E_1.case cannot be read, VTK says"),
    ],
)
def test_a_file_that_is_cut_short_is_damage(case: Path, file: str, kept: int, message: str) -> None:
    path = case.with_suffix(f".{file}")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InvalidSample, match=message):
        open_data_file(case)


def test_cases_of_other_forms_are_refused(case: Path) -> None:
    text = case.read_text(encoding="utf-8")
    for old, new, message in (
        ("ensight gold", "ensight", "is not of EnSight Gold, at one time"),
        ("E_1.p", "E_1.p***", "is not of EnSight Gold, at one time"),
        ("E_1.tau", "E_2.tau", r"names E_2\.tau, which is not there"),
        ("E_1.geo", "E_1.p", "is not in C binary form"),
    ):
        case.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(InvalidSample, match=message):
            write_parts(case, case.parent, "*")
    (case.parent / "F_1.case").touch()
    with pytest.raises(InvalidSample, match=r"case has 2 files \.case"):
        open_data_file(case.parent)
