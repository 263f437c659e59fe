"""What a VTK XML file says of itself: its pieces, their arrays, and where each array's data begin."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.polydata_types import POLYDATA_SECTIONS
from drawpoint_store.data_files.vtk_xml.byte_streams import Base64Stream, ByteStream, RawStream
from drawpoint_store.data_files.vtk_xml.compressors import COMPRESSORS
from drawpoint_store.data_files.vtk_xml.payloads import Encoding, Payload, open_payload
from drawpoint_store.data_files.vtk_xml.tags import Tag, TagReader

if TYPE_CHECKING:
    from drawpoint_store.data_files.joined_file import JoinedFile

DTYPES = {
    **{f"{kind}{bits}": np.dtype(f"{kind.lower()}{bits}") for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)},
    "Float32": np.dtype("float32"),
    "Float64": np.dtype("float64"),
    # Eight values a byte, the first in its highest bit.
    "Bit": np.dtype("bool"),
}
"""NumPy's dtypes of VTK's types of numbers. Arrays of text have another tag, and are left out."""

VERSIONS = {"0", "1", "2"}
"""The major versions of the file format that VTK has written so far."""

KINDS = {"PolyData": POLYDATA_SECTIONS, "UnstructuredGrid": ("Cells",)}
"""The sections of cells in the files that are read here, in the order in which VTK numbers their cells."""

STRUCTURED_KINDS = ("ImageData", "RectilinearGrid", "StructuredGrid")
"""Files whose pieces have an extent along three axes, and no cells of their own. They are left to VTK."""

END = b"</VTKFile>"
END_WITHIN = 4096
"""How close to the file's last byte its last tag ends: white space may follow."""


class NotReadHere(Exception):
    """A VTK XML file that is whole, but of a kind or in an encoding that this package leaves to VTK."""


