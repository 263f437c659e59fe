"""A pytest plugin: no test may leave a process behind. One that does fails the run, and the process is ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import pytest

_PR_SET_CHILD_SUBREAPER = 36
_ENDING_SECONDS = 10.0
"""What was just killed, and what watches a pipe of ours, may take a moment to end."""

# Python's own helpers, which end when the process that they help does.
_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


def pytest_configure() -> None:
    if sys.platform == "linux":
        # A process whose parent has ended becomes our child instead of init's, so that it is still known as ours.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def pytest_sessionfinish(session: pytest.Session) -> None:
    writer = session.config.get_terminal_writer()
    if sys.platform != "linux":
        writer.line("\nWHETHER A TEST HAS LEFT A PROCESS IS NOT CHECKED: that takes Linux", yellow=True)
        return
    deadline = time.monotonic() + _ENDING_SECONDS
    while (left := living_descendants()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid, command in left.items():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        writer.line(f"\nLEFT BEHIND by a test, and killed now: {pid} {command}", red=True)
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def living_descendants() -> dict[int, str]:
    """Return the command line by process id of each child of ours, of its children and so on."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_text(encoding="utf-8").replace("\0", " ")
        except OSError:  # it has just ended
            continue
        if state not in "ZX" and not any(helper in command for helper in _HELPERS):
            parents[int(folder.name)], commands[int(folder.name)] = int(parent), command
    known = {os.getpid()}
    while found := {pid for pid, parent in parents.items() if parent in known} - known:
        known |= found
    return {pid: commands[pid] for pid in known if pid != os.getpid()}
