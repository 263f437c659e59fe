"""Folders for temporary files, which are removed even if their process is killed: then by the next that makes one."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from drawpoint.errors import StoreUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
"""The locks of another machine may not be seen on a file system that both have."""

_NAME = re.compile(rf"\.drawpoint-{_HOST}-[0-9a-f]{{16}}")


@contextlib.contextmanager
def temporary_folder(above: Path | None = None) -> Iterator[Path]:
    """Give an empty folder in `above`, or else where temporary files lie (TMPDIR), and remove it at the end.

    A lock on it shows that its process lives, and ends with it however that ends. Those that nobody holds any more, of
    this user and this machine, are removed first. Raises StoreUnreadable where no folder can be made.
    """
    try:
        if above is not None:
            above.mkdir(parents=True, exist_ok=True)
        place = above or Path(tempfile.gettempdir())
        _remove_abandoned(place)
        folder, lock = _make_locked(place)
    except OSError as error:
        raise StoreUnreadable(
            f"no folder for temporary files can be made{f' in {above}' if above else ''}: {error.strerror or error}; "
            "set TMPDIR to one that is writable."
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _make_locked(above: Path) -> tuple[Path, int | None]:
    """Return a new folder, and the descriptor that holds its lock: None of a file system without locks on folders."""
    while True:
        folder = above / f".drawpoint-{_HOST}-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            return folder, _lock(folder)
        except (BlockingIOError, FileNotFoundError):
            continue  # another process has taken it for an abandoned one
        except OSError:
            return folder, None


def _remove_abandoned(above: Path) -> None:
    for folder in above.iterdir():
        if not _NAME.fullmatch(folder.name):
            continue
        with contextlib.suppress(OSError):  # where another process holds it, another user owns it, or nothing is locked
            lock = _lock(folder)
            try:
                if os.fstat(lock).st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _lock(folder: Path) -> int:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder.stat()  # it may be gone since it was opened
    except OSError:
        os.close(lock)
        raise
    return lock
