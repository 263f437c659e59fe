"""A task on its way to a worker that this process has not started: what it needs, and what it has to agree with."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drawpoint.errors import DrawpointError
from drawpoint_store.storage import LocalStorage
from drawpoint_store.writing.group import versions
from drawpoint_store.writing.lock import JOURNAL_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from drawpoint_store.conversion.sample_conversion import Outcome, SampleConverter, Task
    from drawpoint_store.storage import Storage
    from drawpoint_store.writing.worker_permit import WorkerPermit


@dataclass(frozen=True, slots=True)
class Assignment:
    """A task and what converts it, for a process that sees the same files; `versions` are those that it must have."""

    task: Task
    converter: SampleConverter
    permit: WorkerPermit
    versions: Mapping[str, str]

    @classmethod
    def of(cls, task: Task, converter: SampleConverter, permit: WorkerPermit) -> Assignment:
        """Return the assignment of one task; the converter is narrowed to it."""
        narrow = replace(converter.only(task.sample_id), quiet_seconds=0)  # it is asked before each field
        return cls(task, narrow, permit, versions())

    def convert(self, check: Callable[[], object] = lambda: None) -> Outcome:
        """Convert the sample; `check` is called before each field, and ends this by what it raises.

        Raises DrawpointError where other versions might write other bytes, and if the conversion has ended.
        """

        def go_on(_: str) -> None:
            self.permit.check()
            check()

        self._check_versions()
        with self.permit.hold():
            return self.converter.convert(self.task, go_on)

    def _check_versions(self) -> None:
        here = versions()
        for name, version in self.versions.items():
            if here[name] != version:
                raise DrawpointError(
                    f"the worker {os.getpid()} of {platform.node()} has {name} {here[name]}, and the conversion "
                    f"{version}, which may write other bytes: install the same versions everywhere."
                )


def convert_assignment(assignment: Assignment) -> Outcome:
    """Convert the sample of an assignment, in a process of an executor."""
    return assignment.convert()


def journal_folder(storage: Storage) -> Path | None:
    """Return the folder of a local store's journal, None for another store."""
    return storage.absolute().path(JOURNAL_FOLDER) if isinstance(storage, LocalStorage) else None
