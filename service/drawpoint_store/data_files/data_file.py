"""What a file of another program holds: named arrays, and the mesh that they lie on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

Place = Literal["cell", "point", "row"]
"""What a row of an array belongs to: a cell or a point of a mesh, or nothing but its number."""


@dataclass(frozen=True, slots=True)
class ArrayInfo:
    """An array of a file, known without reading its values.

    `n_rows` rows have `components` values each, of NumPy's `dtype`. `active` marks the arrays that VTK shows unless
    told otherwise: a recipe that names no array takes the active one. `shape` is that of an array of more than two
    dimensions, whose rows are its first one and whose others `read` gives flattened, in C order, as components.
    """

    name: str
    place: Place
    dtype: str
    n_rows: int
    components: int = 1
    active: bool = False
    shape: tuple[int, ...] = ()

    def stop_of(self, first: int, stop: int | None) -> int:
        """Return where the rows `first` to `stop` end, the last row unless given; ValueError for rows that it lacks."""
        stop = self.n_rows if stop is None else stop
        if not 0 <= first <= stop <= self.n_rows:
            raise ValueError(f"rows {first} to {stop} of {self.n_rows} are asked for.")
        return stop


@dataclass(frozen=True, slots=True)
class PolyhedronFaces:
    """The faces of a block's polyhedra, all int64.

    Cell i of the block has the faces `cells[i]` to `cells[i + 1]`, none if it is no polyhedron; face k has the points
    `connectivity[offsets[k]:offsets[k + 1]]`, in an order that turns all faces of a cell to one side of it.
    """

    cells: np.ndarray[Any, Any]
    offsets: np.ndarray[Any, Any]
    connectivity: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class CellBlock:
    """Some cells of a mesh, in the file's order, from cell `first` on.

    Cell i of the block has the points `connectivity[offsets[i]:offsets[i + 1]]`, both int64, in VTK's order for its
    type `types[i]` (uint8, https://docs.vtk.org/en/latest/api/python/vtkmodules/vtkmodules.util.vtkConstants.html).
    `faces` are those of its polyhedra (type 42), whose points are in no order; None without polyhedra.
    """

    first: int
    offsets: np.ndarray[Any, Any]
    connectivity: np.ndarray[Any, Any]
    types: np.ndarray[Any, Any]
    faces: PolyhedronFaces | None = None

    def moved(self, cells: int, points: int) -> CellBlock:
        """Return the block as it is in a mesh that has so many cells and points before those of this one."""
        if not (cells or points):
            return self
        faces = self.faces and replace(self.faces, connectivity=self.faces.connectivity + points)
        return replace(self, first=self.first + cells, connectivity=self.connectivity + points, faces=faces)


class Closing(ABC):
    """What a `with` statement closes at its end."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class DataFile(Protocol):
    """An open file; `close` it, or use it in a `with` statement.

    Files that end too early, are damaged, or claim more than they hold raise InvalidSample with the file's name: never
    fewer rows, never zeros.
    """

    @property
    def arrays(self) -> Sequence[ArrayInfo]:
        """All arrays, in the file's order; a cell array and a point array may share a name."""

    def read(self, array: ArrayInfo, first: int = 0, stop: int | None = None) -> np.ndarray[Any, Any]:
        """Return rows `first` to `stop` (all, unless given) of an array, shape (n, components), in its dtype.

        The memory needed is that of these rows, wherever the file's encoding allows it.
        """

    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        """Return the file itself."""

    def __exit__(self, *error: object) -> None:
        """Close the file."""


@runtime_checkable
class MeshFile(DataFile, Protocol):
    """An open file with a mesh: points, and cells between them."""

    @property
    def n_points(self) -> int:
        """The number of points."""

    @property
    def n_cells(self) -> int:
        """The number of cells; 0 for a cloud of points."""

    def points(self) -> np.ndarray[Any, Any]:
        """Return the points, shape (n_points, 3), in the file's dtype."""

    def cell_blocks(self, cells: int) -> Iterator[CellBlock]:
        """Yield all cells in blocks of at most `cells`, so that the memory needed is bounded."""
