"""Conversions that are killed at random moments and run again, until so many kills are done."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drawpoint_store.storage.bucket_access import open_client
from drawpoint_store.storage.locations import is_remote
from trees import files_below
from waiting import wait_until

_MOST_LATE_SECONDS = 0.05
"""So long after a moment, at most, is killed: in the midst of what is written then."""

_DEADLINE = 120

Words = Sequence[object]


@dataclass(frozen=True)
class Store:
    """A store in a folder or a bucket, as bytes by name."""

    root: str

    def files(self) -> dict[str, bytes]:
        """Return all its files, the journal's too."""
        if not is_remote(self.root):
            return files_below(Path(self.root))
        client = open_client(self.root)
        return {name: bytes(client.get(name).bytes()) for name in self._names()}

    def count(self) -> int:
        """Return the number of its files."""
        if is_remote(self.root):
            return len(self._names())
        return sum(len(files) for _, _, files in os.walk(self.root))

    def manifest(self) -> bytes | None:
        """Return what readers read first."""
        if is_remote(self.root):
            return self.files().get("manifest.json")
        path = Path(self.root, "manifest.json")
        return path.read_bytes() if path.exists() else None

    def reset(self, old: Path | None) -> None:
        """Make it the store in the folder `old`, or none at all."""
        if is_remote(self.root):
            assert old is None
            names = self._names()
            if names:
                open_client(self.root).delete(names)
            return
        shutil.rmtree(self.root, ignore_errors=True)
        if old is not None:
            shutil.copytree(old, self.root)

    def _names(self) -> list[str]:
        return [entry["path"] for page in open_client(self.root).list() for entry in page]


@dataclass
class KilledConversion:
    """One conversion by the commands of `phases`: all of a phase at a time, and one phase after the other.

    `whole` are the files that an uninterrupted run makes of the folder `old`, where there is one. `kill` ends what a
    command needs, in the place of the commands themselves.
    """

    store: Store
    phases: Sequence[Sequence[Words]]
    whole: Mapping[str, bytes]
    old: Path | None = None
    kill: Callable[[], None] | None = None
    killed: list[str] = field(default_factory=list)
    """What the store held at each kill, for those who look into a failure."""

    def run(self, kills: int, rng: random.Random) -> None:
        """Kill so often, beginning again with what is left; what is published is the whole, and readers see no half."""
        before = {} if self.old is None else files_below(self.old)
        self.store.reset(self.old)
        while len(self.killed) < kills:
            done = all(self._killed_in(phase, rng) is False for phase in self.phases)
            found = self.store.manifest()
            assert found in {before.get("manifest.json"), self.whole["manifest.json"]}, self.killed
            files = self.store.files()
            assert {name: files.get(name) for name in before if name != "manifest.json"} == {
                name: data for name, data in before.items() if name != "manifest.json"
            }, self.killed
            if done:
                assert files == self.whole, self.killed
            if files == self.whole:  # which a command that is killed as it ends has completed, too
                self.store.reset(self.old)
        for phase in self.phases:
            for process in [_start(words) for words in phase]:
                out, err = process.communicate(timeout=_DEADLINE)
                assert process.returncode == 0, (out, err, self.killed)
        assert self.store.files() == self.whole, self.killed

    def _killed_in(self, phase: Sequence[Words], rng: random.Random) -> bool:
        """Run a phase, and tell whether it was killed."""
        held = self.store.count()
        moment = held + 1 + rng.randrange(max(1, len(self.whole) + 4 - held))
        processes = [_start(words) for words in phase]

        def have_ended() -> bool:
            return all(process.poll() is not None for process in processes)

        wait_until(lambda: have_ended() or self.store.count() >= moment)
        time.sleep(rng.random() * _MOST_LATE_SECONDS)  # a moment within what is being written
        is_killed = not have_ended()
        if is_killed:
            self.killed.append(f"{self.store.count()} of {len(self.whole)} files")
            for process in processes if self.kill is None else ():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            if self.kill is not None:
                self.kill()
        for process in processes:
            _, err = process.communicate(timeout=_DEADLINE)
            wait_until(lambda: _session_is_empty(process))  # noqa: B023  called at once
            assert process.returncode in ({0, -signal.SIGKILL} if self.kill is None else {0}), err
        return is_killed and self.kill is None


def _start(words: Words) -> subprocess.Popen[bytes]:
    # A session of its own, which is killed as a whole.
    return subprocess.Popen(
        [sys.executable, "-m", "drawpoint_cli", "convert", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _session_is_empty(process: subprocess.Popen[bytes]) -> bool:
    # What an ended process has left is ours to wait for: see orphans.py.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-process.pid, os.WNOHANG)
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False
