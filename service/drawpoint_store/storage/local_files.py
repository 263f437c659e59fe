"""Files of a store on local disk, opened so that whoever can write the store cannot lead its readers elsewhere."""

from __future__ import annotations

import errno
import os
import stat

from drawpoint.errors import DataDamaged

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""O_NONBLOCK: opening a FIFO returns at once, so that it can be refused; reads of regular files ignore it."""


class LocalRoot:
    """The folder that every file of a store lies in; the folder itself may be a link.

    A link below it is followed where it leads to a regular file inside the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._real = os.path.realpath(self.path)

    def open(self, path: str) -> int:
        """Return a descriptor of the regular file at `path`, which begins with the root's path.

        Raises FileNotFoundError or another OSError where it cannot be opened or is a folder, and DataDamaged for a
        device, a FIFO, a socket, and a link that leaves the root.
        """
        descriptor = os.open(path, _OPEN_FLAGS)
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            os.close(descriptor)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            reason = "is no regular file"
        elif not self._holds(descriptor, path):
            reason = f"leads out of {self.path} by a link"
        else:
            return descriptor
        os.close(descriptor)
        raise DataDamaged(f"{path} {reason}, so it is not read; put the file itself in its place.")

    def _holds(self, descriptor: int, path: str) -> bool:
        # What was opened decides, where the system tells its path (Linux): the name may lead elsewhere by now.
        try:
            opened = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115  a Path would cost more than the call
        except OSError:
            opened = os.path.realpath(path)
        if _is_inside(opened, self._real):
            return True
        self._real = os.path.realpath(self.path)  # the root may be a link that leads to another folder by now
        return _is_inside(os.path.realpath(path), self._real)


def _is_inside(path: str, folder: str) -> bool:
    return path.startswith(folder if folder.endswith("/") else f"{folder}/")