@dataclass(slots=True)
class DataArray:
    """An array of a piece: its type, and the stream of its data, with `where` to name it in errors."""

    name: str
    dtype: np.dtype[Any]
    components: int
    where: str
    encoding: Encoding
    stream: ByteStream | None = None
    _payload: Payload | None = field(default=None, init=False)

    @property
    def payload(self) -> Payload:
        """The array's data, whose header is read when first asked for."""
        if self._payload is None:
            if self.stream is None:
                raise InvalidSample(f"{self.where} has no data: the file is damaged or was cut short.")
            self._payload = open_payload(self.stream, self.encoding, self.where)
        return self._payload

    @property
    def known_end(self) -> int | None:
        """The position in the file after the data, None if their header was not read yet."""
        return None if self._payload is None else self._payload.end

    @property
    def n_values(self) -> int:
        """How many values the data hold, as told by their header."""
        if self.dtype == np.bool_:
            return self.payload.nbytes * 8
        count, rest = divmod(self.payload.nbytes, self.dtype.itemsize)
        if rest:
            raise InvalidSample(f"{self.where} is damaged: {self.payload.nbytes:,} bytes of {self.dtype} values.")
        return count

    def require_rows(self, n_rows: int, place: str) -> None:
        """Raise InvalidSample unless there are as many values as so many points or cells have."""
        expected = n_rows * self.components
        if self.n_values != (-(-expected // 8) * 8 if self.dtype == np.bool_ else expected):
            raise InvalidSample(
                f"{self.where} is damaged: it has {self.n_values:,} values where {n_rows:,} {place}s with "
                f"{self.components} each need {expected:,}."
            )

    def read(self, first: int, stop: int) -> np.ndarray[Any, Any]:
        """Return the values `first` to `stop`, of all components one after the other."""
        if self.dtype == np.bool_:
            begin = first // 8
            packed = np.empty(-(-stop // 8) - begin, np.uint8)
            self.payload.read_into(begin, packed.data)
            return np.unpackbits(packed)[first - 8 * begin : stop - 8 * begin].astype(np.bool_)
        values = np.empty(stop - first, self.dtype)
        self.read_into(first, values)
        return values

    def read_into(self, first: int, values: np.ndarray[Any, Any]) -> None:
        """Fill `values`, one after the other in memory, with those from value `first` on."""
        self.payload.read_into(first * self.dtype.itemsize, values.reshape(-1).data.cast("B"))
        if not self.encoding.header.isnative:
            values.byteswap(inplace=True)


@dataclass(slots=True)
class Section:
    """A group of arrays of a piece: its points, cells, or the values on them. `active` are the names VTK shows."""

    arrays: list[DataArray] = field(default_factory=list)
    active: frozenset[str] = frozenset()


@dataclass(slots=True)
class Piece:
    """A piece of a mesh: how many points it has, how many cells of each section, and the sections by name."""

    n_points: int
    counts: dict[str, int]
    sections: dict[str, Section] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Structure:
    """A file's pieces, and the names of the sections that its cells are in, in order."""

    pieces: tuple[Piece, ...]
    cell_sections: tuple[str, ...]


def read_structure(file: JoinedFile) -> Structure:
    """Read the tags of a file, and of inline arrays nothing but headers.

    Raises InvalidSample for a damaged file, NotReadHere for one that is left to VTK.
    """
    tail = min(file.size, END_WITHIN)
    if END not in file.read(file.size - tail, tail):
        raise InvalidSample(f"{file} has no {END.decode()} at its end: it was cut short, or a part is missing.")
    return _Parser(file, left_to_vtk=False).parse()


def check_structure(file: JoinedFile) -> None:
    """Raise InvalidSample where a file that is left to VTK is damaged in a way that VTK does not see.

    Where bytes of an uncompressed array are missing, VTK says nothing, and gives what was in memory before. Arrays in
    ascii, and all of a version or a compressor that is not known here, are not looked at.
    """
    try:
        pieces = _Parser(file, left_to_vtk=True).parse().pieces
    except NotReadHere:
        return
    for piece in pieces:
        n_cells = sum(piece.counts.values())
        for section, n_rows in (("PointData", piece.n_points), ("Points", piece.n_points), ("CellData", n_cells)):
            for array in piece.sections[section].arrays if n_rows and section in piece.sections else ():
                array.require_rows(n_rows, "cell" if section == "CellData" else "point")


class _Parser:
    """Reads a file's structure; of one that is `left_to_vtk`, only the arrays whose sizes are told in the file."""

    def __init__(self, file: JoinedFile, *, left_to_vtk: bool) -> None:
        self._left_to_vtk = left_to_vtk
        self._kinds = {**KINDS, **dict.fromkeys(STRUCTURED_KINDS, ())} if left_to_vtk else KINDS
        self._file = file
        self._tags = TagReader(file)
        self._path: list[str] = []
        self._pieces: list[Piece] = []
        self._appended: list[tuple[DataArray, int]] = []
        self._encoding = Encoding(np.dtype("<u4"), None)
        self._kind = ""

    def parse(self) -> Structure:
        self._begin(self._tags.next())
        after_data = False
        while self._path:
            tag = self._tags.next(after_space=after_data)
            after_data = False
            if tag.opens:
                self._path.append(tag.name)
                if tag.name == "AppendedData":
                    after_data = self._place_appended(tag)
                elif self._path[1] == self._kind and len(self._path) > 2:  # noqa: PLR2004  below the mesh
                    after_data = self._open(tag)
            if tag.closes and (not self._path or self._path.pop() != tag.name):
                raise InvalidSample(f"{self._file} is damaged: </{tag.name}> closes what is not open.")
        return Structure(tuple(self._pieces), self._kinds[self._kind])

    def _begin(self, tag: Tag) -> None:
        said = tag.attributes
        if tag.name != "VTKFile":
            raise InvalidSample(f"{self._file} is no VTK XML file: it begins with <{tag.name}>, not with <VTKFile>.")
        compressor = said.get("compressor") or None
        # What a writer leaves out is as VTK has it: the machine's order of bytes.
        order = {"LittleEndian": "<", "BigEndian": ">", None: "="}.get(said.get("byte_order"))
        header = {"UInt32": "u4", "UInt64": "u8"}.get(said.get("header_type", "UInt32"))
        known = compressor is None or compressor in COMPRESSORS
        version = said.get("version", "0").partition(".")[0]
        if said.get("type") not in self._kinds or not (order and header and known) or version not in VERSIONS:
            raise NotReadHere
        self._kind = said["type"]
        self._path.append(tag.name)
        self._encoding = Encoding(np.dtype(f"{order}{header}"), compressor)

    def _open(self, tag: Tag) -> bool:
        """Take in a tag of the mesh; return whether data were skipped that the next tag has to follow at once."""
        place = self._path[2:]
        if place == ["Piece"]:
            self._pieces.append(self._piece(tag))
        elif place[0] == "Piece" and len(place) == 2:  # noqa: PLR2004  a section of a piece
            active = (tag.attributes.get(attribute) for attribute in ("Scalars", "Vectors"))
            self._pieces[-1].sections[tag.name] = Section(active=frozenset(name for name in active if name))
        elif tag.name in ("DataArray", "Array"):
            in_section = place[0] == "Piece" and len(place) == 3  # noqa: PLR2004  an array in a section of a piece
            numbers = in_section and tag.name == "DataArray"
            return self._add_array(tag, self._pieces[-1].sections[place[1]] if numbers else None)
        return False

    def _add_array(self, tag: Tag, section: Section | None) -> bool:
        """Take in an array, into a section unless it is to be skipped; return whether data were skipped."""
        said = tag.attributes
        name, form = said.get("Name", ""), said.get("format", "ascii")
        dtype = DTYPES.get(said.get("type", ""))
        components = self._components(tag)
        held = np.dtype(np.uint8) if dtype is None else dtype
        array = DataArray(name, held, components, f"{self._file}: array {name!r}", self._encoding)
        if section is not None:
            is_read = form in ("binary", "appended") and dtype is not None and "TimeStep" not in said
            if is_read:
                section.arrays.append(array)
            elif not self._left_to_vtk:
                raise NotReadHere
        # VTK gives no offset to the arrays of an empty piece.
        if form == "appended" and said.get("offset"):
            self._appended.append((array, self._number(tag, "offset")))
        if form != "binary" or tag.closes or (text := self._tags.text()).startswith(b"<"):
            return False
        if len(text.partition(b"<")[0].split()) > 1:
            raise InvalidSample(f"{array.where} has base64 in lines, which VTK misreads: write it without line breaks.")
        array.stream = Base64Stream(self._file, self._tags.position)
        self._tags.position = array.payload.end
        return True

    def _place_appended(self, tag: Tag) -> bool:
        """Say where the arrays' data lie, now that it is known where the appended data begin; skip all of them.

        Return whether the next tag has to follow at once: if it does not, bytes are missing, as those of a part.
        """
        if not self._tags.text().startswith(b"_"):
            raise InvalidSample(f"{self._file} is damaged: its appended data do not begin with an underscore.")
        begin = self._tags.position + 1
        kind = RawStream if tag.attributes.get("encoding") == "raw" else Base64Stream
        for array, offset in self._appended:
            if begin + offset > self._file.size:
                raise InvalidSample(
                    f"{array.where} begins after the file's end: it was cut short, or a part is missing."
                )
            array.stream = kind(self._file, begin + offset)
        if self._appended:
            last, _ = max(self._appended, key=lambda each: each[1])
            self._tags.position = last.payload.end
        return bool(self._appended)

    def _piece(self, tag: Tag) -> Piece:
        if self._kind in STRUCTURED_KINDS:
            extent = tag.attributes.get("Extent", "").split()
            if len(extent) != 6 or not all(each.lstrip("-").isdecimal() for each in extent):  # noqa: PLR2004  of 3 axes
                raise InvalidSample(f"{self._file} is damaged: <{tag.name}> has no extent of six numbers.")
            steps = [int(high) - int(low) for low, high in zip(extent[::2], extent[1::2], strict=True)]
            return Piece(prod(step + 1 for step in steps), {"Cells": prod(max(step, 1) for step in steps)})
        # Of PolyData, a writer may leave out the numbers of what a piece has not.
        missing = 0 if self._kind == "PolyData" else None
        counts = {section: self._number(tag, f"NumberOf{section}", missing) for section in self._kinds[self._kind]}
        return Piece(self._number(tag, "NumberOfPoints"), counts)

    def _components(self, tag: Tag) -> int:
        """Return the number of components: 1 where a writer gives none, an empty one or 0, as for VTK."""
        return (self._number(tag, "NumberOfComponents") if tag.attributes.get("NumberOfComponents") else 0) or 1

    def _number(self, tag: Tag, attribute: str, missing: int | None = None) -> int:
        text = tag.attributes.get(attribute, missing)
        try:
            number = int(text)  # type: ignore[arg-type]  # None is no number
        except (TypeError, ValueError):
            number = -1
        if number < 0:
            raise InvalidSample(f"{self._file} is damaged: <{tag.name}> has {attribute}={text!r}, which is no count.")
        return number
