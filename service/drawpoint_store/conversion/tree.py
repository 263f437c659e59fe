"""What there is to convert: a tree of directories with one file a field, on any fsspec location."""

from __future__ import annotations

import os
import posixpath
import stat
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import fsspec
from fsspec.implementations.local import LocalFileSystem

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.filemaps import looks_left_out, near_fields
from drawpoint_store.storage import objects as stores
from drawpoint_store.storage.buckets import check_environment
from drawpoint_store.storage.locations import is_remote, local_path
from drawpoint_store.writing.layout import present_specs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drawpoint_store.writing.layout import FileMap

PREPROCESSED = "preprocessed/"
"""Where the preprocessing of some sets writes to; no part of a sample's id."""

# What file systems call the thing that changes with a file's content; `created` is all that memory:// has.
_STAMPS = ("mtime", "ETag", "etag", "e_tag", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file by the path its file system knows, its size in bytes, and a stamp that changes when it is rewritten."""

    path: str
    size: int
    stamp: str


@dataclass(frozen=True, slots=True)
class SourceSample:
    """A directory that holds every field's file; `files` is keyed by canonical field."""

    sample_id: str
    files: dict[str, SourceFile]

    @property
    def nbytes(self) -> int:
        """The bytes of all its files."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True)
class SourceTree:
    """The files at `location` (a path or fsspec URL): relative directory -> file name -> file."""

    location: str
    folders: dict[str, dict[str, SourceFile]]

    @classmethod
    def scan(cls, location: str | os.PathLike[str]) -> Self:
        """List `location`; directories whose names begin with a dot are left out, links are followed.

        A local directory that several paths lead to is listed once, by the path without links if there is one; links
        that lead nowhere are left out.

        Raises StoreUnreadable where it cannot be listed, FileNotFoundError where there is nothing, and
        NotADirectoryError where there is a file.
        """
        location = str(location)
        if not is_remote(location) and local_path(location).is_file():
            raise NotADirectoryError(f"{location} is a file; give a directory of samples as SOURCE.")
        folders: dict[str, dict[str, SourceFile]] = {}
        try:
            with stores.translated_errors("listed", location, may_be_missing=True):
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

    def samples(self, filemap: FileMap) -> tuple[list[SourceSample], dict[str, str]]:
        """Return the samples in the order of their ids, and why directories with only some files are none."""
        wanted = {getattr(filemap, spec.filemap_attr): spec.canonical for spec in present_specs(filemap)}
        complete = []
        broken = {}
        for sample_id, folders in self.sample_folders(filemap).items():
            found = {
                field: self.folders[folders[0]][name]
                for name, field in wanted.items()
                if name in self.folders[folders[0]]
            }
            if len(folders) > 1:
                paths = " and ".join(posixpath.join(self.location, folder).rstrip("/") for folder in folders)
                broken[sample_id] = f"{paths} would be samples of the same id"
            elif len(found) < len(wanted):
                missing = [f"{name} ({field})" for name, field in wanted.items() if field not in found]
                broken[sample_id] = f"lacks {', '.join(missing)}"
            else:
                complete.append(SourceSample(sample_id, found))
        if not complete and not broken:
            raise InvalidSample(
                f"there is no sample in {self.location}: no directory in it holds any of {', '.join(wanted)}; "
                "name the files of its fields with --filemap."
            )
        return complete, broken

    def sample_folders(self, filemap: FileMap) -> dict[str, list[str]]:
        """Return the directories that hold any of a FileMap's files, by sample id, in the order of the ids.

        The id is a directory's path below the source, or below `preprocessed/` in it: noether's preprocessing of
        ShapeNet-Car writes there, and its ids leave that out (`shapenet_car/dataset.py`). A source that is itself a
        sample has its own name.
        """
        wanted = {getattr(filemap, spec.filemap_attr) for spec in present_specs(filemap)}
        found: dict[str, list[str]] = {}
        for folder in self.folders:
            if not wanted.isdisjoint(self.folders[folder]):
                sample_id = folder.removeprefix(PREPROCESSED) or posixpath.basename(self._root)
                found.setdefault(sample_id, []).append(folder)
        return {sample_id: sorted(found[sample_id]) for sample_id in sorted(found)}

    def left_out(self, filemap: FileMap) -> dict[str, int]:
        """Return the names of files that look like fields and are in no FileMap, and in how many samples each is."""
        folders = [folder for of_one in self.sample_folders(filemap).values() for folder in of_one]
        folders += self.folders_left_out(filemap)
        counts = Counter(name for folder in folders for name in self.folders[folder])
        return {name: counts[name] for name in sorted(counts) if looks_left_out(name, filemap)}

    def folders_left_out(self, filemap: FileMap) -> list[str]:
        """Return the directories that are no samples although files in them are called almost as fields.

        One file alone may be anything that lies about beside samples; two or more were meant to be a sample.
        """
        wanted = {getattr(filemap, spec.filemap_attr) for spec in present_specs(filemap)}
        near = {name for name in self.file_names if looks_left_out(name, filemap) and near_fields(name)}
        return sorted(
            folder
            for folder, files in self.folders.items()
            if wanted.isdisjoint(files) and len(near.intersection(files)) > 1
        )

    @property
    def _root(self) -> str:
        return open_filesystem(self.location)[1].rstrip("/")


def stamp_file(filesystem: Any, path: str) -> tuple[int, str] | None:
    """Return the size and the stamp that a file has now, None for one that is gone."""
    try:
        if isinstance(filesystem, LocalFileSystem):
            status = os.stat(path)  # noqa: PTH116  a Path would be made for this alone
            return status.st_size, str(status.st_mtime_ns)
        with stores.translated_errors("read", path, may_be_missing=True):
            filesystem.invalidate_cache(posixpath.dirname(path))
            return _size_and_stamp(filesystem.info(path))
    except FileNotFoundError:
        return None


def open_filesystem(location: str) -> tuple[Any, str]:
    """Return the fsspec file system of `location`, and the path that it has there.

    Buckets for which fsspec has no driver are read through obstore's.
    """
    if not is_remote(location):
        return fsspec.filesystem("file"), str(local_path(location).absolute())
    try:
        filesystem, path = fsspec.core.url_to_fs(location)
    except ImportError:
        if not stores.uses_obstore(location):
            raise
        check_environment()
    else:
        return filesystem, str(path)
    from obstore.fsspec import FsspecStore  # noqa: PLC0415  only sources in buckets need it

    driver: Any = FsspecStore  # typed by scheme, which is a literal only there
    scheme, _, path = location.partition("://")
    # Plain http is allowed, but used only where the endpoint itself says so.
    return driver(scheme, client_options={"allow_http": True}), path


def _local_files(root: str) -> Iterator[tuple[str, str, SourceFile]]:
    # fsspec's own walk neither follows links to directories nor reports what it may not list.
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
    """Return the status of what `entry` is or leads to; None for what is gone and for links that lead nowhere."""
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
