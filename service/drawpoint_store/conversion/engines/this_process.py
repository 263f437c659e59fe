"""One sample after the other, converted in this process."""

from __future__ import annotations

from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING

from drawpoint_store.conversion.engines.prefetch import prefetched

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from drawpoint_store.conversion.sample_conversion import Notify, Outcome, SampleConverter, Task


def run_here(tasks: Sequence[Task], converter: SampleConverter, notify: Notify | None = None) -> Generator[Outcome]:
    """Yield the outcomes in the order of the tasks; raises what SampleConverter raises."""
    ready: SimpleQueue[Task | Future[Outcome]] = SimpleQueue()
    with prefetched(tasks, converter, lambda task, _: ready.put(task), ready.put, ahead=1) as release:
        for _ in tasks:
            task = ready.get()
            # The copy is in the scratch of this process, where the source finds it.
            outcome = task.result() if isinstance(task, Future) else converter.convert(task, notify)
            release(outcome.sample_id)
            yield outcome
