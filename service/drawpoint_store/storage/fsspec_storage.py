"""The storage of every URL that is no bucket of obstore's: memory, HTTP, SFTP and the rest of fsspec."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import fsspec

from drawpoint.errors import ExtraMissing
from drawpoint_store.storage.bounds import check_size
from drawpoint_store.storage.byte_sources import ZarrSource
from drawpoint_store.storage.locations import is_in_memory, join
from drawpoint_store.storage.storage import ObjectInfo, Storage, upload_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from zarr.storage import StorePath

    from drawpoint_store.storage.bucket_access import BucketAccess
    from drawpoint_store.storage.byte_sources import Source

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
"""The keys under which file systems list the time of a file's last change; `created` is all that memory:// has."""

_STAMPS = ("ETag", "etag", "blob_id", *_TIMES)
"""The keys under which what changes with an object is listed; `blob_id` is that of the Hugging Face Hub."""

_PIECE = 1 << 23
"""How many bytes of an object are read at a time."""

_AT_ONCE = 8
"""Requests that are under way together through file systems that are made for it; others have one connection."""


class FsspecStorage(Storage):
    """The objects below an fsspec URL."""

    def __init__(self, root: str, access: BucketAccess) -> None:
        super().__init__(root, access)
        self.is_shared = not is_in_memory(root)

    @property
    def requests_at_once(self) -> int:  # type: ignore[override]  # of other storages it is known before
        filesystem, _ = self._find_path("")
        return _AT_ONCE if filesystem.async_impl or "hf" in filesystem.protocol else 1

    def join(self, name: str) -> str:
        # In a chained URL, such as zip://::sftp://host/runs.zip, the name is one in the archive.
        links = self.root.split("::")
        first = next(number for number, link in enumerate(links) if "://" in link)
        links[first] = join(links[first], name)
        return "::".join(links)

    def source(self, relpath: str) -> Source:
        return ZarrSource(self.open_zarr(relpath).store)

    def open_zarr(self, relpath: str = "", *, read_only: bool = True) -> StorePath:
        from zarr.storage import FsspecStore, StorePath  # noqa: PLC0415  0.4 s, and only the fallback needs it

        return StorePath(FsspecStore.from_url(self.join(relpath), read_only=read_only))

    def stamp(self, name: str) -> str | None:
        data = self.read(name)  # what is listed may be a time in whole seconds
        return None if data is None else hashlib.sha256(data).hexdigest()

    def _find_path(self, name: str) -> tuple[Any, str]:
        # Not held: fsspec keeps file systems itself, and drops those that a fork has made useless.
        try:
            found: tuple[Any, str] = fsspec.core.url_to_fs(self.join(name))
        except ImportError as error:
            raise ExtraMissing(
                f"{self.root} cannot be reached: fsspec lacks a package for its kind ({str(error).rstrip('.')}); "
                "install it with pip."
            ) from error
        return found

    def _get(self, name: str, most_bytes: int) -> bytes:
        filesystem, path = self._find_path(name)
        data = bytes(filesystem.cat_file(path))
        check_size(self.join(name), len(data), most_bytes)
        return data

    def _get_range(self, name: str, start: int, nbytes: int, stamp: str) -> bytes:
        del stamp
        filesystem, path = self._find_path(name)
        if filesystem.async_impl:
            return bytes(filesystem.cat_file(path, start=start, end=start + nbytes))
        with filesystem.open(path, "rb", cache_type="none") as file:  # others read ahead, which is thrown away
            file.seek(start)
            return bytes(file.read(nbytes))

    def _stream(self, name: str) -> Iterator[bytes]:
        filesystem, path = self._find_path(name)
        with filesystem.open(path, "rb") as file:
            while data := file.read(_PIECE):
                yield bytes(data)

    def _put(self, name: str, data: bytes, *, durable: bool) -> None:
        del durable
        filesystem, path = self._find_path(name)
        filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        filesystem.pipe_file(path, data)

    def _move_in(self, folder: Path, path: str, last: str) -> None:
        if not self.is_shared:
            self._delete_tree(path)
        upload_files(folder, path, last, self._put_file)

    def _put_file(self, name: str, file: Path) -> None:
        filesystem, path = self._find_path(name)
        filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        filesystem.put_file(str(file), path)

    def _delete(self, names: Sequence[str]) -> None:
        for name in names:
            filesystem, path = self._find_path(name)
            with contextlib.suppress(FileNotFoundError):
                filesystem.rm_file(path)

    def _delete_tree(self, path: str) -> None:
        filesystem, place = self._find_path(path)
        with contextlib.suppress(FileNotFoundError):
            filesystem.rm(place, recursive=True)

    def _list(self, folder: str) -> Iterator[tuple[str, bool]]:
        filesystem, path = self._find_path(folder)
        for entry in filesystem.ls(path, detail=True):
            yield entry["name"], entry["type"] == "directory"

    def _find(self, path: str) -> Iterator[ObjectInfo]:
        filesystem, place = self._find_path(path)
        root = self._find_path("")[1].rstrip("/")
        for found, info in filesystem.find(place, detail=True).items():
            yield _object_info(found.removeprefix(root).lstrip("/"), info)

    def _info(self, path: str) -> ObjectInfo:
        filesystem, place = self._find_path(path)
        filesystem.invalidate_cache(place.rpartition("/")[0])
        return _object_info(path, filesystem.info(place))


def _object_info(path: str, info: Mapping[str, Any]) -> ObjectInfo:
    stamp = next((str(info[key]) for key in _STAMPS if info.get(key) is not None), "")
    return ObjectInfo(path, int(info.get("size") or 0), _changed(info), stamp)


def _changed(info: Mapping[str, Any]) -> float | None:
    for key in _TIMES:
        if isinstance(found := info.get(key), datetime):
            return found.timestamp()
        if isinstance(found, int | float):
            return float(found)
    return None
