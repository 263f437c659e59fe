"""The lock of a local store: one conversion, upgrade or pruning at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING, TextIO

from drawpoint.errors import StoreExists
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.storage.locations import is_remote, local_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOURNAL_FOLDER = ".convert"
"""The folder below the root that holds the lock, and the journal of a conversion."""

UNFINISHED_FOLDER = f"{JOURNAL_FOLDER}/groups"
"""The folder that groups of a local store are made in."""

_LOCK = "lock"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""The errors of flock on a file system without locks, such as Lustre mounted without them."""


@contextlib.contextmanager
def lock_store(root: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the local store at `root` against other conversions; a store in a bucket is not held.

    There are no locks in buckets, and on file systems without flock; then nothing is held. The lock ends
    with the process, however that ends. Raises StoreExists where another process holds it.
    """
    if is_remote(root):
        yield
        return
    place = local_path(root)
    made = not place.exists()
    with _lock_file(place / JOURNAL_FOLDER, _LOCK, fcntl.LOCK_EX, f"another conversion is writing to {root}"):
        # Left by a process that was killed while it wrote the manifest or the report.
        for stray in (*place.glob(f".{StoreManifest.MANIFEST_NAME}.*.tmp"), *(place / JOURNAL_FOLDER).glob(".*.tmp")):
            stray.unlink()
        try:
            yield
        finally:
            _remove_if_unused(place, made=made)


@contextlib.contextmanager
def lock_share(root: str | os.PathLike[str], share: str) -> Iterator[None]:
    """Hold one share of a conversion into the local store at `root`, beside which other shares may be at work.

    `share` is its number and theirs, such as `3/8`. Otherwise this is `lock_store`, which it keeps out. The folder of
    the lock stays for the other shares: the conversion's publication removes it.
    """
    if is_remote(root):
        yield
        return
    folder, name = local_path(root) / JOURNAL_FOLDER, f"{_LOCK}-{share.replace('/', '-of-')}"
    with (
        _lock_file(folder, _LOCK, fcntl.LOCK_SH, f"a conversion that is no share is writing to {root}"),
        _lock_file(folder, name, fcntl.LOCK_EX, f"another process converts share {share} into {root}"),
    ):
        try:
            yield
        finally:
            (folder / name).unlink(missing_ok=True)


def _lock_file(folder: Path, name: str, kind: int, problem: str) -> TextIO:
    """Return the open lock file in `folder`: it is held until it is closed. Raises StoreExists with the `problem`."""
    path = folder / name
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("w")
        except FileNotFoundError:
            if folder.is_dir():
                raise
            continue  # the conversion that ended meanwhile has removed the folder
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            # Its last holder may have removed the file since it was opened here; others would then lock a new one.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except BlockingIOError:
            file.close()
            raise StoreExists(f"{problem}; wait for its end, or write elsewhere.", store=str(folder.parent)) from None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return file
            file.close()
            raise
        file.close()


def _remove_if_unused(place: Path, *, made: bool) -> None:
    folder = place / JOURNAL_FOLDER
    with contextlib.suppress(OSError):  # the lock of the next conversion may be in there
        if [path.name for path in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()
    if made:
        with contextlib.suppress(OSError):
            place.rmdir()
