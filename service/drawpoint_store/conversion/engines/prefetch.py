"""The samples that come next, fetched while others are converted."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.sources.recipe_source import RecipeSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from drawpoint_store.conversion.sample_conversion import Outcome, SampleConverter, Task
    from drawpoint_store.conversion.scratch.sample_copy import SampleCopy

    Begin = Callable[[Task, SampleCopy | None], object]
    End = Callable[[Future[Outcome]], object]


@contextlib.contextmanager
def prefetched(
    tasks: Sequence[Task], converter: SampleConverter, begin: Begin, end: End, *, ahead: int
) -> Iterator[Callable[[str], None]]:
    """Give each task to `begin` when its sample is on this machine, and yield what lets go of a sample by its id.

    Of a source that lies elsewhere, samples are fetched in their order by a thread: those that `ahead` workers
    convert, and one more, as far as the scratch has room. `end` is told of tasks that never begin: their sample was
    finished by an interrupted run, or cannot be fetched. An error ends the fetching, and is the last that it is told.
    """
    source = converter.source
    if not (isinstance(source, RecipeSource) and source.is_remote):
        for task in tasks:
            begin(task, None)
        yield lambda _: None
        return
    fetching = _Fetching(converter, source, begin, end, ahead + 1)
    thread = threading.Thread(target=fetching.run, args=(tasks,), name="prefetch")
    thread.start()
    try:
        yield fetching.release
    finally:
        fetching.stop()
        thread.join()
        fetching.release_all()


class _Fetching:
    """Fetches samples in order, as many at a time as are let go of."""

    def __init__(self, converter: SampleConverter, source: RecipeSource, begin: Begin, end: End, most: int) -> None:
        self._converter = converter
        self._source = source
        self._begin = begin
        self._end = end
        self._room = threading.Semaphore(most)
        self._stop = threading.Event()
        self._fetched: dict[str, Task] = {}

    def run(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            future: Future[Outcome] = Future()
            try:
                outcome = self._converter.find(task) or self._fetch(task)
            except BaseException as error:  # noqa: BLE001  it is raised where the outcomes are waited for
                future.set_exception(error)
                self._end(future)
                return
            if outcome is not None:
                future.set_result(outcome)
                self._end(future)

    def release(self, sample_id: str) -> None:
        """Let go of a sample, if it was fetched."""
        task = self._fetched.pop(sample_id, None)
        if task is not None:
            self._source.scratch.release(sample_id, keep=task.probe)
            self._room.release()

    def release_all(self) -> None:
        """Let go of all samples."""
        for sample_id in list(self._fetched):
            self.release(sample_id)

    def stop(self) -> None:
        """End what is being fetched, and fetch nothing any more."""
        self._stop.set()
        self._room.release()

    def _fetch(self, task: Task) -> Outcome | None:
        """Fetch a sample and begin its task, or return the outcome of one that cannot be fetched."""
        self._room.acquire()
        try:
            copy = self._source.fetch(task.sample_id, self._stop)
        except InvalidSample as error:
            self._room.release()
            return self._converter.broken(task.sample_id, error)
        self._fetched[task.sample_id] = task
        self._begin(task, copy)
        return None
