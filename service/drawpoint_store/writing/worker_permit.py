"""The permit of workers that outlive their conversion, such as those of a Dask cluster: they write while it lasts.

The lock of a local store is held by the process that converts. Workers that are no children of it may be amid a sample
when it ends, or have more of them in a queue. So the folder of the journal has two files of each such conversion. The
process holds the lock of `permit-<id>`, and workers write while that file is there; meanwhile they hold that of
`workers-<id>`. The end of the conversion removes the first, and waits for those that hold the second. Where the process
was killed, the next conversion does both.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drawpoint.errors import DrawpointError, StoreExists

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PERMIT, _WORKERS = "permit-", "workers-"

_PATIENCE_SECONDS = 20.0
"""For so long is waited for the workers of a process that was killed: they stop before the next field."""


@dataclass(frozen=True, slots=True)
class WorkerPermit:
    """What allows the workers of one conversion to write; `folder` is None for a store that none is needed for.

    In a bucket a group is named after its content: what a worker writes too late is what is there, or in nobody's way.
    """

    folder: str | None
    name: str

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Have the end of the conversion wait for this worker.

        Raises DrawpointError if it has come already, or where the store is not the one that the conversion writes to.
        """
        if self.folder is None:
            yield
            return
        with contextlib.ExitStack() as held:
            try:
                file = held.enter_context(Path(self.folder, _WORKERS + self.name).open("r+"))  # as NFS asks for
            except FileNotFoundError:
                raise DrawpointError(
                    f"a worker finds nothing of this conversion in {Path(self.folder).parent}: give a STORE_ROOT that "
                    "all workers share, such as a bucket."
                ) from None
            with contextlib.suppress(OSError):  # of a file system without locks
                fcntl.flock(file, fcntl.LOCK_SH)
            self.check()
            yield

    def withdraw(self) -> None:
        """End the conversion for its workers: none begins, and those at work stop before their next field."""
        if self.folder is not None:
            Path(self.folder, _PERMIT + self.name).unlink(missing_ok=True)

    def check(self) -> None:
        """Raise DrawpointError if the conversion has ended."""
        if self.folder is not None and not Path(self.folder, _PERMIT + self.name).exists():
            raise DrawpointError("the conversion that this worker is of has ended.")


@contextlib.contextmanager
def permit_workers(folder: Path | None) -> Iterator[WorkerPermit]:
    """Give the permit for the workers of a conversion; at the end it is withdrawn, and they have stopped.

    `folder` is that of the journal, None of a store that is not local.
    """
    name = secrets.token_hex(8)
    if folder is None:
        yield WorkerPermit(None, name)
        return
    folder.mkdir(parents=True, exist_ok=True)
    unlocked = folder / f".{_PERMIT}{name}.tmp"
    with unlocked.open("w") as file:
        with contextlib.suppress(OSError):  # of a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        unlocked.rename(folder / (_PERMIT + name))  # nobody takes it for one that a killed process left
        workers = folder / (_WORKERS + name)
        workers.touch()
        permit = WorkerPermit(str(folder), name)
        try:
            yield permit
        finally:
            permit.withdraw()
            with contextlib.suppress(FileNotFoundError), workers.open("r+") as held:
                with contextlib.suppress(OSError):
                    fcntl.flock(held, fcntl.LOCK_EX)
                workers.unlink()


def end_workers(folder: Path, *, alone: bool) -> None:
    """Withdraw the permits that killed processes have left in `folder`, and wait until their workers have stopped.

    `alone` tells that the caller holds the lock of the whole store, so that no permit is of anybody else. Raises
    StoreExists if a worker goes on for long.
    """
    ended = [path for path in folder.glob(f"{_PERMIT}*") if _is_abandoned(path)]
    for path in ended:
        path.unlink(missing_ok=True)
    left = folder.glob(f"{_WORKERS}*") if alone else [folder / path.name.replace(_PERMIT, _WORKERS) for path in ended]
    _wait_for(left, folder)


def _is_abandoned(path: Path) -> bool:
    """Tell whether the process that made a permit has ended; where there are no locks, it is not known to have."""
    try:
        with path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _wait_for(left: Iterable[Path], folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for path in left:
        with contextlib.suppress(FileNotFoundError), path.open("r+") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StoreExists(
                            f"workers of a conversion that was killed are still writing to {folder.parent}; they stop "
                            "before their next field: run the command again in a minute.",
                            store=str(folder.parent),
                        ) from None
                    time.sleep(0.05)  # nobody tells of a lock that is free
                except OSError:  # of a file system without locks
                    break
                else:
                    break
            path.unlink(missing_ok=True)
