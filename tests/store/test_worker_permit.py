"""Workers that outlive the process that converts: they stop, and the next one waits for them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from drawpoint.errors import DrawpointError, StoreExists
from drawpoint_store.writing import worker_permit
from drawpoint_store.writing.lock import JOURNAL_FOLDER, lock_share, lock_store
from drawpoint_store.writing.worker_permit import WorkerPermit, permit_workers
from waiting import wait_until

_PERMITS_AND_WAITS = """
import sys
from pathlib import Path
from drawpoint_store.writing.lock import JOURNAL_FOLDER, lock_store
from drawpoint_store.writing.worker_permit import permit_workers

with lock_store(sys.argv[1]), permit_workers(Path(sys.argv[1]) / JOURNAL_FOLDER) as permit:
    print(permit.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def abandoned(tmp_path: Path) -> WorkerPermit:
    """The permit of a process that was killed while it converted."""
    with subprocess.Popen(
        [sys.executable, "-c", _PERMITS_AND_WAITS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().decode().strip()
        process.kill()
    return WorkerPermit(str(tmp_path / JOURNAL_FOLDER), name)


class Worker(threading.Thread):
    """Holds a permit until it is withdrawn, as a worker does that asks before each field."""

    def __init__(self, permit: WorkerPermit) -> None:
        super().__init__()
        self.permit = permit
        self.began = threading.Event()
        self.stopped = threading.Event()
        self.start()
        self.began.wait()

    def run(self) -> None:
        with self.permit.hold():
            self.began.set()
            wait_until(self._is_withdrawn)
            self.stopped.set()

    def _is_withdrawn(self) -> bool:
        try:
            self.permit.check()
        except DrawpointError:
            return True
        return False


def test_the_end_of_a_conversion_waits_for_its_workers_and_lets_no_other_begin(tmp_path: Path) -> None:
    with permit_workers(tmp_path / JOURNAL_FOLDER) as permit:
        worker = Worker(permit)
        assert not worker.stopped.is_set()
    assert worker.stopped.is_set()
    with pytest.raises(DrawpointError, match="finds nothing of this conversion"), permit.hold():
        pass
    assert not any((tmp_path / JOURNAL_FOLDER).iterdir())
    worker.join()


@pytest.mark.parametrize("share", ["", "1/2"])
def test_the_next_conversion_waits_for_the_workers_of_one_that_was_killed(
    abandoned: WorkerPermit, tmp_path: Path, share: str
) -> None:
    worker = Worker(abandoned)
    with lock_share(str(tmp_path), share) if share else lock_store(str(tmp_path)):
        assert worker.stopped.is_set()
    worker.join()


def test_workers_that_do_not_stop_keep_the_next_conversion_out(
    abandoned: WorkerPermit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_permit, "_PATIENCE_SECONDS", 0.1)
    with (
        abandoned.hold(),
        pytest.raises(StoreExists, match=r"are still writing to .*: run the command again in a minute"),
        lock_store(str(tmp_path)),
    ):
        pass
    with lock_store(str(tmp_path)):
        pass
    assert not (tmp_path / JOURNAL_FOLDER).exists()


def test_a_share_lets_the_workers_of_another_one_go_on(tmp_path: Path) -> None:
    with lock_share(str(tmp_path), "1/2"), permit_workers(tmp_path / JOURNAL_FOLDER) as permit:
        with lock_share(str(tmp_path), "2/2"):
            permit.check()
        with permit.hold():
            pass
