"""The files below a path or fsspec URL: their folders, sizes and stamps."""

from __future__ import annotations

import os
import posixpath
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import fsspec
from fsspec.implementations.local import LocalFileSystem

from drawpoint_store.conversion.source import SourceFile
from drawpoint_store.storage.bucket_access import check_environment
from drawpoint_store.storage.locations import is_bucket, is_remote, local_path
from drawpoint_store.storage.storage import translated_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Stamp = tuple[int, str]
"""The size of a file, and what changes when it is rewritten."""

# The keys under which file systems list the time or tag of a file's last change; `created` is all that memory:// has.
_STAMPS = ("mtime", "ETag", "etag", "e_tag", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True)
class FileTree:
    """The files at `location` (a path or fsspec URL): relative directory -> file name -> file."""

    location: str
    folders: dict[str, dict[str, SourceFile]]

    @classmethod
    def scan(cls, location: str | os.PathLike[str]) -> Self:
        """List `location`, following links; directories whose names begin with a dot and broken links are left out.

        A local directory that several paths lead to is listed once, by the path without links if there is one.

        Raises StoreUnreadable where it cannot be listed, FileNotFoundError where there is nothing, and
        NotADirectoryError where there is a file.
        """
        location = str(location)
        if not is_remote(location) and local_path(location).is_file():
            raise NotADirectoryError(f"{location} is a file; give a directory of samples as SOURCE.")
        folders: dict[str, dict[str, SourceFile]] = {}
        try:
            with translated_errors("listed", location, may_be_missing=True):
                filesystem, root = open_filesystem(location)
                files = _remote_files(filesystem, root) if is_remote(location) else _local_files(root)
                for folder, name, file in files:
                    folders.setdefault(folder, {})[name] = file
        except FileNotFoundError:
            raise FileNotFoundError(f"{location} does not exist; give a directory of samples as SOURCE.") from None
        return cls(location, folders)

    @property
    def file_names(self) -> frozenset[str]:
        """The names of all files, whatever directory they are in."""
        return frozenset(name for files in self.folders.values() for name in files)

    @property
    def name(self) -> str:
        """The last part of the location's path."""
        return posixpath.basename(open_filesystem(self.location)[1].rstrip("/"))


def stamp_files(location: str, files: Iterable[SourceFile]) -> dict[str, Stamp | None]:
    """Return the stamp that each file below `location` has now by path, None for one that is gone."""
    filesystem = open_filesystem(location)[0]
    return {file.path: _stamp(filesystem, file.path) for file in files}


def _stamp(filesystem: Any, path: str) -> Stamp | None:
    try:
        if isinstance(filesystem, LocalFileSystem):
            status = os.stat(path)  # noqa: PTH116  a Path would be made for this alone
            return status.st_size, str(status.st_mtime_ns)
        with translated_errors("read", path, may_be_missing=True):
            filesystem.invalidate_cache(posixpath.dirname(path))
            return _size_and_stamp(filesystem.info(path))
    except FileNotFoundError:
        return None


def open_filesystem(location: str) -> tuple[Any, str]:
    """Return the fsspec file system of `location`, that of obstore for a bucket, and the path that it has there."""
    if not is_remote(location):
        return fsspec.filesystem("file"), str(local_path(location).absolute())
    if not is_bucket(location):
        filesystem, path = fsspec.core.url_to_fs(location)
        return filesystem, str(path)
    check_environment()
    from obstore.fsspec import FsspecStore  # noqa: PLC0415  only sources in buckets need it

    driver: Any = FsspecStore  # typed by scheme, which is a literal only there
    scheme, _, path = location.partition("://")
    # Plain http is allowed, but used only where the endpoint itself says so.
    return driver(scheme, client_options={"allow_http": True}), path


def _local_files(root: str) -> Iterator[tuple[str, str, SourceFile]]:
    # fsspec's own walk does not follow links to directories, and passes over directories that it may not list.
    seen: set[tuple[int, int]] = set()
    folders, linked = [""], deque[str]()
    while folders or linked:
        # Links last: a directory that links lead to as well has its own path for its id.
        folder = folders.pop() if folders else linked.popleft()
        place = Path(root, folder)
        here = place.stat()
        inode = (here.st_dev, here.st_ino)
        if inode in seen:  # directories that link to each other have paths without number
            continue
        seen.add(inode)
        with os.scandir(place) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
        for entry in entries:
            found = _status(entry)
            if found is None:
                continue
            if stat.S_ISDIR(found.st_mode):
                if not entry.name.startswith("."):
                    (linked if entry.is_symlink() else folders).append(posixpath.join(folder, entry.name))
            elif stat.S_ISREG(found.st_mode):
                stamp = str(found.st_mtime_ns)
                yield folder, entry.name, SourceFile(entry.path, found.st_size, stamp)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return the status of an entry, following links; None for one that is gone and for a broken link."""
    try:
        return entry.stat()
    except OSError as error:
        if entry.is_symlink() or isinstance(error, FileNotFoundError):
            return None
        raise


def _remote_files(filesystem: Any, root: str) -> Iterator[tuple[str, str, SourceFile]]:
    root = root.rstrip("/")
    found: dict[str, dict[str, Any]] = filesystem.find(root, detail=True)
    if not found and not filesystem.exists(root):
        raise FileNotFoundError(root)
    for path, info in found.items():
        relative = path.removeprefix(root).lstrip("/")
        folder, name = posixpath.split(relative)
        if not any(part.startswith(".") for part in folder.split("/")):
            yield folder, name, SourceFile(path, *_size_and_stamp(info))


def _size_and_stamp(info: Mapping[str, Any]) -> tuple[int, str]:
    return int(info["size"] or 0), next((str(info[key]) for key in _STAMPS if info.get(key) is not None), "")
