"""The batch scripts of examples/slurm, run by bash as SLURM runs them; `srun` and `sbatch` stand in for SLURM's own."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from conftest import REPOSITORY, need_programs
from drawpoint_cli.__main__ import main
from trees import files_below
from waiting import wait_until

SCRIPTS = REPOSITORY / "examples" / "slurm"
BIN = Path(sys.executable).parent
RECIPE = """
name = "made"
sample = "run_{n}"
[surface]
file = "surface.npz"
place = "row"
[surface.fields]
position = "xyz"
pressure = "p"
[scalars]
n = { from_id = "run_([0-9]+)" }
"""
_SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
_SBATCH = """#!/bin/bash
printf '%s\\0' "SHARES=$SHARES" "$@" >>"$SUBMITTED"
printf '\\n' >>"$SUBMITTED"
echo "$((4710 + $(wc -l <"$SUBMITTED")));cluster"
"""


class Job(NamedTuple):
    """What was submitted: the options of sbatch, the script and its arguments."""

    shares: str
    options: dict[str, str]
    script: str
    arguments: list[str]


class Cluster:
    """A folder with `srun` and `sbatch` on PATH, and a virtual environment to be sourced."""

    def __init__(self, folder: Path) -> None:
        need_programs("examples/slurm", "bash")
        self.submitted = folder / "submitted"
        (folder / "bin").mkdir()
        (folder / "venv" / "bin").mkdir(parents=True)
        for name, text in (("bin/srun", _SRUN), ("bin/sbatch", _SBATCH), ("venv/bin/activate", f"PATH={BIN}:$PATH\n")):
            (folder / name).write_text(text, encoding="utf-8")
            (folder / name).chmod(0o755)
        self.environment = {
            "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(folder),
            "VENV": str(folder / "venv"),
            "SUBMITTED": str(self.submitted),
        }

    def submit(self, *words: object, **environment: str) -> list[Job]:
        """Run submit.sh, and return what it submitted."""
        self.submitted.write_bytes(b"")
        ended = self.run(SCRIPTS / "submit.sh", *words, **environment)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout == f"array 4711 converts {words[0]} shares; job 4712 publishes them\n"
        jobs = []
        for line in self.submitted.read_text(encoding="utf-8").splitlines():
            shares, *given = line.rstrip("\0").split("\0")
            place = next(place for place, word in enumerate(given) if not word.startswith("--"))
            options = dict(word.partition("=")[::2] for word in given[:place])
            jobs.append(Job(shares.removeprefix("SHARES="), options, given[place], given[place + 1 :]))
        return jobs

    def start(self, script: object, *words: object, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(script), *map(str, words)],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, script: object, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        with self.start(script, *words, **environment) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def task_environment(number: int, first: int, last: int, step: int = 1) -> dict[str, str]:
    """Return the variables that SLURM sets for one task of `--array=FIRST-LAST:STEP`."""
    return {
        "SLURM_ARRAY_JOB_ID": "4711",
        "SLURM_ARRAY_TASK_ID": str(number),
        "SLURM_ARRAY_TASK_COUNT": str(len(range(first, last + 1, step))),
        "SLURM_ARRAY_TASK_MIN": str(first),
        "SLURM_ARRAY_TASK_MAX": str(last),
        "SLURM_ARRAY_TASK_STEP": str(step),
        "SLURM_CPUS_PER_TASK": "1",
    }


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Runs of a data set that is converted by the recipe beside them."""
    chance = np.random.default_rng(0)
    for number in range(7):
        folder = tmp_path / "runs" / f"run_{number}"
        folder.mkdir(parents=True)
        xyz, p = (chance.standard_normal(shape, dtype=np.float32) for shape in ((20_000, 3), 20_000))
        np.savez(folder / "surface.npz", xyz=xyz, p=p)
    (tmp_path / "made.toml").write_text(RECIPE, encoding="utf-8")
    return tmp_path / "runs"


def test_an_array_in_any_order_with_a_task_that_is_killed_gives_the_store_of_one_conversion(
    cluster: Cluster, source: Path, tmp_path: Path
) -> None:
    recipe, store = tmp_path / "made.toml", tmp_path / "a store"
    assert main(["convert", str(source), str(tmp_path / "whole"), "--recipe", str(recipe), "--workers", "1"]) == 0
    array, publication = cluster.submit(3, source, store, "--recipe", recipe)
    assert (array.shares, array.options["--array"], publication.options["--dependency"]) == (
        "3",
        "1-3",
        "afterany:4711",
    )
    assert array.arguments == publication.arguments == [str(source), str(store), "--recipe", str(recipe)]
    order = random.Random(0).sample([1, 2, 3], 3)
    with cluster.start(
        array.script, *array.arguments, SHARES=array.shares, **task_environment(order[0], 1, 3)
    ) as killed:
        wait_until(lambda: any(store.glob(".convert/samples/*.json")) or killed.poll() is not None)
        os.killpg(killed.pid, signal.SIGKILL)
    for number in (*order[1:], order[0]):
        ended = cluster.run(array.script, *array.arguments, SHARES=array.shares, **task_environment(number, 1, 3))
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.startswith(f"share {number}/3, {3 if number == 1 else 2} samples: ")
        assert not (store / "manifest.json").exists()
    ended = cluster.run(publication.script, *publication.arguments, SHARES=publication.shares)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert files_below(store) == files_below(tmp_path / "whole")


def test_the_publication_names_the_tasks_to_be_submitted_again(cluster: Cluster, source: Path, tmp_path: Path) -> None:
    words = (source, tmp_path / "store", "--recipe", tmp_path / "made.toml")
    # An array of other numbers, and no SHARES: the second of 30, 40, ..., 100 is share 2 of 8.
    ended = cluster.run(SCRIPTS / "convert.sbatch", *words, **task_environment(40, 30, 100, 10))
    assert ended.stdout.startswith("share 2/8, 1 sample: 1 converted")
    ended = cluster.run(SCRIPTS / "publish.sbatch", *words)
    assert ended.returncode == 1
    assert "6 of 7 samples have not been converted yet" in ended.stderr
    (lacking,) = re.findall(r"\(--task (.*)\), then publish again", ended.stderr)
    assert lacking == "1/8, 3/8, 4/8, 5/8, 6/8, 7/8"
    array, _ = cluster.submit(8, *words, TASKS="1,3-7", AT_ONCE="2")
    assert (array.shares, array.options["--array"]) == ("8", "1,3-7%2")


@pytest.mark.parametrize("words", [["8", "runs"], ["0", "runs", "store"], ["runs", "store", "--recipe"]])
def test_submit_tells_how_it_is_used(cluster: Cluster, words: list[str]) -> None:
    ended = cluster.run(SCRIPTS / "submit.sh", *words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: ")


@pytest.mark.parametrize("name", ["convert.sbatch", "publish.sbatch"])
def test_the_lines_for_slurm_come_before_the_first_command(name: str) -> None:
    lines = (SCRIPTS / name).read_text(encoding="utf-8").splitlines()
    first = next(place for place, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [place for place, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert directives
    assert max(directives) < first  # those that come later are ignored


def test_shellcheck_finds_nothing() -> None:
    result = subprocess.run(
        [str(BIN / "shellcheck"), *map(str, SCRIPTS.iterdir())], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "")
