"""The files below a path or URL: their folders, sizes and stamps."""

from __future__ import annotations

import os
import posixpath
import stat
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

from drawpoint_store.conversion.sources.source import SourceFile
from drawpoint_store.storage import BucketAccess, LocalStorage, Storage, open_storage
from drawpoint_store.storage.http_storage import HttpStorage
from drawpoint_store.storage.local_storage import file_info
from drawpoint_store.storage.locations import HTTP_SCHEMES, check_location, scheme_of
from drawpoint_store.storage.storage import translated_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from drawpoint_store.storage.storage import ObjectInfo

_ACCESS = BucketAccess(document_bytes=sys.maxsize, deadline_seconds=300)
"""A file of a source is read whole, whatever its size."""


@dataclass(frozen=True)
class FileTree:
    """The files below the root of a storage: relative directory -> file name -> file.

    Of a local root, directories without files are there, too. A file without a stamp is one of which the storage lists
    the name alone; its size is 0 then, whatever it is.
    """

    storage: Storage
    folders: dict[str, dict[str, SourceFile]]

    @classmethod
    def scan(cls, location: str | os.PathLike[str]) -> Self:
        """List a path or URL, following links; directories whose names begin with a dot and broken links are left out.

        A local directory that several paths lead to is listed once, by the path without links if there is one.

        Raises StoreUnreadable where it cannot be listed, FileNotFoundError where there is nothing, and
        NotADirectoryError where there is a file.
        """
        storage = open_source(location)
        if isinstance(storage, LocalStorage):
            root = storage.path("")
            if root.is_file():
                raise NotADirectoryError(f"{location} is a file; give a directory of samples as SOURCE.")
            is_there = root.exists()
            with translated_errors("listed", storage.root):
                listed = dict(_local_folders(root)) if is_there else {}
        else:
            listed = {}
            for found in storage.find(""):
                listed.setdefault(posixpath.dirname(found.path), []).append(found)
            is_there = bool(listed)
        if not is_there:
            listing = (
                ", or lists no files: the server has to show its folders" if isinstance(storage, HttpStorage) else ""
            )
            raise FileNotFoundError(f"{location} does not exist{listing}; give a directory of samples as SOURCE.")
        folders = {
            folder: {posixpath.basename(path): SourceFile(path, nbytes, stamp) for path, nbytes, _, stamp in files}
            for folder, files in listed.items()
            if not any(part.startswith(".") for part in folder.split("/"))
        }
        return cls(storage, folders)

    @property
    def file_names(self) -> frozenset[str]:
        """The names of all files, whatever directory they are in."""
        return frozenset(name for files in self.folders.values() for name in files)

    @property
    def name(self) -> str:
        """The last part of the location's path."""
        storage = self.storage
        path = str(storage.path("").absolute()) if isinstance(storage, LocalStorage) else storage.root
        return posixpath.basename(path.rstrip("/"))


def look_at_unlisted(storage: Storage, files: Iterable[SourceFile]) -> dict[str, SourceFile | None]:
    """Return by path, with size and stamp, the files of which the storage lists the name alone; None for one gone.

    Several are asked for at a time. Raises StoreUnreadable where the storage does not answer.
    """
    paths = list(dict.fromkeys(file.path for file in files if not file.stamp))
    infos = storage.infos(paths)
    return {
        path: None if info is None else SourceFile(path, info.nbytes, info.stamp)
        for path, info in zip(paths, infos, strict=True)
    }


def folders_above(path: str) -> Iterator[str]:
    """Yield the folders that a path of a tree lies in, from the innermost to the root, `""`; none for the root."""
    while path:
        path = posixpath.dirname(path)
        yield path


def open_source(location: str | os.PathLike[str]) -> Storage:
    """Return the storage that the files of a source lie in."""
    if scheme_of(location) in HTTP_SCHEMES:  # stores are opened by URLs of zarr's, and need no list of their files
        check_location(location)
        return HttpStorage(str(location), _ACCESS)
    return open_storage(location, _ACCESS)


def read_file(storage: Storage, path: str) -> bytes | None:
    """Return the bytes of a file of a source, None if there is none; a link may lead out of a local tree.

    Raises StoreUnreadable where it cannot be read.
    """
    if not isinstance(storage, LocalStorage):
        return storage.read(path)
    with translated_errors("read", storage.join(path)):
        place = storage.path(path)
        return place.read_bytes() if place.exists() else None


def _local_folders(root: Path) -> Iterator[tuple[str, list[ObjectInfo]]]:
    """Yield each directory below `root` by its path there (`""` is the root), with its files."""
    seen: set[tuple[int, int]] = set()
    waiting = deque([root])
    while waiting:
        for above, inner, names in os.walk(waiting.popleft(), onerror=_raise):
            folder = Path(above)
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:  # links to each other would make paths without number
                inner.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            # Links last: a directory that links lead to as well has its own path for its id.
            waiting.extend(folder / name for name in inner if (folder / name).is_symlink())
            relative = "" if folder == root else str(folder.relative_to(root))
            yield relative, list(_files_in(folder, relative, names))


def _files_in(folder: Path, relative: str, names: Sequence[str]) -> Iterator[ObjectInfo]:
    for name in names:
        path = folder / name
        try:
            found = path.stat()
        except OSError:
            if path.is_symlink() or not path.exists():  # a broken link, or gone meanwhile
                continue
            raise
        if stat.S_ISREG(found.st_mode):
            yield file_info(posixpath.join(relative, name), found)


def _raise(error: OSError) -> NoReturn:
    raise error
