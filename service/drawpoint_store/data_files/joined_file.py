"""A file on disk, or several that are the pieces of one, as one row of bytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.data_file import Closing

if TYPE_CHECKING:
    from pathlib import Path


class JoinedFile(Closing):
    """The bytes of one file, or of several joined in the order given; `close` it, or use it in a `with` statement.

    Bytes are read by position into memory of their own. A mapping would save a copy, but a mapped file that another
    program cuts short ends this process (SIGBUS), where a read says how many bytes there were. Raises InvalidSample for
    a file that cannot be opened, or that ends before what is asked for.
    """

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self.size = 0
        self._pieces: list[tuple[int, int]] = []  # descriptor, position of its first byte
        try:
            for path in paths:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._pieces.append((descriptor, self.size))
                self.size += os.fstat(descriptor).st_size
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
        for (descriptor, begin), end in zip(self._pieces, ends, strict=True):
            while view and begin <= position < end:
                count = os.preadv(descriptor, [view[: end - position]], position - begin)
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
            os.close(self._pieces.pop()[0])
