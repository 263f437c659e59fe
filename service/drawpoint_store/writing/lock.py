"""The lock of a local store: one conversion, upgrade or pruning at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
from typing import TYPE_CHECKING, TextIO

from drawpoint.errors import StoreExists
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.storage.locations import is_remote, local_path
from drawpoint_store.writing.worker_permit import end_workers

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
def lock_store(root: str | os.PathLike[str]) -> Iterator[bool]:
    """Hold the local store at `root` against other conversions, and tell whether it is held; in a bucket it is not.

    There are no locks in buckets, and on file systems without flock; then nothing is held. The lock ends
    with the process, however that ends. Raises StoreExists where another process holds it, or workers of one that was
    killed go on.
    """
    if is_remote(root):
        yield False
        return
    place = local_path(root)
    folder, made = place / JOURNAL_FOLDER, not place.exists()
    with _locked(folder, _LOCK, fcntl.LOCK_EX, f"another conversion is writing to {root}") as held:
        # Left by a process that was killed while it wrote the manifest or the report, or while it had a share.
        strays = (place.glob(f".{StoreManifest.MANIFEST_NAME}.*.tmp"), folder.glob(".*.tmp"), folder.glob(f"{_LOCK}-*"))
        for stray in itertools.chain(*strays):
            stray.unlink(missing_ok=True)
        end_workers(folder, alone=True)
        try:
            yield held
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
        _locked(folder, _LOCK, fcntl.LOCK_SH, f"a conversion that is no share is writing to {root}"),
        _locked(folder, name, fcntl.LOCK_EX, f"another process converts share {share} into {root}"),
    ):
        end_workers(folder, alone=False)
        try:
            yield
        finally:
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path, name: str, kind: int, problem: str) -> Iterator[bool]:
    """Hold the lock file in `folder`, and tell whether the file system knows locks.

    Raises StoreExists with the `problem` where another process holds it.
    """
    path = folder / name
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = path.open("w")
        except (FileNotFoundError, FileExistsError):
            if folder.exists():
                raise
            continue  # the conversion that ended meanwhile has removed the folder
        with file:
            held = True
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreExists(
                    f"{problem}; wait for its end, or write elsewhere.", store=str(folder.parent)
                ) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                held = False
            # Its last holder may have removed the file since it was opened here; others would then lock a new one.
            if held and not _is_at(file, path):
                continue
            yield held
            return


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove_if_unused(place: Path, *, made: bool) -> None:
    folder = place / JOURNAL_FOLDER
    with contextlib.suppress(OSError):  # the lock of the next conversion may be in there
        if [path.name for path in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()
    if made:
        with contextlib.suppress(OSError):
            place.rmdir()
