"""What a conversion has finished, beside the store it writes, so that an interrupted one goes on where it was.

`<root>/.convert/samples/<digest>.json` holds the entry of a finished sample. It is named by the sample's id and the
fingerprint of what its bytes depend on: the sources' sizes and times, and the writer's parameters.
`<root>/.convert/report-<digest>.json` says what the manifest's publication completes, and is named by the fingerprint
of the whole conversion. So two conversions into one bucket, where no lock can be held, keep out of each other's
records. What a conversion recorded is removed once its manifest is published, and no bytes of the store depend on it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from zarr.core.sync import sync

from drawpoint.format.manifest import SampleEntry  # noqa: TC001  pydantic reads the annotation at run time
from drawpoint_store.storage import objects as stores
from drawpoint_store.storage.locations import is_remote, local_path
from drawpoint_store.writing.field_arrays import Underflow  # noqa: TC001  as above
from drawpoint_store.writing.lock import JOURNAL_FOLDER

if TYPE_CHECKING:
    from collections.abc import Collection

    from drawpoint_store.conversion.workers import Task

_SAMPLES = f"{JOURNAL_FOLDER}/samples"
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
        return any(name.startswith(_REPORT) for name in stores.list_names(self.root, JOURNAL_FOLDER))

    def read_report(self, conversion: str) -> str | None:
        """Return what `write_report` recorded for the same conversion, None if there is no such record."""
        data = stores.read_bytes(self.root, _report(conversion))
        return None if data is None else data.decode()

    def clear(self, conversion: str, tasks: Collection[Task]) -> None:
        """Remove the records of a conversion of `tasks`.

        The report goes last: it tells a repeated command that all is done. A local store, which the conversion has
        locked, keeps nothing of earlier ones either.
        """
        if is_remote(self.root):
            stores.delete(self.root, [_record(task.sample_id, task.fingerprint) for task in tasks])
            stores.delete(self.root, [_report(conversion)])
            return
        folder = local_path(stores.join(self.root, JOURNAL_FOLDER))
        shutil.rmtree(folder / "samples", ignore_errors=True)
        for report in folder.glob(f"{_REPORT}*"):
            report.unlink()


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
    return f"{JOURNAL_FOLDER}/{_REPORT}{conversion[:32]}.json"
