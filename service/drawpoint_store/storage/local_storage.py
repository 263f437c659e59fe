"""The storage of local files."""

from __future__ import annotations

import contextlib
import errno
import filecmp
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
from drawpoint_store.storage.temporary_folder import locked_folder, remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zarr.storage import StorePath

    from drawpoint_store.storage.bucket_access import BucketAccess
    from drawpoint_store.storage.byte_sources import Buffer

_MOVES = 100
"""How often what another process undoes at the same moment is tried again."""


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
        place = root / above
        made_root = not root.exists()
        within = [each for each in (place, *place.parents) if each.is_relative_to(root)]
        with contextlib.ExitStack() as stack:
            stack.callback(_remove_empty, [each for each in within if made_root or each != root])
            with translated_errors("made", str(place)):
                folder = _make_locked_folder(place, stack) / "group.zarr"  # which prune finds, should we be killed
                folder.mkdir()
            yield folder

    def remove_abandoned(self, above: str) -> None:
        """Remove the folders that killed processes of this machine made by `new_folder`."""
        remove_abandoned(self.path(above))

    def _get(self, name: str, most_bytes: int) -> bytes:
        return self._files.read_document(str(self.path(name)), most_bytes)[0]

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
        for _ in range(_MOVES):
            try:
                folder.replace(place)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            else:
                return
            # Without locks, another process may have put the same group there meanwhile, and even have published it.
            if _are_equal(folder, place):
                return
            aside = folder.with_name(f"{secrets.token_hex(8)}.zarr")  # it is removed together with `folder`
            with contextlib.suppress(FileNotFoundError):
                place.replace(aside)
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


def _make_locked_folder(above: Path, stack: contextlib.ExitStack) -> Path:
    """Make a folder, locked until the end of `stack`, in one that another process may be removing since it is empty."""
    for _ in range(_MOVES):
        # mkdir says that a folder exists, too, which is removed before it looks at what is there.
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            above.mkdir(parents=True, exist_ok=True)
            return stack.enter_context(locked_folder(above))
    above.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(locked_folder(above))


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, each of which holds the one before, as far as they are empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _are_equal(folder: Path, other: Path) -> bool:
    """Tell whether two groups hold the same files with the same bytes; both are read where it takes that."""
    names = _files_in(folder)
    if other.is_symlink() or names != _files_in(other):
        return False
    # Metadata are small and differ wherever values do.
    names.sort(key=lambda name: ((folder / name).stat().st_size, name))
    try:
        return all(filecmp.cmp(folder / name, other / name, shallow=False) for name in names)
    except FileNotFoundError:  # it is being removed
        return False


def _files_in(folder: Path) -> list[Path]:
    return sorted(Path(above, name).relative_to(folder) for above, _, names in os.walk(folder) for name in names)


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
