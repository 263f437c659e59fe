"""The scratch: a folder of this machine for the files of a few samples, of a bounded number of bytes."""

from __future__ import annotations

import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.scratch.sample_copy import STOP_SECONDS, SampleFetch, check_stop
from drawpoint_store.storage.temporary_folder import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from drawpoint_store.conversion.scratch.sample_copy import SampleCopy, WantedFile
    from drawpoint_store.storage import Storage

_MOST_FETCHES = 3
"""How often a sample is fetched whose files change meanwhile; then it is broken."""


@dataclass
class _Entry:
    """A sample that is here, or on its way: who holds it, and the room that it takes."""

    folder: Path
    holders: int = 1
    nbytes: int = 0
    copy: SampleCopy | None = None


class Scratch:
    """Holds copies of samples, `most_bytes` of them at most, in a folder that is removed with this object.

    `folder` is where it lies, unless given that of temporary files (TMPDIR). `most_bytes` is, unless given, half of
    what is free there: the store may be written to the same disk. All threads of a process may share one; pickled it is
    another one of the same settings. `peak` is the most bytes that were taken at a time.
    """

    def __init__(self, folder: Path | None = None, most_bytes: int | None = None) -> None:
        self.folder = folder
        self.given_bytes = most_bytes
        self.peak = 0
        self._entries: dict[str, _Entry] = {}
        self._changed = threading.Condition()
        self._closing = ExitStack()
        self._root: Path | None = None
        self._count = 0
        self._most: int | None = most_bytes
        weakref.finalize(self, self._closing.close)  # at the end of the process, too

    def __reduce__(self) -> tuple[type[Scratch], tuple[Path | None, int | None]]:
        return type(self), (self.folder, self.given_bytes)

    @property
    def most_bytes(self) -> int:
        """The most bytes that copies take."""
        with self._changed:
            if self._most is None:
                self._most = shutil.disk_usage(self._place()).free // 2
            return self._most

    def hold(
        self,
        sample_id: str,
        storage: Storage,
        wanted: Sequence[WantedFile],
        stop: threading.Event | None = None,
        *,
        lazily: bool = False,
    ) -> SampleCopy:
        """Return a copy of the files of a sample, which stays until `release` is called as often.

        Unless it is there already, it may be made `lazily`: for who looks at the beginnings of files alone.
        Waits until there is room. Whoever waits holds no other sample that nobody else will release. Raises
        InvalidSample for a sample that is larger than the scratch, whose files are gone or change every time, and
        StoreUnreadable where the storage does not answer, there is no room on the disk, or `stop` is set meanwhile.
        """
        stop = stop or threading.Event()
        check_stop(stop)
        with self._changed:
            while (entry := self._entries.get(sample_id)) is not None and entry.copy is None:
                self._wait(stop)  # another thread fetches it
            if entry is not None and entry.copy is not None:
                entry.holders += 1
                return entry.copy
            self._count += 1
            entry = self._entries[sample_id] = _Entry(self._place() / str(self._count))
        try:
            copy = self._fetch(entry, storage, wanted, stop, lazily=lazily)
        except BaseException:
            self._drop(sample_id)
            raise
        with self._changed:
            entry.copy = copy
            self._changed.notify_all()
        return copy

    def release(self, sample_id: str, *, keep: bool = False) -> None:
        """Let go of a copy; when nobody holds it any more, it is removed, or with `keep` stays while there is room."""
        with self._changed:
            entry = self._entries.get(sample_id)
            if entry is None:  # it is held in another process
                return
            entry.holders -= 1
            is_free = not entry.holders
            keep = keep and entry.copy is not None and not entry.copy.is_lazy
            self._changed.notify_all()
        if is_free and not keep:
            self._drop(sample_id)

    def _fetch(
        self, entry: _Entry, storage: Storage, wanted: Sequence[WantedFile], stop: threading.Event, *, lazily: bool
    ) -> SampleCopy:
        with ThreadPoolExecutor(storage.requests_at_once, thread_name_prefix="fetch") as pool:
            fetch = SampleFetch(storage, wanted, entry.folder, pool, stop)
            for _ in range(_MOST_FETCHES):
                # Until it is known what is needed, room for all is.
                self._reserve(entry, min(fetch.nbytes, self.most_bytes), stop)
                try:
                    fetch.plan()
                    self._reserve(entry, fetch.nbytes_planned, stop)
                    with self._changed:
                        self.peak = max(self.peak, self._used)
                    return fetch.make_copy(lazily=lazily)
                except InvalidSample:
                    if not fetch.have_changed():
                        raise
                    fetch.look()
                    shutil.rmtree(entry.folder, ignore_errors=True)
                    self._reserve(entry, 0, stop)
        raise InvalidSample(
            f"its files were written again while they were fetched, {_MOST_FETCHES} times; convert it when they are "
            "complete"
        )

    def _reserve(self, entry: _Entry, nbytes: int, stop: threading.Event) -> None:
        """Wait until there is room for so many bytes of a sample, those that it has included."""
        if nbytes > self.most_bytes:
            raise InvalidSample(
                f"its files take {nbytes:,} bytes, and the scratch {self.most_bytes:,}: give more --scratch-bytes, and "
                "with --scratch a folder that has them"
            )
        with self._changed:
            while self._used - entry.nbytes + nbytes > self.most_bytes:
                unheld = next((name for name, each in self._entries.items() if not each.holders), None)
                if unheld is None:
                    self._wait(stop)
                else:
                    self._remove_entry(unheld)
            entry.nbytes = nbytes

    @property
    def _used(self) -> int:
        return sum(entry.nbytes for entry in self._entries.values())

    def _wait(self, stop: threading.Event) -> None:
        self._changed.wait(STOP_SECONDS)
        check_stop(stop)

    def _drop(self, sample_id: str) -> None:
        with self._changed:
            self._remove_entry(sample_id)

    def _remove_entry(self, sample_id: str) -> None:
        entry = self._entries.pop(sample_id, None)
        if entry is not None:
            shutil.rmtree(entry.folder, ignore_errors=True)
        self._changed.notify_all()

    def _place(self) -> Path:
        if self._root is None:
            self._root = self._closing.enter_context(temporary_folder(self.folder))
        return self._root
