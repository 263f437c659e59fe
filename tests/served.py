"""`drawpoint serve` as a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path


class Served:
    """A running `drawpoint serve`: its first lines of output, and where it is."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.log = log
        self.lines: list[str] = []
        while not (self.lines and self.lines[-1].startswith("all of it:")):
            line = process.stdout.readline()
            assert line, log.read_text()
            self.lines.append(line.strip())
        found = re.search(r"http://[0-9.:]+", self.lines[0])
        assert found is not None
        self.url = found[0]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)
