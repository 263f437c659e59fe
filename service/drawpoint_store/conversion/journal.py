"""What a conversion has finished, beside the store it writes, so that an interrupted one goes on where it was.

`<root>/.convert/samples/<digest>.json` holds the entry of a finished sample. It is named by the sample's id and the
fingerprint of what its bytes depend on: the sources' sizes and times, and the writer's parameters.
`<root>/.convert/report-<digest>.json` says what the manifest's publication completes, and is named by the fingerprint
of the whole conversion. So two conversions into one bucket, where no lock can be held, keep out of each other's
records. What a conversion recorded is removed once its manifest is published, and no bytes of the store depend on it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, TextIO

from pydantic import BaseModel, ValidationError
from zarr.core.sync import sync

from drawpoint.errors import StoreExists
from drawpoint.format.manifest import SampleEntry  # noqa: TC001  pydantic reads the annotation at run time
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.storage import objects as stores
from drawpoint_store.storage.locations import is_remote, local_path
from drawpoint_store.writing.field_arrays import Underflow  # noqa: TC001  as above

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # one of its kind would be msvcrt

FOLDER = ".convert"
_LOCK = "lock"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What flock says on a file system that has none, such as Lustre mounted without it."""

_SAMPLES = f"{FOLDER}/samples"
_REPORT = "report-"


class Finished(BaseModel):
    """A sample whose group is complete: its manifest entry, and the bytes its group takes.

    `underflows` has the fields that lost values which are too small for their dtype.
    """

    fingerprint: str
    entry: SampleEntry
    nbytes: int
    underflows: dict[str, Underflow] = {}


class Journal:
    """The journal of the store at `root`; each of its records is written whole or not at all."""

    def __init__(self, root: str) -> None:
        self.root = root

    def is_begun(self) -> bool:
        """Tell whether a conversion was interrupted here after it had finished a sample."""
        return any(name.endswith(".json") for name in stores.list_names(self.root, _SAMPLES))

    def add(self, sample_id: str, finished: Finished) -> None:
        """Record a finished sample."""
        name = _record(sample_id, finished.fingerprint)
        stores.write_bytes(self.root, name, finished.model_dump_json(exclude_none=True).encode())

    def find(self, sample_id: str, fingerprint: str) -> Finished | None:
        """Return the sample as it was finished under the same fingerprint, None if it was not.

        A group of another size is not finished: a machine that lost its power may keep a record and lose files.
        """
        data = stores.read_bytes(self.root, _record(sample_id, fingerprint))
        if data is None:
            return None
        try:
            finished = Finished.model_validate_json(data)
        except ValidationError:  # of another drawpoint
            return None
        if finished.fingerprint != fingerprint:
            return None
        path = stores.join(self.root, finished.entry.relpath)
        return finished if count_bytes(path) == finished.nbytes else None

    def write_report(self, conversion: str, report: str) -> None:
        """Record what will be reported of the conversion with that fingerprint, just before it is published."""
        stores.write_bytes(self.root, _report(conversion), report.encode())

    def has_report(self) -> bool:
        """Tell whether a conversion was interrupted here while it published."""
        return any(name.startswith(_REPORT) for name in stores.list_names(self.root, FOLDER))

    def read_report(self, conversion: str) -> str | None:
        """Return what `write_report` recorded for the same conversion, None if there is no such record."""
        data = stores.read_bytes(self.root, _report(conversion))
        return None if data is None else data.decode()

    def clear(self, conversion: str, finished: Mapping[str, str]) -> None:
        """Remove what a conversion recorded of its `finished` samples, id -> fingerprint.

        The report goes last, since it is what tells a repeated command that all is done. A local store, which the
        conversion has had to itself, keeps nothing of earlier ones either.
        """
        if is_remote(self.root):
            stores.delete(self.root, [_record(sample_id, mark) for sample_id, mark in finished.items()])
            stores.delete(self.root, [_report(conversion)])
            return
        folder = local_path(stores.join(self.root, FOLDER))
        shutil.rmtree(folder / "samples", ignore_errors=True)
        for report in folder.glob(f"{_REPORT}*"):
            report.unlink()


@contextlib.contextmanager
def lock_store(root: str) -> Iterator[None]:
    """Hold the local store at `root` against other conversions; a store in a bucket is not held.

    Nor is one where there are no locks: on Windows, and on file systems without flock. The lock ends with the process,
    however it ends. Raises StoreExists where another process holds it.
    """
    if is_remote(root):
        yield
        return
    place = local_path(root)
    made = not place.exists()
    with _lock_file(place / FOLDER, root):
        # What a process that was killed while it wrote the manifest or the report has left.
        for stray in (*place.glob(f".{StoreManifest.MANIFEST_NAME}.*.tmp"), *(place / FOLDER).glob(".*.tmp")):
            stray.unlink()
        try:
            yield
        finally:
            _remove_if_unused(place, made=made)


def _lock_file(folder: Path, root: str) -> TextIO:
    """Return the open lock file in `folder`: it is held until it is closed."""
    path = folder / _LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("w")
        except FileNotFoundError:
            if folder.is_dir():
                raise
            continue  # the conversion that ended meanwhile has removed the folder
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who held it may have removed it since it was opened here; others would then hold a file of their own.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except BlockingIOError:
            file.close()
            raise StoreExists(
                f"another conversion is writing to {root}; wait for its end, or write elsewhere.", store=root
            ) from None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return file
            file.close()
            raise
        file.close()


def _remove_if_unused(place: Path, *, made: bool) -> None:
    folder = place / FOLDER
    with contextlib.suppress(OSError):  # the next conversion may have begun, whose lock is then in there
        if [path.name for path in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()
    if made:
        with contextlib.suppress(OSError):
            place.rmdir()


def fingerprint(*facts: Any) -> str:
    """Return a digest of JSON-able facts: equal facts give equal digests."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def count_bytes(path: str) -> int:
    """Return the bytes of all files of a group."""
    if is_remote(path):
        with stores.translated_errors("listed", path):
            size: int = sync(stores.make_store(path, read_only=True).getsize_prefix(""))
        return size
    return sum(file.stat().st_size for file in local_path(path).rglob("*") if file.is_file())


def _record(sample_id: str, fingerprint: str) -> str:
    return f"{_SAMPLES}/{hashlib.sha256(f'{fingerprint} {sample_id}'.encode()).hexdigest()[:32]}.json"


def _report(conversion: str) -> str:
    return f"{FOLDER}/{_REPORT}{conversion[:32]}.json"
