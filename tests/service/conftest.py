"""The command as a user runs it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from served import Served


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    with contextlib.ExitStack() as stack:

        def start(*options: str, stdin: int | None = None, files: int | None = None, **environment: str) -> Served:
            log = stack.enter_context((tmp_path / "log").open("w"))
            limited = [] if files is None else ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"]
            command = [*limited, sys.executable, "-m", "drawpoint_cli", "serve", "--port", "0", *options]
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env={**os.environ, **environment},
                )
            )
            stack.callback(process.kill)
            return Served(process, tmp_path / "log")

        yield start


@pytest.fixture(autouse=True)
def refusals_come_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second in the queue is for real clients; a test that fills the service need not wait for so long."""
    monkeypatch.setattr("drawpoint_service.admission.admission.QUEUE_SECONDS", 0.05)
