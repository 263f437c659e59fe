"""A pytest plugin: no test may leave a process behind. One that does fails the run, and the process is ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

_PR_SET_CHILD_SUBREAPER = 36
ENDING_SECONDS = 10.0
"""What was just killed, and what watches a pipe of ours, may take a moment to end."""

# Helpers of Python and of loky, which end when the process that they help does.
_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "loky.backend.resource_tracker")

_LEFT_BEHIND = pytest.StashKey[list[str]]()


def pytest_configure() -> None:
    if sys.platform == "linux":
        # A process whose parent has ended becomes our child instead of init's, so that it is still known as ours.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@pytest.hookimpl(trylast=True)  # xdist's workers are to have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if sys.platform != "linux":
        config.get_terminal_writer().line("\nWHETHER A TEST HAS LEFT A PROCESS IS NOT CHECKED: that takes Linux")
        return
    deadline = time.monotonic() + ENDING_SECONDS
    while (left := living_descendants()) and time.monotonic() < deadline:
        time.sleep(0.05)  # nobody tells us when what is not our child ends
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    found = [*config.stash.get(_LEFT_BEHIND, []), *(f"{pid} {command}" for pid, command in left.items())]
    getattr(config, "workeroutput", {})["left_behind"] = found
    for process in found:
        config.get_terminal_writer().line(f"\nLEFT BEHIND by a test, and killed now: {process}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker of xdist has found; one that crashed has told nothing, and fails the run by itself."""
    node.config.stash.setdefault(_LEFT_BEHIND, []).extend(getattr(node, "workeroutput", {}).get("left_behind", []))


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
