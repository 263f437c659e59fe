"""Any executor of `concurrent.futures`: threads, processes, loky, or the workers of a Dask cluster."""

from __future__ import annotations

from concurrent.futures import wait
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING

from drawpoint.errors import DrawpointError
from drawpoint_store.conversion.sample_conversion import GO_ON

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from concurrent.futures import Executor, Future

    from drawpoint_store.conversion.sample_conversion import Outcome, SampleConverter, Task

_AHEAD = 1024
"""How many tasks an executor has at most: enough for any cluster, and a bound of what their pickles take."""


def run_in_executor(tasks: Sequence[Task], converter: SampleConverter, executor: Executor) -> Generator[Outcome]:
    """Yield the outcomes as they come; closing the generator cancels the tasks that have not begun.

    Raises DrawpointError where the executor fails, or where what a worker has written is not to be seen from here.
    """
    left = iter(tasks)
    ended: SimpleQueue[Future[Outcome]] = SimpleQueue()
    running: dict[Future[Outcome], Task] = {}

    def submit(most: int) -> None:
        for task in islice(left, most):
            of_sample = converter.only(task.sample_id)
            try:
                future = executor.submit(convert_task, of_sample, task)
            except Exception as error:
                raise _failed(task, error) from error
            running[future] = task
            future.add_done_callback(ended.put)

    try:
        submit(_AHEAD)
        while running:
            future = ended.get()
            task = running.pop(future)
            submit(1)
            yield _result(future, task, converter)
    finally:
        for future in running:
            future.cancel()
        wait(running)  # a worker that has begun goes on writing, which the store's lock must cover


def convert_task(converter: SampleConverter, task: Task) -> Outcome:
    """Convert one sample, in a process of the executor."""
    return converter.convert(task)


def _result(future: Future[Outcome], task: Task, converter: SampleConverter) -> Outcome:
    try:
        outcome = future.result()
    except DrawpointError:
        raise
    except Exception as error:
        raise _failed(task, error) from error
    if outcome.finished is not None and converter.journal.find(task) is None:
        raise DrawpointError(
            f"a worker has converted sample {task.sample_id!r}, and this process finds nothing of it in "
            f"{converter.writer.store_root}: give a STORE_ROOT that all workers share, such as a bucket."
        )
    return outcome


def _failed(task: Task, error: Exception) -> DrawpointError:
    """Return what is raised for an error that is not of the sample; each executor has its own for a dead worker."""
    reason = f"{type(error).__name__}: {str(error).rstrip('.')}"
    return DrawpointError(f"the executor failed at sample {task.sample_id!r}: {reason}; {GO_ON}.")
