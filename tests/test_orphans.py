"""The check that no test leaves a process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY

SHELL_ENDS_SLEEP_STAYS = "sleep 600 >/dev/null 2>&1 & echo $!"


@pytest.mark.skipif(sys.platform != "linux", reason="THE CHECK FOR PROCESSES LEFT BEHIND NEEDS LINUX")
@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(("ends", "status"), [("", 1), ("os.kill(int(pid), 9)", 0)])
def test_a_process_that_a_test_leaves_behind_fails_the_run_and_is_ended(
    tmp_path: Path, ends: str, status: int, workers: str
) -> None:
    (tmp_path / "test_made.py").write_text(
        "import os, subprocess\n"
        "import orphans\n"
        "orphans.ENDING_SECONDS = 0.5\n"
        "def test_that_passes():\n"
        f"    pid = subprocess.run({SHELL_ENDS_SLEEP_STAYS!r}, shell=True, capture_output=True, text=True).stdout\n"
        "    open('pid', 'w').write(pid)\n"
        f"    {ends}\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    options = ["-p", "orphans", "-p", "no:cacheprovider", "-p", "xdist", "-n", workers, "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    pid = (tmp_path / "pid").read_text(encoding="utf-8").strip()
    assert "1 passed" in result.stdout
    assert result.returncode == status, result.stdout
    assert (f"LEFT BEHIND by a test, and killed now: {pid} sleep 600" in result.stdout) == bool(status)
    # It has become a child of this process, which is checked in the same way.
    assert os.waitstatus_to_exitcode(os.waitpid(int(pid), 0)[1]) == -signal.SIGKILL
