"""What the files of a few samples hold, looked at closely: arrays, their ranges, and what cannot be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import DrawpointError, InvalidSample
from drawpoint_store.data_files import open_data_file
from drawpoint_store.data_files.cell_shapes import SURFACE_TYPES
from drawpoint_store.data_files.data_file import MeshFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from drawpoint_store.conversion.survey.layout.sample_layout import FileGroup
    from drawpoint_store.data_files.data_file import ArrayInfo, DataFile, Place

_VALUES = 1 << 20
"""Of an array so many values are looked at, from its beginning."""

_NUMBERS = ("float", "int", "uint", "bool")

_CELLS = 1 << 16
"""So many cells are looked at to tell a surface from a volume."""

_POINTS, _LINES, _CURVED_POLYGONS = (0, 1, 2), (3, 4, 21, 35, 68, 75), (22, 23, 28, 30, 34, 36, 69, 70, 76, 77)
"""VTK's types of cells that are no volumes, besides the polygons of cell_shapes (vtkCellType.h)."""


@dataclass
class ArraySurvey:
    """An array as the samples that were looked at have it.

    `rows` are the rows in each of these samples. `low` and `high` are of the first `rows_read` rows in the first of
    them, of which `nan` values are NaN or infinite; None where there are no numbers to read.
    """

    name: str
    place: Place
    dtype: str
    components: int
    rows: dict[str, int] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    nan: int = 0
    rows_read: int = 0
    problem: str = ""

    @property
    def is_number(self) -> bool:
        """Whether a field can be made of it as it is: real numbers, in rows and components."""
        return self.dtype.startswith("float") and not self.shape


@dataclass
class FileSurvey:
    """The files of a pattern: how many samples have one, how large they are, and what is in the `n_opened` looked into.

    `pattern` is that of a recipe, `name` what the files are called. `cells` is the dimension of the cells, 0 without
    any. `lacking` are samples without the file, and `empty` those whose file has no bytes. Sizes are in bytes.
    """

    pattern: str
    name: str
    kind: str
    label: str
    is_mesh: bool
    n_files: int
    lacking: list[str]
    empty: list[str]
    smallest: int
    largest: int
    total: int
    n_opened: int = 0
    cells: int = 0
    n_points: dict[str, int] = field(default_factory=dict)
    n_cells: dict[str, int] = field(default_factory=dict)
    arrays: list[ArraySurvey] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def survey_files(
    group: FileGroup, lacking: list[str], chosen: Sequence[str], path: Callable[[str], Path]
) -> FileSurvey:
    """Return what the files of a group are, with a close look at those of the `chosen` samples.

    `lacking` are the samples without one. Files that cannot be read are listed with the reason; one that lacks its
    library, too.
    """
    sizes = [unit.size for unit in group.units.values()]
    survey = FileSurvey(
        pattern=group.pattern,
        name=group.name,
        kind=group.kind,
        label=group.label,
        is_mesh=next(iter(group.units.values())).is_mesh,
        n_files=len(sizes),
        lacking=lacking,
        empty=[sample for sample, unit in group.units.items() if not unit.size],
        smallest=min(sizes),
        largest=max(sizes),
        total=sum(sizes),
    )
    for sample in chosen:
        if sample not in group.units:
            continue
        unit = group.units[sample]
        try:
            with open_data_file([path(each) for each in unit.paths]) as file:
                _look(survey, file, sample)
        except DrawpointError as error:
            survey.unreadable[unit.path] = str(error)
    return survey


def _look(survey: FileSurvey, file: DataFile, sample: str) -> None:
    is_first, survey.n_opened = not survey.n_opened, survey.n_opened + 1
    if isinstance(file, MeshFile):
        survey.n_points[sample], survey.n_cells[sample] = file.n_points, file.n_cells
        if is_first and file.n_cells:
            types = next(iter(file.cell_blocks(_CELLS))).types
            survey.cells = max(_dimension(int(each)) for each in np.unique(types))
    known = {(array.name, array.place): array for array in survey.arrays}
    for info in file.arrays:
        array = known.get((info.name, info.place))
        if array is None:
            array = ArraySurvey(info.name, info.place, info.dtype, info.components, shape=info.shape)
            survey.arrays.append(array)
        array.rows[sample] = info.n_rows
        if not array.rows_read and not array.problem and info.dtype.startswith(_NUMBERS):
            try:
                _read_range(array, file, info)
            except InvalidSample as error:
                array.problem = str(error)


def _read_range(array: ArraySurvey, file: DataFile, info: ArrayInfo) -> None:
    stop = min(info.n_rows, max(1, _VALUES // max(1, info.components)))
    values: np.ndarray[Any, Any] = file.read(info, 0, stop)
    finite = np.isfinite(values)
    array.rows_read, array.nan = stop, int(values.size - np.count_nonzero(finite))
    if finite.any():
        kept = values if not array.nan else values[finite]
        array.low, array.high = float(kept.min()), float(kept.max())


def _dimension(vtk_type: int) -> int:
    """Return the dimension of a cell of one of VTK's types."""
    kinds = (_POINTS, _LINES, (*SURFACE_TYPES, *_CURVED_POLYGONS))
    return next((dimension for dimension, types in enumerate(kinds) if vtk_type in types), 3)
