"""The program that reads an EnSight case by VTK and writes parts of it: `CASE FOLDER MEMBER`.

A part becomes `0.vtu`, `1.vtu`, ... in the folder, in the order of the case. What is wrong is printed, with status 1.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import DrawpointError, InvalidSample
from drawpoint.extras import importing
from drawpoint_store.data_files.vtk_library import explicit, vtk_errors
from drawpoint_store.wording import first_few

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_HAS = "has "
_VARIABLE = re.compile(r"(scalar|vector|tensor symm|tensor asym) per (element|node):\s*(?:\d+\s+){0,2}(\S+)\s+(\S+)\s*")
_MODEL = re.compile(r"model:\s*(?:\d+\s+){0,2}(\S+)\s*")
_COMPONENTS = {"scalar": 1, "vector": 3, "tensor symm": 6, "tensor asym": 9}
_LABEL = 80
_PART_HEADER = 84
"""Bytes of a label, and of the label and number that a part begins with, in EnSight Gold's C binary files."""


@dataclass(frozen=True)
class Variable:
    """A variable of a case: its name, components, whether it is on cells or points, and its file."""

    name: str
    components: int
    on_cells: bool
    file: Path


def chosen(member: str, part: str, arrays: Collection[str]) -> bool:
    """Tell whether a part of that name and those arrays is one of a `member`.

    A member is patterns of names with commas between: `domain, wheel*`. A pattern after `!` leaves parts out, and `has`
    before the name of an array those that have it not: `has WallShearStress, !Block.*`.
    """
    patterns = [each.strip() for each in member.split(",")]
    needed = [each.removeprefix(_HAS).strip() for each in patterns if each.startswith(_HAS)]
    without = [each.removeprefix("!").strip() for each in patterns if each.startswith("!")]
    names = [each for each in patterns if not each.startswith((_HAS, "!"))]
    is_named = not names or any(fnmatchcase(part, pattern) for pattern in names)
    is_left_out = any(fnmatchcase(part, pattern) for pattern in without)
    return is_named and not is_left_out and all(array in arrays for array in needed)


def write_parts(case: Path, folder: Path, member: str) -> None:
    """Write the parts of a case that are of a member; raises InvalidSample."""
    variables = _variables(case)
    parts = list(_parts(_read(case)))
    counted = [(part, _counts(part) if part.GetNumberOfCells() else []) for _, part in parts]
    for variable in variables:
        _check_size(variable, counted)
    filled = [(name, part) for name, part in parts if part.GetNumberOfCells()]
    matched = [part for name, part in filled if chosen(member, name, _arrays(part))]
    if not matched:
        there = first_few([name for name, _ in filled], 20) or "none"
        raise InvalidSample(f"{case} has no part {member!r}; there is: {there}.")
    for number, part in enumerate(matched):
        with vtk_errors(str(case)):
            if not _write(part, folder / f"{number}.vtu"):
                raise InvalidSample(f"{folder} has no room for the parts of {case}; set TMPDIR to more.")


def _variables(case: Path) -> list[Variable]:
    """Return the variables of a case; raises InvalidSample for a case of another kind than is read."""
    text = case.read_text(encoding="utf-8", errors="replace")
    model = _MODEL.search(text)
    found = [
        _VARIABLE.fullmatch(line.strip()) for line in text.splitlines() if re.search(r" per (element|node):", line)
    ]
    variables = [
        Variable(each[3], _COMPONENTS[each[1]], each[2] == "element", case.parent / each[4].strip('"'))
        for each in found
        if each is not None
    ]
    geometry = None if model is None else case.parent / model[1].strip('"')
    files = [each.file for each in variables] + ([geometry] if geometry else [])
    if (
        geometry is None
        or not re.search(r"type:\s*ensight gold", text)
        or None in found
        or "*" in "".join(map(str, files))
    ):
        raise InvalidSample(f"{case} is not of EnSight Gold, at one time; such cases alone are read.")
    for file in files:
        if not file.is_file():
            raise InvalidSample(f"{case} names {file.name}, which is not there.")
    with geometry.open("rb") as opened:
        if not opened.read(_LABEL).lower().startswith(b"c binary"):
            raise InvalidSample(f"{geometry} is not in C binary form; of EnSight's files such alone are read.")
    return variables


def _read(case: Path) -> Any:
    with importing("vtk", f"reading {case}"):
        from vtkmodules.vtkIOEnSight import vtkGenericEnSightReader  # noqa: PLC0415  VTK is imported when needed
    reader = vtkGenericEnSightReader()
    reader.SetCaseFileName(str(case))
    with vtk_errors(str(case), or_warnings=True):
        reader.Update()
    return reader.GetOutput()


def _parts(output: Any) -> Iterator[tuple[str, Any]]:
    from vtkmodules.vtkCommonDataModel import vtkCompositeDataSet  # noqa: PLC0415  VTK is imported when needed

    for number in range(output.GetNumberOfBlocks()):
        part = output.GetBlock(number)
        if part is not None:
            name = output.GetMetaData(number).Get(vtkCompositeDataSet.NAME()) if output.HasMetaData(number) else None
            yield (name or f"part {number}").strip(), explicit(part)


def _check_size(variable: Variable, parts: list[tuple[Any, list[int]]]) -> None:
    """Raise InvalidSample where a file has not the size that its parts have: VTK takes what is cut off from memory.

    With each part come the numbers of its cells of each type, none for an empty part.
    """
    expected, empty = _LABEL, 0
    for part, n_cells in parts:
        data = part.GetCellData() if variable.on_cells else part.GetPointData()
        if not n_cells:
            empty += 1
        elif data.HasArray(variable.name):
            counts = n_cells if variable.on_cells else [part.GetNumberOfPoints()]
            expected += _PART_HEADER + sum(_LABEL + 4 * variable.components * count for count in counts)
    size = variable.file.stat().st_size
    if (size - expected) not in range(0, _PART_HEADER * empty + 1, _PART_HEADER):
        raise InvalidSample(
            f"{variable.file} is damaged, or of another case: it has {size:,} bytes, and its parts need {expected:,}."
        )


def _counts(part: Any) -> list[int]:
    """Return the numbers of cells of each type that a part has."""
    from vtkmodules.util.numpy_support import vtk_to_numpy  # noqa: PLC0415  VTK is imported when needed

    types = vtk_to_numpy(part.GetCellTypes())  # type: ignore[no-untyped-call]  # VTK's has no types
    return [int(count) for count in np.unique(types, return_counts=True)[1]]


def _arrays(part: Any) -> set[str]:
    return {
        data.GetArrayName(number)
        for data in (part.GetCellData(), part.GetPointData())
        for number in range(data.GetNumberOfArrays())
    }


def _write(part: Any, path: Path) -> bool:
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter  # noqa: PLC0415  VTK is imported when needed

    writer = vtkXMLUnstructuredGridWriter()
    writer.SetInputData(part)
    writer.SetFileName(str(path))
    writer.SetDataModeToAppended()
    writer.EncodeAppendedDataOff()
    writer.SetCompressorTypeToNone()
    writer.SetHeaderTypeToUInt64()
    return bool(writer.Write())


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _main() -> int:
    threading.Thread(target=_end_with_input, daemon=True).start()
    case, folder, member = sys.argv[1:]
    try:
        write_parts(Path(case), Path(folder), member)
    except DrawpointError as error:
        sys.stdout.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    status = _main()
    sys.stdout.flush()
    os._exit(status)  # a thread waits for input
