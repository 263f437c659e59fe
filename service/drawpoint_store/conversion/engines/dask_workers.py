"""The workers of a Dask cluster, behind the executor that its client gives."""

from __future__ import annotations

import itertools
import secrets
import sys
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from drawpoint.errors import DrawpointError
from drawpoint_store.conversion.engines.any_executor import ExecutorWorkers

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from distributed import Client, Worker

    from drawpoint_store.conversion.engines.assignment import Assignment
    from drawpoint_store.conversion.sample_conversion import Outcome

_LOOK_SECONDS = 0.2
"""So often it is asked whether workers have stopped."""


def is_of_dask(executor: Executor) -> bool:
    """Tell whether this is what `client.get_executor()` of distributed returns, which is not imported for that."""
    module = sys.modules.get("distributed.cfexecutor")
    return module is not None and isinstance(executor, module.ClientExecutor)


class DaskWorkers(ExecutorWorkers):
    """The workers of a Dask cluster.

    Its executor does not tell which tasks have begun, and drops those that are cancelled while workers go on with them:
    here the workers themselves look, and are asked.
    """

    executor: Any  # which takes options of Dask

    def __init__(self, executor: Executor) -> None:
        super().__init__(executor)
        self._client: Client = self.executor._client  # noqa: SLF001  it has no other name
        self._numbers = itertools.count()
        self._group = f"convert-{secrets.token_hex(4)}"

    def submit(self, assignment: Assignment) -> Future[Outcome]:
        # The dashboard shows the name, `convert`, and of each task its key. The scheduler would give the end of the
        # first task to another one of the same key, hence the number.
        key = (self._group, assignment.task.sample_id, next(self._numbers))
        future: Future[Outcome] = self.executor.submit(convert_on_worker, assignment, key=key, pure=False)
        return future

    def has_killed(self, error: Exception) -> bool:
        from distributed import KilledWorker  # noqa: PLC0415  an executor of Dask is there, and so is this

        return isinstance(error, KilledWorker)

    def find_problem(self) -> str:
        try:
            workers = self._client.scheduler_info()["workers"]
        except OSError:  # if it has ended, the tasks are cancelled
            return "the Dask scheduler does not answer"
        return "" if workers else "the Dask cluster has no workers: waiting for some"

    def wait(self) -> None:
        while self._client.status == "running":
            try:
                at_work = self._client.run(is_converting, self._group, on_error="ignore")
            except OSError:  # the scheduler has ended
                return
            if not any(at_work.values()):
                return
            time.sleep(_LOOK_SECONDS)

    def explain(self, error: Exception) -> str:
        if isinstance(error, CancelledError):
            if self._client.status != "running":
                return "the Dask scheduler has ended, or cannot be reached any more"
            return "its task was cancelled on the Dask cluster"
        return super().explain(error)


def convert_on_worker(assignment: Assignment) -> Outcome:
    """Convert the sample of an assignment, in a worker of Dask: it stops where its client has cancelled it, or died."""
    from distributed import get_worker  # noqa: PLC0415  this runs in a worker of it

    worker = get_worker()
    key = worker.get_current_task()

    def check() -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise DrawpointError("the task was cancelled.")

    return assignment.convert(check)


def is_converting(begin: str, dask_worker: Worker) -> bool:
    """Tell whether a worker is at a task of the conversions whose keys begin like this, cancelled or not."""
    keys = [task.key for task in dask_worker.state.executing]
    return any(isinstance(key, tuple) and str(key[0]).startswith(begin) for key in keys)
