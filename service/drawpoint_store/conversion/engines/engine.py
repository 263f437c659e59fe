"""Which processes convert the samples of a conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawpoint_store.conversion.engines.any_executor import ExecutorWorkers, run_on_workers
from drawpoint_store.conversion.engines.dask_workers import DaskWorkers, is_of_dask
from drawpoint_store.conversion.engines.this_process import run_here
from drawpoint_store.conversion.engines.worker_processes import run_in_processes

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from concurrent.futures import Executor

    from drawpoint_store.conversion.sample_conversion import Notify, Outcome, SampleConverter, Task


def run_tasks(
    tasks: Sequence[Task],
    converter: SampleConverter,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    notify: Notify | None = None,
) -> Generator[Outcome]:
    """Yield the outcome of each task as it comes, whatever converts it; to be closed if it is not read to its end.

    That is the `executor`, if there is one, else `workers` processes, or this process for one worker or one task.
    `notify` is told of the work within samples that take long, but of an executor only what it waits for. Raises
    DrawpointError if a worker process dies, and what SampleConverter raises.
    """
    if executor is not None:
        workers_of = DaskWorkers if is_of_dask(executor) else ExecutorWorkers
        yield from run_on_workers(tasks, converter, workers_of(executor), notify)
    elif min(workers, len(tasks)) > 1:
        yield from run_in_processes(tasks, converter, min(workers, len(tasks)), notify)
    else:
        yield from run_here(tasks, converter, notify)
