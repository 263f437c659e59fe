"""The open files of a folder and their reads; whoever can write a store cannot lead its readers elsewhere."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import resource
import stat
from typing import TYPE_CHECKING

from drawpoint.errors import DataDamaged, DrawpointError, StoreUnreadable
from drawpoint_store.storage.bounds import check_size
from drawpoint_store.storage.byte_sources import ABSENT, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from drawpoint_store.storage.byte_sources import Buffer, Span

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""O_NONBLOCK: opening a FIFO returns at once, so that it can be refused; reads of regular files ignore it."""

_OPEN_FILES = 4096
"""Shards that a storage keeps open at most: of 500 samples with eight fields."""

_FEWEST_OPEN_FILES = 128
"""Well below the usual limit of 1,024 descriptors a process."""

_METADATA = "zarr.json"

_NO_WAIT: int = getattr(os, "RWF_NOWAIT", 0)
"""Reads what the page cache holds; Linux has it, for some file systems (tmpfs, among others, refuses it)."""


def count_open_files() -> int:
    """Return how many shards a storage keeps open: a sixteenth of the descriptors that the process may have."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _OPEN_FILES
    return min(_OPEN_FILES, max(_FEWEST_OPEN_FILES, files // 16))


class OpenFiles:
    """The files of a folder, opened without leaving it, the `limit` most recently used ones kept open.

    The folder itself may be a link. A link below it is followed where it leads to a regular file inside the folder.
    Reads are positioned, so threads share the open files. There is no lock that a fork could leave held: each step on
    the dict, listing its paths too, is atomic by itself, and a file that drops out is closed when its last reader lets
    go of it. (OrderedDict is not: closing a file may let another thread run in the midst of a step.)
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = str(folder)
        self._real = os.path.realpath(folder)
        self._limit = limit
        self._files: dict[str, OpenFile] = {}
        self._uses = itertools.count(1)

    def find(self, path: str) -> OpenFile | None:
        """Return the file at `path` if it is open."""
        file = self._files.get(path)
        if file is not None:
            file.last_use = next(self._uses)
        return file

    def keep(self, path: str, file: OpenFile) -> None:
        """Keep the file at `path` open."""
        file.last_use = next(self._uses)
        self._files[path] = file
        surplus = len(self._files) - self._limit
        if surplus > 0:
            # And some more, so that not each file that is opened from now on has to look for the oldest.
            for old in sorted(self._files, key=self._last_use)[: surplus + self._limit // 4]:
                self._files.pop(old, None)

    def drop(self, folder: str) -> None:
        """Let go of the files in `folder`, so that the next reads open what lies there then."""
        for path in list(self._files):
            if path.startswith(f"{folder}/"):
                self._files.pop(path, None)

    def _last_use(self, path: str) -> int:
        file = self._files.get(path)
        return 0 if file is None else file.last_use

    def read_document(self, path: str, limit: int) -> tuple[bytes, os.stat_result]:
        """Return the bytes and the status of a file; raises MetadataDamaged for more than `limit` bytes."""
        with os.fdopen(self.open_once(path), "rb") as file:
            status = os.fstat(file.fileno())
            check_size(path, status.st_size, limit)
            data = file.read(limit + 1)
        check_size(path, len(data), limit)  # it may have grown meanwhile
        return data, status

    def open_once(self, path: str) -> int:
        """Return a descriptor of the regular file at `path`, which begins with the folder's path.

        Raises FileNotFoundError or another OSError where it cannot be opened or is a folder, and DataDamaged for a
        device, a FIFO, a socket, and a link that leaves the folder.
        """
        descriptor = os.open(path, _OPEN_FLAGS)
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            os.close(descriptor)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            reason = "is no regular file"
        elif not self._is_inside(descriptor, path):
            reason = f"leads out of {self._folder} by a link"
        else:
            return descriptor
        os.close(descriptor)
        raise DataDamaged(f"{path} {reason}, so it is not read; put the file itself in its place.")

    def _is_inside(self, descriptor: int, path: str) -> bool:
        # What was opened decides, where the system tells its path (Linux): the name may lead elsewhere by now.
        try:
            opened = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115  a Path would cost more than the call
        except OSError:
            opened = os.path.realpath(path)
        if _is_below(opened, self._real):
            return True
        self._real = os.path.realpath(self._folder)  # it may be a link that leads to another folder by now
        return _is_below(os.path.realpath(path), self._real)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder if folder.endswith("/") else f"{folder}/")


Identity = tuple[int, int, int]
"""What tells a group from another one that is put in its place: of its zarr.json."""


