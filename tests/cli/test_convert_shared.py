"""`drawpoint convert --task I/N` and `--publish`, as an array of tasks runs them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
import torch

from drawpoint_cli.shared_conversion import unshared_words
from trees import SURFACE, files_below, write_run, write_runs

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_runs(tmp_path / "runs", 3)
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--task", "0/4"], "there is no share 0/4: give 1/N to N/N"),
        (["--task", "9/8"], "there is no share 9/8: give 1/N to N/N"),
        (["--task", "three"], "'three' is not I/N, share I of N, such as 3/8"),
        (["--task", "1/2", "--publish"], "argument --publish: not allowed with argument --task"),
    ],
)
def test_what_is_no_share_is_wrong_usage(
    runs: Path, tmp_path: Path, command: Command, words: list[str], reason: str
) -> None:
    ended = command("convert", runs, tmp_path / "store", *words)
    assert ended.status == 2
    assert reason in ended.err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("word", ["--task=1/2", "--publish"])
def test_a_store_in_memory_cannot_be_shared(runs: Path, command: Command, word: str) -> None:
    ended = command("convert", runs, "memory://shared", word)
    assert ended.status == 2
    assert "memory://shared lives in the memory of one process" in ended.err


def test_each_task_tells_its_share_and_the_command_that_publishes_all(
    runs: Path, tmp_path: Path, command: Command
) -> None:
    options = ("--workers", "1", "--values-dtype=float32")
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    assert command("convert", runs, whole, *options).status == 0
    told = [command("convert", runs, shared, "--task", f"{number}/2", *options) for number in (2, 1, 1)]
    assert [ended.status for ended in told] == [0, 0, 0]
    shares = [re.split(r", in|\n", ended.out)[0] for ended in told]
    assert shares == [
        "share 2/2, 1 sample: 1 converted, 0 broken",
        "share 1/2, 2 samples: 2 converted, 0 broken",
        "share 1/2, 2 samples: 2 converted (2 of them finished by an earlier run), 0 broken",
    ]
    assert not (shared / "manifest.json").exists()
    (last,) = {ended.out.splitlines()[-1] for ended in told}
    words = last.removeprefix("nothing is published yet; when all shares are done: drawpoint ")
    ended = command(*shlex.split(words))
    assert ended.status == 0
    assert ended.out.startswith("converted 3 samples with ")
    assert files_below(shared) == files_below(whole)
    late = command("convert", runs, shared, "--task", "1/2", *options)
    assert (late.status, late.out) == (1, "")
    assert "all is published, and nothing is left to do" in late.err


def test_broken_samples_fail_their_task_unless_they_are_to_be_skipped(
    runs: Path, tmp_path: Path, command: Command
) -> None:
    write_run(runs / "run_1", 1, surface_pressure=torch.full((SURFACE,), 1e6))
    store = tmp_path / "store"
    ended = command("convert", runs, store, "--task", "2/3")
    assert ended.status == 1
    broken, _, rest = ended.err.partition("\n")
    assert broken.startswith("broken: run_1: exceeds the float16 range: surface_pressure peaks at 1e+06")
    assert rest == (
        "1 sample of share 2/3 broken: mend and run the share again, or publish without.\n"
        "surface_pressure exceeds the range of its dtype in 1 sample: run_1; run all shares again with --field-dtype "
        "surface_pressure=float32.\n"
    )
    assert command("convert", runs, store, "--task", "2/3", "--skip-broken").status == 0
    ended = command("convert", runs, store, "--publish")
    assert ended.status == 1
    assert "2 of 3 samples have not been converted yet: run_0, run_2; run what lacks (--task 1/3, 3/3)" in ended.err
    for number in (1, 3):
        assert command("convert", runs, store, "--task", f"{number}/3").status == 0
    ended = command("convert", runs, store, "--publish")
    assert ended.status == 1
    assert "1 of 3 samples is broken and left out" in ended.err
    assert f"drawpoint convert {runs} {store} --field-dtype=surface_pressure=float32 --overwrite\n" in ended.err


@pytest.mark.parametrize(
    "words", ["a b --task 3/8 -x", "a b --task=3/8 -x", "a --publish b -x", "a b --ta 3/8 -x", "a b -x --pub"]
)
def test_the_words_of_a_share_are_left_out_of_a_command(words: str) -> None:
    assert unshared_words(words.split()) == ["a", "b", "-x"]
