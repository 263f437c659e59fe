"""The data of one array in a VTK XML file: a header that says how many bytes there are, then the bytes or blocks.

https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html says what lies in a file; of compressed data:
`[blocks][bytes of a block][bytes of a last, shorter block, or 0][compressed bytes of each block]...`, then the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.vtk_xml.compressors import COMPRESSORS

if TYPE_CHECKING:
    from drawpoint_store.data_files.vtk_xml.byte_streams import ByteStream

READ_AT_ONCE = 1 << 20
"""How many compressed bytes are read in one step, unless a block has more."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """What holds for all data of a file: the dtype of headers' numbers, byte order included, and VTK's compressor."""

    header: np.dtype[Any]
    compressor: str | None


class Payload(Protocol):
    """The data of one array, `nbytes` of it. `end` is the position in the file after it."""

    @property
    def nbytes(self) -> int:
        """How many bytes of data there are, as told by their header."""

    @property
    def end(self) -> int:
        """The position in the file after the data."""

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes from `offset` of the data on."""


def open_payload(stream: ByteStream, encoding: Encoding, where: str) -> Payload:
    """Return the data that begins with `stream`, in memory bounded by the file's size; `where` names it in errors."""
    return Blocks(stream, encoding, where) if encoding.compressor else Plain(stream, encoding, where)


class Plain:
    """Data that is not compressed."""

    def __init__(self, stream: ByteStream, encoding: Encoding, where: str) -> None:
        size = encoding.header.itemsize
        self.nbytes = int(_read_numbers(stream, 0, 1, encoding, where)[0])
        if self.nbytes > stream.available - size:
            raise _too_much(where, self.nbytes, stream.available - size)
        # Some writers encode the header by itself, as VTK does of compressed data alone.
        self._stream, self._offset = (stream.after(size), 0) if stream.ends_at(size) else (stream, size)
        self.end = self._stream.after(self._offset + self.nbytes).position

    def read_into(self, offset: int, view: memoryview) -> None:
        self._stream.read_into(self._offset + offset, view)


class Blocks:
    """Data in blocks that are compressed one by one: only those concerned are read and decompressed."""

    def __init__(self, stream: ByteStream, encoding: Encoding, where: str) -> None:
        self._compressor = COMPRESSORS[str(encoding.compressor)]
        self._where = where
        size = encoding.header.itemsize
        count, self._block, last = (int(number) for number in _read_numbers(stream, 0, 3, encoding, where))
        if count > stream.available // size - 3:
            raise _too_much(where, count * size, stream.available)
        sizes = _read_numbers(stream, 3 * size, count, encoding, where)
        self._stream = stream.after((3 + count) * size)
        # Summed as floats, which cannot overflow.
        if sizes.sum(dtype=np.float64) > self._stream.available:
            raise _too_much(where, int(sizes.sum(dtype=np.float64)), self._stream.available)
        if last > self._block or (count and not self._block):
            raise InvalidSample(f"{where} is damaged: its last block claims {last:,} bytes of {self._block:,}.")
        self.nbytes = count * self._block - (self._block - last if last and count else 0)
        self._begins = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
        compressed = int(self._begins[-1])
        if self.nbytes > compressed * self._compressor.largest_ratio:
            raise InvalidSample(
                f"{where} is damaged: {compressed:,} compressed bytes claim to hold {self.nbytes:,}, more than can be."
            )
        self.end = self._stream.after(compressed).position

    def read_into(self, offset: int, view: memoryview) -> None:
        if not view:
            return
        decompress = self._compressor.load()
        end = offset + len(view)
        first, stop = offset // self._block, -(-end // self._block)
        while first < stop:
            upto = int(np.searchsorted(self._begins, self._begins[first] + READ_AT_ONCE, "right")) - 1
            upto = min(max(upto, first + 1), stop)
            begins = self._begins[first : upto + 1].tolist()
            data = memoryview(bytearray(begins[-1] - begins[0]))
            self._stream.read_into(begins[0], data)
            for block in range(first, upto):
                begin = block * self._block
                size = min(self._block, self.nbytes - begin)
                compressed = data[begins[block - first] - begins[0] : begins[block - first + 1] - begins[0]]
                decompressed = decompress(compressed, size)
                if decompressed is None or len(decompressed) != size:
                    raise InvalidSample(f"{self._where} is damaged: its block {block:,} does not decompress.")
                part = decompressed[max(offset - begin, 0) : end - begin]
                view[: len(part)] = part
                view = view[len(part) :]
            first = upto


def _read_numbers(
    stream: ByteStream, offset: int, count: int, encoding: Encoding, where: str
) -> np.ndarray[Any, np.dtype[Any]]:
    numbers = np.empty(count, encoding.header)
    if offset + numbers.nbytes > stream.available:
        raise _too_much(where, offset + numbers.nbytes, stream.available)
    stream.read_into(offset, numbers.data.cast("B"))
    return numbers


def _too_much(where: str, claimed: int, available: int) -> InvalidSample:
    return InvalidSample(
        f"{where} claims {claimed:,} bytes where the file has at most {available:,} more: it is damaged, "
        "was cut short, or a part is missing."
    )
