"""Any executor of `concurrent.futures`: threads, processes, loky, or the workers of a Dask cluster."""

from __future__ import annotations

from concurrent.futures import wait
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from drawpoint.errors import DrawpointError
from drawpoint_store.conversion.engines.assignment import Assignment, convert_assignment, journal_folder
from drawpoint_store.conversion.sample_conversion import GO_ON, Outcome
from drawpoint_store.writing.worker_permit import permit_workers

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Sequence
    from concurrent.futures import Executor, Future

    from drawpoint_store.conversion.sample_conversion import Notify, SampleConverter, Task
    from drawpoint_store.writing.worker_permit import WorkerPermit

_AHEAD = 1024
"""How many tasks an executor has at most: enough for any cluster, and a bound of what their pickles take."""

_LOOK_SECONDS = 5.0
"""So often it is looked whether there are workers at all, while no sample is done."""


_DIED = "every worker that converted it died, perhaps for lack of memory; give it workers with more, and --append it"
"""Why a sample is broken that its workers died of."""


class ExecutorWorkers:
    """The workers of an executor; those of Dask, which tell more of themselves, are a subclass."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def submit(self, assignment: Assignment) -> Future[Outcome]:
        """Have a worker convert one sample."""
        return self.executor.submit(convert_assignment, assignment)

    def has_killed(self, error: Exception) -> bool:
        """Tell whether the task that ended with `error` may be what its workers died of, while others go on."""
        del error
        return False

    def find_problem(self) -> str:
        """Return what is wrong with the workers as a whole, nothing while they are at work; an error ends it all."""
        return ""

    def wait(self) -> None:
        """Return once no worker is at a task that was cancelled."""

    def explain(self, error: Exception) -> str:
        """Return what has happened in words, for an error that is not of the sample: each executor has its own."""
        if isinstance(error, ModuleNotFoundError):
            return f"a worker cannot import {error.name}: install there what is installed here"
        sentence = str(error).partition("\n")[0].rstrip(".")
        return f"{type(error).__name__}: {sentence}"


def run_on_workers(
    tasks: Sequence[Task], converter: SampleConverter, workers: ExecutorWorkers, notify: Notify | None = None
) -> Generator[Outcome]:
    """Yield the outcomes as they come; closing the generator cancels the tasks that have not begun.

    `notify` is told where there are no workers. A sample that may have killed its workers is converted again when all
    others are done, by itself, and is broken if that kills them, too. Raises DrawpointError where the executor fails,
    or where what a worker has written is not to be seen from here.
    """
    suspects: list[Task] = []
    # A worker that has begun goes on writing for a while, which the store's lock must cover: see WorkerPermit.
    with permit_workers(journal_folder(converter.writer.storage)) as permit:
        run = _Run(converter, workers, permit, notify)
        yield from run.outcomes(tasks, suspects)
        for task in suspects:
            convicted: list[Task] = []
            yield from run.outcomes([task], convicted)
            for each in convicted:
                size = sum(file.size for file in converter.source.files(each.sample_id))
                yield Outcome(each.sample_id, size, reason=_DIED)


class _Run:
    """What is under way with the workers of an executor."""

    def __init__(
        self, converter: SampleConverter, workers: ExecutorWorkers, permit: WorkerPermit, notify: Notify | None
    ) -> None:
        self.converter = converter
        self.workers = workers
        self.permit = permit
        self.notify = notify

    def outcomes(self, tasks: Iterable[Task], suspects: list[Task]) -> Generator[Outcome]:
        """Yield the outcomes as they come, but of tasks that may have killed workers: these become `suspects`."""
        left = iter(tasks)
        ended: SimpleQueue[Future[Outcome]] = SimpleQueue()
        running: dict[Future[Outcome], Task] = {}

        def submit(most: int) -> None:
            for task in islice(left, most):
                assignment = Assignment.of(task, self.converter, self.permit)
                try:
                    future = self.workers.submit(assignment)
                except Exception as error:
                    raise self._failed(task, error) from error
                running[future] = task
                future.add_done_callback(ended.put)

        try:
            submit(_AHEAD)
            while running:
                future = self._next(ended)
                task = running.pop(future)
                submit(1)
                outcome = self._outcome(future, task)
                if outcome is None:
                    suspects.append(task)
                else:
                    yield outcome
        finally:
            if running:
                self._stop(running)

    def _stop(self, running: Collection[Future[Outcome]]) -> None:
        if self.notify is not None:
            self.notify("the workers are stopping")
        for future in running:
            future.cancel()
        self.permit.withdraw()
        wait(running)
        self.workers.wait()

    def _next(self, ended: SimpleQueue[Future[Outcome]]) -> Future[Outcome]:
        while True:
            try:
                return ended.get(timeout=_LOOK_SECONDS)
            except Empty:
                problem = self.workers.find_problem()
                if problem and self.notify is not None:
                    self.notify(problem)

    def _outcome(self, future: Future[Outcome], task: Task) -> Outcome | None:
        """Return the outcome of a task, None of one that may have killed its workers."""
        try:
            outcome = future.result()
        except DrawpointError:
            raise
        except Exception as error:
            if self.workers.has_killed(error):
                return None
            raise self._failed(task, error) from error
        if outcome.finished is not None and self.converter.journal.find(task) is None:
            raise DrawpointError(
                f"a worker has converted sample {task.sample_id!r}, and this process finds nothing of it in "
                f"{self.converter.writer.store_root}: give a STORE_ROOT that all workers share, such as a bucket."
            )
        return outcome

    def _failed(self, task: Task, error: Exception) -> DrawpointError:
        return DrawpointError(
            f"the executor failed at sample {task.sample_id!r}: {self.workers.explain(error)}; {GO_ON}."
        )
