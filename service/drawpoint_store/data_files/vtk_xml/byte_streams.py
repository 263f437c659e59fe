"""Bytes as a VTK XML file holds them: as they are, or as base64."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from drawpoint.errors import InvalidSample
from drawpoint.extras import importing

if TYPE_CHECKING:
    from drawpoint_store.data_files.joined_file import JoinedFile

DECODED_AT_ONCE = 3 << 18
"""How many bytes are decoded from base64 in one step: few enough for a core's cache."""


class ByteStream(Protocol):
    """Bytes that begin at a position of a file, in some encoding."""

    @property
    def available(self) -> int:
        """How many bytes the file can hold from there on."""

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes from `offset` of the stream on."""

    def after(self, nbytes: int) -> Self:
        """Return the stream that begins where one of `nbytes` from here ends."""

    def ends_at(self, nbytes: int) -> bool:
        """Tell whether what is encoded from here on, by itself, is known to end after `nbytes`."""

    @property
    def position(self) -> int:
        """Where in the file the stream begins."""


@dataclass(frozen=True, slots=True)
class RawStream:
    """Bytes that lie in the file as they are."""

    file: JoinedFile
    position: int

    @property
    def available(self) -> int:
        return self.file.size - self.position

    def read_into(self, offset: int, view: memoryview) -> None:
        self.file.read_into(self.position + offset, view)

    def after(self, nbytes: int) -> RawStream:
        return RawStream(self.file, self.position + nbytes)

    def ends_at(self, nbytes: int) -> bool:
        del nbytes
        return False


@dataclass(frozen=True, slots=True)
class Base64Stream:
    """Bytes in base64: every 3 of them are 4 letters, without line breaks, and '=' fills up the last 4."""

    file: JoinedFile
    position: int

    @property
    def available(self) -> int:
        return (self.file.size - self.position) // 4 * 3

    def read_into(self, offset: int, view: memoryview) -> None:
        with importing("convert", "reading base64 of VTK files"):
            from pybase64 import b64decode  # noqa: PLC0415  loaded only where a file has base64

        end = offset + len(view)
        while offset < end:
            begin = offset // 3 * 3
            step = min(begin + DECODED_AT_ONCE, end) - begin
            letters = self.file.read(self.position + begin // 3 * 4, -(-step // 3) * 4)
            try:
                decoded = b64decode(letters, validate=True)
            except binascii.Error as error:
                where = self.position + begin // 3 * 4
                raise InvalidSample(f"{self.file} is damaged: no base64 at byte {where:,} ({error}).") from error
            if len(decoded) < step:
                raise InvalidSample(f"{self.file} is damaged: base64 ends too early after byte {self.position:,}.")
            part = decoded[offset - begin : step]
            view[: len(part)] = part
            offset, view = begin + step, view[len(part) :]

    def after(self, nbytes: int) -> Base64Stream:
        return Base64Stream(self.file, self.position + -(-nbytes // 3) * 4)

    def ends_at(self, nbytes: int) -> bool:
        groups, rest = divmod(nbytes, 3)
        return rest > 0 and self.file.read(self.position + 4 * groups + 1 + rest, 1) == b"="