class OpenFile:
    """A file that is open for reading, until the last who has it lets go of it; `group` is that of which it is."""

    __slots__ = ("_descriptor", "_path", "group", "last_use")

    def __init__(self, descriptor: int, path: str, group: Identity | None = None) -> None:
        self._descriptor = descriptor
        self._path = path
        self.group = group
        self.last_use = 0

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # at the end of the process `os` may be empty
        close(self._descriptor)

    def count_bytes(self) -> int:
        """Return how many bytes the file has."""
        return os.fstat(self._descriptor).st_size

    def read_into(
        self, buffers: Sequence[memoryview | bytearray], offset: int, nbytes: int, *, wait: bool = True
    ) -> int:
        """Fill the buffers, of `nbytes` bytes together, from `offset` on, and return how many bytes were read.

        Fewer means that the file ends there. Without `wait` it may as well mean that the others are not in memory, or
        that the system or its file system cannot tell. Raises StoreUnreadable.
        """
        try:
            if not wait:
                return os.preadv(self._descriptor, buffers, offset, _NO_WAIT) if _NO_WAIT else 0
            done = os.preadv(self._descriptor, buffers, offset)
            while done < nbytes:  # the kernel may give less, and gives nothing at the end of the file
                more = os.preadv(self._descriptor, _behind(buffers, done), offset + done)
                if not more:
                    break
                done += more
        except OSError as error:
            if not wait:
                return 0
            raise StoreUnreadable(f"{self._path} cannot be read: {error.strerror}.") from error
        return done


def _behind(buffers: Iterable[memoryview | bytearray], nbytes: int) -> list[memoryview]:
    """Return what of the buffers lies behind their first `nbytes` bytes."""
    rest = []
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        rest.append(view[nbytes:])
        nbytes = max(0, nbytes - len(view))
    return rest


class LocalSource(Source):
    """Reads of local files, one after the other; fetched lazily, so that memory stays bounded."""

    def __init__(self, group: Path, files: OpenFiles, document_bytes: int) -> None:
        self._group = str(group)
        self._files = files
        self._document_bytes = document_bytes
        self._identity: Identity | None = None

    def close(self) -> None:
        self._files.drop(self._group)

    def fetch(self, spans: Sequence[Span]) -> Iterator[Buffer]:
        for span in spans:
            yield self._read_document(span.key) if span.nbytes is None else self._read_range(span, span.nbytes)

    def open(self, key: str) -> OpenFile:
        """Return an object as an open file. Raises what `fetch` raises."""
        found = self.find_open(key)
        if found is None:
            path = f"{self._group}/{key}"
            with self._translated_errors(key):
                found = OpenFile(self._files.open_once(path), path, self._identity)
                if self._identity is not None:
                    self._check_identity(os.stat(f"{self._group}/{_METADATA}"))  # noqa: PTH116  a Path would cost more
            self._files.keep(path, found)
        return found

    def find_open(self, key: str) -> OpenFile | None:
        """Return what `open` does if it is open already; None, without waiting for anything, if not."""
        found = self._files.find(f"{self._group}/{key}")
        # What was opened of another group at this place does not go with what is known of this one.
        return None if found is None or found.group != self._identity else found

    def _read_document(self, key: str) -> bytes:
        with self._translated_errors(key):
            data, status = self._files.read_document(f"{self._group}/{key}", self._document_bytes)
            if key == _METADATA:
                self._identity = self._identity or _identify(status)
                self._check_identity(status)
            return data

    def _read_range(self, span: Span, nbytes: int) -> Buffer:
        key, start, _, may_be_absent = span
        try:
            file = self.open(key)
        except FileNotFoundError:
            if not may_be_absent or os.path.lexists(f"{self._group}/{key}"):  # a link whose file is gone
                raise
            return ABSENT
        with self._translated_errors(key):
            size = file.count_bytes()
        first = start if start >= 0 else max(0, size + start)
        data = memoryview(bytearray(max(0, min(nbytes, size - first))))
        return data[: file.read_into([data], first, len(data))]

    @contextlib.contextmanager
    def _translated_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(key) from error
        except DrawpointError:
            raise
        except OSError as error:
            place = f"{self._group}/{key}"
            raise StoreUnreadable(f"{place} cannot be read: {error.strerror}.", store=self._group) from error

    def _check_identity(self, status: os.stat_result) -> None:
        """Refuse a group that was put in the place of the one whose other files are open: their rows do not match."""
        if self._identity != _identify(status):
            self.was_replaced = True
            raise StoreUnreadable(
                f"{self._group} was replaced by another group while it was open; open the store anew.",
                store=self._group,
            )


def _identify(status: os.stat_result) -> Identity:
    return status.st_ino, status.st_mtime_ns, status.st_size
