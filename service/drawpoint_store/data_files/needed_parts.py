"""Which parts of a file hold the arrays that are needed, told from a few reads of a file that lies elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.joined_file import ByteFile, SoughtFile
from drawpoint_store.data_files.opening import BY_PARTS, suffix_of
from drawpoint_store.data_files.tables.npy import NpyArray
from drawpoint_store.data_files.vtk_xml.structure import NotReadHere
from drawpoint_store.data_files.vtk_xml.vtk_xml_file import VtkXmlFile
from drawpoint_store.storage.storage import RangesRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ROUND_TRIP_BYTES = 1 << 21
"""How many bytes come in the time of a round trip: 30 ms at 70 MB/s, or 20 ms at 1 Gbit/s."""

_SHARE = 8
"""Round trips that tell where arrays lie may take one part in so many of the time that the whole file would take."""

_FEWEST = 4
"""As many take the end of a file, its beginning, and the data's own header; smaller files are read whole."""

Span = tuple[int, int]


class RemoteFile(ByteFile, Protocol):
    """A file that lies elsewhere."""

    @property
    def round_trips(self) -> int:
        """How many requests were waited for, one after the other."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What is needed of a file: arrays by name, those that VTK shows unless told otherwise, its points, its cells.

    `rows` are the rows of the array of a file that has one alone; None for all of it.
    """

    names: frozenset[str] = frozenset()
    active: bool = False
    points: bool = False
    cells: bool = False
    rows: frozenset[int] | None = None

    def __or__(self, other: Needed) -> Needed:
        """Return what is needed by both."""
        rows = None if self.rows is None or other.rows is None else self.rows | other.rows
        return Needed(
            self.names | other.names,
            self.active or other.active,
            self.points or other.points,
            self.cells or other.cells,
            rows,
        )

    def has(self, name: str, active: bool) -> bool:
        """Tell whether an array of that name is needed."""
        return name in self.names or (self.active and active)


def needed_parts(files: Sequence[RemoteFile], needed: Needed) -> list[list[Span]] | None:
    """Return of each file, which together are the parts of one, the spans of bytes that hold what is `needed`.

    None if the file is to be read whole: where it is of a kind that needs it, damaged, or too small for the round trips
    that it takes. The readers of these kinds read nothing but what is needed, and their file's own headers.
    """
    size, suffix = sum(file.size for file in files), suffix_of(files[0].name)
    most = size // (_SHARE * ROUND_TRIP_BYTES)
    if suffix not in BY_PARTS or most < _FEWEST:
        return None
    before = sum(file.round_trips for file in files)

    def check() -> None:
        if sum(file.round_trips for file in files) - before > most:
            raise _TooManyRoundTrips

    counted = [_Counted(file, check) for file in files]
    try:
        if suffix == ".npy":
            spans = _of_rows(counted[0], needed.rows) if len(counted) == 1 and needed.rows is not None else None
        else:
            with VtkXmlFile(*counted) as vtk:
                spans = vtk.spans(needed)
    except (NotReadHere, InvalidSample, RangesRefused, _TooManyRoundTrips):
        return None  # who reads it whole says what is wrong with it
    return None if spans is None else _of_each(files, spans)


class _TooManyRoundTrips(Exception):
    """It takes more round trips to find the arrays than they are worth."""


class _Counted:
    """A file whose reads end when they took more round trips than they may: `check` raises then."""

    def __init__(self, file: ByteFile, check: Callable[[], None]) -> None:
        self.name = file.name
        self.size = file.size
        self._file = file
        self._check = check

    def __str__(self) -> str:
        return str(self._file)

    def preadv(self, view: memoryview, position: int) -> int:
        self._check()
        return self._file.preadv(view, position)

    def close(self) -> None:
        self._file.close()


def _of_rows(file: ByteFile, rows: Iterable[int]) -> list[Span] | None:
    array = NpyArray(SoughtFile(file), file.size, str(file))
    spans = [array.span_of(row) for row in rows]
    return [span for span in spans if span is not None] if None not in spans else None


def _of_each(files: Sequence[ByteFile], spans: Sequence[Span]) -> list[list[Span]]:
    """Return the spans of each file of those of the files joined."""
    found, first = [], 0
    for file in files:
        stop = first + file.size
        found.append(
            [
                (max(begin, first) - first, min(end, stop) - first)
                for begin, end in spans
                if begin < stop and end > first
            ]
        )
        first = stop
    return found
