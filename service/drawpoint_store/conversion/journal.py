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
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from drawpoint.format.manifest import SampleEntry  # noqa: TC001  pydantic reads the annotation at run time
from drawpoint_store.storage import open_storage
from drawpoint_store.writing.field_arrays import Underflow  # noqa: TC001  as above
from drawpoint_store.writing.lock import JOURNAL_FOLDER

if TYPE_CHECKING:
    import os
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

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.storage = open_storage(root)

    def is_begun(self) -> bool:
        """Tell whether a conversion was interrupted here after it had finished a sample."""
        return any(name.endswith(".json") for name in self.storage.list(_SAMPLES)[1])

    def add(self, sample_id: str, finished: Finished) -> None:
        """Record a finished sample."""
        name = _record(sample_id, finished.fingerprint)
        self.storage.write(name, finished.model_dump_json(exclude_none=True).encode())

    def find(self, sample_id: str, fingerprint: str) -> Finished | None:
        """Return the sample as it was finished under the same fingerprint, None if it was not.

        A group of another size is not finished: a machine that lost its power may keep a record and lose files.
        """
        data = self.storage.read(_record(sample_id, fingerprint))
        if data is None:
            return None
        try:
            finished = Finished.model_validate_json(data)
        except ValidationError:  # of another drawpoint
            return None
        if finished.fingerprint != fingerprint:
            return None
        return finished if self.storage.count_bytes(finished.entry.relpath) == finished.nbytes else None

    def write_report(self, conversion: str, report: str) -> None:
        """Record what will be reported of the conversion with that fingerprint, just before it is published."""
        self.storage.write(_report(conversion), report.encode())

    def has_report(self) -> bool:
        """Tell whether a conversion was interrupted here while it published."""
        return bool(self._reports())

    def read_report(self, conversion: str) -> str | None:
        """Return what `write_report` recorded for the same conversion, None if there is no such record."""
        data = self.storage.read(_report(conversion))
        return None if data is None else data.decode()

    def clear(self, conversion: str, tasks: Collection[Task]) -> None:
        """Remove the records of a conversion of `tasks`.

        The report goes last: it tells a repeated command that all is done. A local store, which the conversion has
        locked, keeps nothing of earlier ones either.
        """
        if self.storage.is_shared:
            self.storage.delete([_record(task.sample_id, task.fingerprint) for task in tasks])
            self.storage.delete([_report(conversion)])
        else:
            self.storage.delete_tree(_SAMPLES)
            self.storage.delete(self._reports())

    def _reports(self) -> list[str]:
        names = self.storage.list(JOURNAL_FOLDER)[1]
        return [f"{JOURNAL_FOLDER}/{name}" for name in names if name.startswith(_REPORT)]


def fingerprint(*facts: Any) -> str:
    """Return a digest of JSON-able facts: equal facts give equal digests."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _record(sample_id: str, fingerprint: str) -> str:
    return f"{_SAMPLES}/{hashlib.sha256(f'{fingerprint} {sample_id}'.encode()).hexdigest()[:32]}.json"


def _report(conversion: str) -> str:
    return f"{JOURNAL_FOLDER}/{_REPORT}{conversion[:32]}.json"
