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
    """Give an empty folder in `above`, or else where temporary files lie (TMPDIR); see `locked_folder`.

    Raises StoreUnreadable where no folder can be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            if above is not None:
                above.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(locked_folder(above or Path(tempfile.gettempdir())))
        except OSError as error:
            raise StoreUnreadable(
                f"no folder for temporary files can be made{f' in {above}' if above else ''}: "
                f"{error.strerror or error}; set TMPDIR to one that is writable."
            ) from None
        yield folder


@contextlib.contextmanager
def locked_folder(above: Path) -> Iterator[Path]:
    """Give an empty folder in `above`, and remove it at the end.

    A lock on it shows that its process lives, and ends with it however that ends. Those that nobody holds any more, of
    this user and this machine, are removed first. Raises OSError where no folder can be made.
    """
    remove_abandoned(above)
    folder, lock = _make_locked(above)
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


def remove_abandoned(above: Path) -> None:
    """Remove the folders in `above` that processes of this user and this machine made, and nobody holds any more."""
    try:
        folders = list(above.iterdir())
    except FileNotFoundError:
        return
    for folder in folders:
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
