"""The storage of local files."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from drawpoint.errors import DataDamaged
from drawpoint_store.storage.bounds import METADATA_BYTES_A_VALUE, check_density
from drawpoint_store.storage.locations import local_path
from drawpoint_store.storage.open_files import LocalSource, OpenFiles, count_open_files
from drawpoint_store.storage.storage import ObjectInfo, Storage, translated_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zarr.storage import StorePath

    from drawpoint_store.storage.bucket_access import BucketAccess
    from drawpoint_store.storage.byte_sources import Buffer


_PIECE = 1 << 20
"""How many bytes of a file are read at a time."""


class LocalStorage(Storage):
    """The files below a folder."""

    is_remote = False
    requests_at_once = 1  # a look at a file takes less time than a thread
    is_shared = False

    def __init__(self, root: str, access: BucketAccess) -> None:
        super().__init__(root, access)
        self._files = OpenFiles(self.path(""), count_open_files())

    def path(self, name: str) -> Path:
        """Return the path of `name` without scheme and `~`."""
        return local_path(self.join(name))

    def absolute(self) -> LocalStorage:
        return LocalStorage(str(self.path("").absolute()), self.access)

    def renewed(self) -> LocalStorage:
        return LocalStorage(self.root, self.access)  # open files are of the groups that were read

    def source(self, relpath: str) -> LocalSource:
        return LocalSource(self.path(relpath), self._files, self.access.document_bytes)

    def open_zarr(self, relpath: str = "", *, read_only: bool = True) -> StorePath:
        from zarr.storage import LocalStore, StorePath  # noqa: PLC0415  0.4 s, and only the fallback needs it

        return StorePath(LocalStore(self.path(relpath), read_only=read_only))

    def stamp(self, name: str) -> str | None:
        found = self._ask("read", name, lambda name: self.path(name).stat())
        return None if found is None else f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"

    def check_file(self, name: str, most_bytes: int | None) -> None:
        path = str(self.path(name))
        if not os.path.lexists(path):
            return
        if most_bytes is None:
            data, _ = self._files.read_document(path, self.access.document_bytes)
            check_density(data, METADATA_BYTES_A_VALUE)
            return
        with os.fdopen(self._files.open_once(path), "rb") as file:
            nbytes = os.fstat(file.fileno()).st_size
        if nbytes > most_bytes:
            raise DataDamaged(f"{path} has {nbytes:,} bytes, and a chunk of its array {most_bytes:,} at most.")

    @contextlib.contextmanager
    def new_folder(self, above: str) -> Iterator[Path]:
        root = self.path("")
        folder = root / above / f"{secrets.token_hex(8)}.zarr"  # which prune finds, should this process be killed
        made_root = not root.exists()
        maybe_empty = [each for each in folder.parents if each.is_relative_to(root) and (made_root or each != root)]
        with translated_errors("made", str(folder)):
            _make_folder(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                for each in maybe_empty:
                    each.rmdir()

    def _get(self, name: str) -> bytes:
        return self._files.read_document(str(self.path(name)), self.access.document_bytes)[0]

    def _get_range(self, name: str, start: int, nbytes: int, stamp: str) -> Buffer:
        del stamp
        with self.path(name).open("rb") as file:
            file.seek(start)
            return file.read(nbytes)

    def _stream(self, name: str) -> Iterator[Buffer]:
        with self.path(name).open("rb") as file:
            while data := file.read(_PIECE):
                yield data

    def _put(self, name: str, data: bytes, *, durable: bool) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data, durable=durable)

    def _move_in(self, folder: Path, path: str, last: str) -> None:
        del last
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        folder.replace(place)

    def _delete(self, names: Sequence[str]) -> None:
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def _delete_tree(self, path: str) -> None:
        place = self.path(path)
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)

    def _list(self, folder: str) -> Iterator[tuple[str, bool]]:
        with os.scandir(self.path(folder)) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder or entry.is_file():
                    yield entry.name, is_folder

    def _find(self, path: str) -> Iterator[ObjectInfo]:
        root, top = self.path(""), self.path(path)
        files = [Path(above, name) for above, _, names in os.walk(top) for name in names]
        for file in files or [top]:  # an empty folder has an age, too
            with contextlib.suppress(FileNotFoundError):
                # The bytes are those that a read gives; a link is as old as itself.
                found = file_info(str(file.relative_to(root)), file.lstat())
                yield found._replace(nbytes=file.stat().st_size if file.is_file() else 0)

    def _info(self, path: str) -> ObjectInfo:
        return file_info(path, self.path(path).stat())


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, which another process may be removing since they are empty."""
    for _ in range(100):
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True)
            return
    folder.mkdir(parents=True)


def replace_file(path: Path, *parts: Buffer, durable: bool = False) -> None:
    """Write a file by a temporary neighbour and a rename: a reader sees the old bytes or the new, after a crash too.

    A `durable` one survives a loss of power from then on.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.writelines(parts)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def file_info(path: str, status: os.stat_result) -> ObjectInfo:
    """Return what the status of the file at `path` below the root tells."""
    # Without the inode, which some network file systems give anew.
    return ObjectInfo(path, status.st_size, status.st_mtime, str(status.st_mtime_ns))
