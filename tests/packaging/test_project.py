"""The project's own files: what is pinned, what agrees with what, and what must not be in them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import drawpoint
from conftest import REPOSITORY

BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS: dict[str, str] = {
    canonicalize_name(name): version
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (REPOSITORY / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
}
LOCAL = {".git", ".venv", ".demo", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__", "dist"}
TEXT = {"", ".md", ".py", ".toml", ".txt", ".yaml", ".yml", ".json", ".svg", ".css", ".js", ".html", ".sh"}


def text_files() -> list[Path]:
    found: list[Path] = []
    for folder, folders, files in os.walk(REPOSITORY):
        folders[:] = [name for name in folders if name not in LOCAL]
        found.extend(path for name in {*files} - LOCAL if (path := Path(folder, name)).suffix in TEXT)
    return found


def test_every_direct_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    direct = [Requirement(text) for group in groups for text in group]
    loose = {
        str(requirement)
        for requirement in direct
        if requirement.name != "drawpoint"
        and not requirement.specifier.contains(PINS.get(canonicalize_name(requirement.name), "0"))
    }
    assert not loose


def test_torch_is_pinned_without_a_local_version() -> None:
    # A looser pin takes a build with gigabytes of CUDA; a local version is not in every index.
    assert Version(PINS["torch"]).local is None


def test_the_version_is_said_once_in_each_place() -> None:
    assert PROJECT["version"] == drawpoint.__version__


def test_pre_commit_accepts_its_configuration() -> None:
    config = REPOSITORY / ".pre-commit-config.yaml"
    subprocess.run([str(BIN / "pre-commit"), "validate-config", str(config)], check=True)


def test_pre_commit_runs_the_ruff_that_ci_runs() -> None:
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (ruff,) = (repo for repo in config["repos"] if repo["repo"].endswith("ruff-pre-commit"))
    assert ruff["rev"] == f"v{PINS['ruff']}"


def test_no_file_names_a_package_index_or_a_path_of_someones_machine() -> None:
    forbidden = re.compile(
        r"--(extra-)?index-url[= ]+https?://"  # where packages come from is the business of who installs them
        r"|(?<![\w.])/(work|root|home|Users)/\w"
        r"|pip install '?drawpoint"  # no index has it
    )
    found = [
        f"{path.relative_to(REPOSITORY)}: {match.group()}"
        for path in text_files()
        if path != Path(__file__)
        and (match := forbidden.search(path.read_text(encoding="utf-8", errors="replace"))) is not None
    ]
    assert not found


def test_ci_is_make_test() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec make test"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with what `make` reads, whose `bin` is all of PATH."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for name in ("make", "sh"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    return tmp_path


def add_programs(machine: Path, **programs: str) -> None:
    for name, script in programs.items():
        (machine / "bin" / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (machine / "bin" / name).chmod(0o755)


def run_on(machine: Path, *command: str) -> subprocess.CompletedProcess[str]:
    program = str(shutil.which(command[0]))
    path = {"PATH": str(machine / "bin")}
    return subprocess.run([program, *command[1:]], cwd=machine, env=path, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("pythons", "taken"),
    [
        pytest.param({"python3": "", "python3.11": ""}, "python3.11", id="the one named in the README first"),
        pytest.param({"python3.11": "exit 1", "python3": ""}, "python3", id="that one does not run"),
    ],
)
def test_make_takes_the_first_python_that_runs(machine: Path, pythons: dict[str, str], taken: str) -> None:
    add_programs(machine, **pythons)
    assert f"{taken} -m venv .venv" in run_on(machine, "make", "-n", "install").stdout


def test_make_says_where_there_is_no_python_that_is_new_enough(machine: Path) -> None:
    add_programs(machine, python3="exit 1")
    result = run_on(machine, "make", "install")
    assert result.returncode == 2
    assert "no Python 3.11 or newer on PATH" in result.stderr


def test_the_system_programs_that_tests_drive_are_installed_where_root_may(machine: Path) -> None:
    add_programs(machine, bash="", chromium="", nginx="", id="echo 0", **{"apt-get": 'echo "$@"'})
    result = run_on(machine, "sh", str(REPOSITORY / ".ci" / "system"))
    assert result.stdout.splitlines() == ["update -q", "install -y -q --no-install-recommends curl"]
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "programs",
    [
        pytest.param({"id": "echo 1000", "apt-get": "echo asked"}, id="not root"),
        pytest.param({"id": "echo 0", "apt-get": "exit 100"}, id="no network"),
    ],
)
def test_who_may_not_install_is_told_what_is_missing_and_goes_on(machine: Path, programs: dict[str, str]) -> None:
    add_programs(machine, bash="", chromium="", **programs)
    result = run_on(machine, "sh", str(REPOSITORY / ".ci" / "system"))
    assert (result.returncode, result.stdout) == (0, "")
    assert "skipped, or fail where CI is set: curl" in result.stderr
