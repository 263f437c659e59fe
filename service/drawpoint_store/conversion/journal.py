"""The journal of a conversion: its finished samples, so that an interrupted conversion goes on where it was.

`<root>/.convert/samples/<digest>.json` holds the entry of a finished sample. The digest is the fingerprint of all that
its bytes depend on: its id, the sizes and times of its files, and the writer's settings. In a local store it is that of
all but the dtypes, so that a conversion with other dtypes finds the arrays that it can keep.
`<root>/.convert/broken/<digest>.json` says why a sample is broken, for the publication of a conversion that is shared.
`<root>/.convert/report-<digest>.json` holds the report of a conversion that is about to publish; the digest is the
fingerprint of the whole conversion. So two conversions into one bucket, where no lock can be held, keep out of each
other's records. The records are removed once the manifest is published, and no bytes of the store depend on them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from drawpoint.format.manifest import SampleEntry
from drawpoint.format.precision import FieldPrecision
from drawpoint_store.storage import LocalStorage, open_storage
from drawpoint_store.writing.lock import JOURNAL_FOLDER
from drawpoint_store.writing.stored_array import read_digest

if TYPE_CHECKING:
    import os
    from collections.abc import Collection

    from drawpoint_store.conversion.sample_conversion import Task

_SAMPLES = f"{JOURNAL_FOLDER}/samples"
_BROKEN = f"{JOURNAL_FOLDER}/broken"
_REPORT = "report-"


class FinishedSample(BaseModel):
    """A sample whose group is written: its entry in the manifest, and the size of its group in bytes.

    `fingerprint` is that of its task, `precision` what the stored dtypes round, by field, and `zero_normals` the number
    of rows that are no normal, by field. `moments` are those of its fields as `Moments.pack` gives them, as far as it
    was measured, and "" for a field that cannot be.
    """

    fingerprint: str
    entry: SampleEntry
    nbytes: int
    precision: dict[str, FieldPrecision] = {}
    zero_normals: dict[str, int] = {}
    moments: dict[str, str] = {}


class BrokenSample(BaseModel):
    """A sample that a share of a conversion could not convert: the reason, and what `Outcome.overflow` says."""

    fingerprint: str
    reason: str
    overflow: tuple[str, str] | None = None


class Journal:
    """The journal of the store at `root`; each of its records is written whole or not at all."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.storage = open_storage(root)

    def add(self, task: Task, finished: FinishedSample) -> None:
        """Record a finished sample."""
        self.storage.write(self._record(task), finished.model_dump_json(exclude_none=True).encode())

    def find(self, task: Task) -> FinishedSample | None:
        """Return the record of a sample that was finished, None if there is none.

        It is of the same fingerprint, or, in a local store, of other dtypes. A group of another size does not count: a
        machine that lost its power may keep a record and lose files. Nor does one of another digest, in a local store:
        a conversion with other settings has written there since, and was interrupted, too.
        """
        data = self.storage.read(self._record(task))
        if data is None:
            return None
        try:
            finished = FinishedSample.model_validate_json(data)
        except ValidationError:  # of another drawpoint
            return None
        relpath, digest = finished.entry.relpath, finished.entry.digest
        if self.storage.count_bytes(relpath) != finished.nbytes:
            return None
        if isinstance(self.storage, LocalStorage):
            held = read_digest(self.storage.path(relpath))
            return finished if held is not None and held.digest == digest else None
        return finished

    def finished_groups(self) -> set[str]:
        """Return the groups of all samples that are recorded, for whatever conversion."""
        found = set()
        for name in self.storage.list(_SAMPLES)[1]:
            data = self.storage.read(f"{_SAMPLES}/{name}")
            with contextlib.suppress(ValidationError):  # of another drawpoint
                found.add(FinishedSample.model_validate_json(data or b"").entry.relpath)
        return found

    def last_change(self) -> float | None:
        """Return when a sample was recorded last, in seconds since 1970; None if there is none."""
        return self.storage.last_change(_SAMPLES)

    def add_broken(self, task: Task, reason: str, overflow: tuple[str, str] | None) -> None:
        """Record that a sample cannot be converted, until it is finished after all."""
        broken = BrokenSample(fingerprint=task.fingerprint, reason=reason, overflow=overflow)
        self.storage.write(self._record(task, _BROKEN), broken.model_dump_json().encode())

    def find_broken(self, task: Task) -> BrokenSample | None:
        """Return what `add_broken` recorded for the same task, None if there is nothing."""
        data = self.storage.read(self._record(task, _BROKEN))
        if data is None:
            return None
        try:
            broken = BrokenSample.model_validate_json(data)
        except ValidationError:  # of another drawpoint
            return None
        return broken if broken.fingerprint == task.fingerprint else None

    def write_report(self, conversion: str, report: str) -> None:
        """Record the report of the conversion with that fingerprint, just before it is published."""
        self.storage.write(_report(conversion), report.encode())

    def has_report(self) -> bool:
        """Tell whether a conversion was interrupted here while it published."""
        return bool(self._reports())

    def read_report(self, conversion: str) -> str | None:
        """Return the report that `write_report` recorded for the same conversion, or None."""
        data = self.storage.read(_report(conversion))
        return None if data is None else data.decode()

    def clear(self, conversion: str, tasks: Collection[Task], *, keep_samples: bool) -> None:
        """Remove the records of a conversion of `tasks`; with `keep_samples`, a local store keeps those of its samples.

        The report goes last: it shows a repeated command that all is done. In a local store, which the conversion has
        locked, the records of earlier conversions go too.
        """
        if self.storage.is_shared:
            held = {f"{_BROKEN}/{name}" for name in self.storage.list(_BROKEN)[1]}  # few, if any
            self.storage.delete([self._record(task) for task in tasks])
            self.storage.delete([broken for task in tasks if (broken := self._record(task, _BROKEN)) in held])
            self.storage.delete([_report(conversion)])
        else:
            self.storage.delete_tree(_BROKEN)
            if not keep_samples:
                self.storage.delete_tree(_SAMPLES)
            self.storage.delete(self._reports())

    def _record(self, task: Task, folder: str = _SAMPLES) -> str:
        # In a bucket, conversions that differ in dtypes alone keep out of each other's records, too.
        name = task.fingerprint if self.storage.is_shared else task.common
        return f"{folder}/{name[:32]}.json"

    def _reports(self) -> list[str]:
        names = self.storage.list(JOURNAL_FOLDER)[1]
        return [f"{JOURNAL_FOLDER}/{name}" for name in names if name.startswith(_REPORT)]


def fingerprint(*facts: Any) -> str:
    """Return a digest of JSON-able facts: equal facts give equal digests."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _report(conversion: str) -> str:
    return f"{JOURNAL_FOLDER}/{_REPORT}{conversion[:32]}.json"
