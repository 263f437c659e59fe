"""A file, or several that are the pieces of one, as one row of bytes."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.data_file import Closing

if TYPE_CHECKING:
    from typing_extensions import Buffer


class ByteFile(Protocol):
    """A file that is read by position, wherever it lies; `str()` is what errors call it."""

    @property
    def name(self) -> str:
        """The last part of its path."""

    @property
    def size(self) -> int:
        """How many bytes it has."""

    def preadv(self, view: memoryview, position: int) -> int:
        """Fill `view` from its beginning with bytes from `position` on, and return how many: 0 at the file's end."""

    def close(self) -> None:
        """Let go of what is open; the next read opens it again, or the file is not read any more."""


FilePath: TypeAlias = Path | ByteFile
"""What a reader is given: the path of a file on disk, or a file that lies elsewhere."""


class _LocalFile:
    """A file on disk."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._descriptor).st_size

    def preadv(self, view: memoryview, position: int) -> int:
        return os.preadv(self._descriptor, [view], position)

    def close(self) -> None:
        os.close(self._descriptor)


class SoughtFile(io.RawIOBase):
    """A file that lies elsewhere, for libraries that seek and read."""

    def __init__(self, file: ByteFile) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        count = self._file.preadv(memoryview(buffer).cast("B"), self._position)
        self._position += count
        return count


class JoinedFile(Closing):
    """The bytes of one file, or of several joined in the order given; `close` it, or use it in a `with` statement.

    Bytes are read by position into memory of their own. A mapping would save a copy, but a mapped file that another
    program cuts short ends this process (SIGBUS), where a read says how many bytes there were. Raises InvalidSample for
    a file that cannot be opened, or that ends before what is asked for.
    """

    def __init__(self, *paths: FilePath) -> None:
        self.paths = paths
        self.size = 0
        self._pieces: list[tuple[ByteFile, int]] = []  # with the position of its first byte
        try:
            for path in paths:
                piece = _LocalFile(path) if isinstance(path, Path) else path
                self._pieces.append((piece, self.size))
                self.size += piece.size
        except OSError as error:
            self.close()
            raise InvalidSample(f"{path} cannot be opened: {error.strerror}.") from error

    def __str__(self) -> str:
        more = len(self.paths) - 1
        return f"{self.paths[0]} with {more} more parts" if more else str(self.paths[0])

    def read(self, position: int, nbytes: int) -> bytearray:
        """Return `nbytes` bytes from `position` on."""
        if position + nbytes > self.size:
            raise self._ended(position + nbytes)
        data = bytearray(nbytes)
        self.read_into(position, memoryview(data))
        return data

    def read_into(self, position: int, view: memoryview) -> None:
        """Fill `view`, of bytes, with those from `position` on."""
        if position + len(view) > self.size:
            raise self._ended(position + len(view))
        ends = [begin for _, begin in self._pieces[1:]] + [self.size]
        for (piece, begin), end in zip(self._pieces, ends, strict=True):
            while view and begin <= position < end:
                count = piece.preadv(view[: end - position], position - begin)
                if not count:
                    raise self._ended(position + len(view))
                position, view = position + count, view[count:]

    def _ended(self, needed: int) -> InvalidSample:
        return InvalidSample(
            f"{self} ends after {self.size:,} bytes, or was cut while it was read, where {needed:,} are needed: "
            "copy it, and all of its parts, again."
        )

    def close(self) -> None:
        """Close all pieces."""
        while self._pieces:
            self._pieces.pop()[0].close()
