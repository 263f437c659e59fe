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
    )
    found = [
        f"{path.relative_to(REPOSITORY)}: {match.group()}"
        for path in text_files()
        if path != Path(__file__)
        and (match := forbidden.search(path.read_text(encoding="utf-8", errors="replace"))) is not None
    ]
    assert not found


def test_no_remedy_names_an_index_that_does_not_have_drawpoint() -> None:
    named = re.compile(r"pip install '?drawpoint")
    texts = {
        path: path.read_text(encoding="utf-8", errors="replace") for path in text_files() if path != Path(__file__)
    }
    assert [path.name for path, text in texts.items() if named.search(text)] == []


def test_ci_is_make_test() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec make test"


class TestMakeFindsAPython:
    """What `make` takes as its Python on a machine whose PATH and folder are made here."""

    @pytest.fixture
    def machine(self, tmp_path: Path) -> Path:
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(REPOSITORY / name, tmp_path)
        (tmp_path / "bin").mkdir()
        for name in ("make", "sh"):
            (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
        return tmp_path

    def add(self, machine: Path, name: str, *, version: tuple[int, int] | None) -> None:
        # A name that a version manager puts on PATH without a Python behind it has no version.
        ends = 1 if version is None or version < (3, 11) else 0
        program = machine / "bin" / name
        program.write_text(f"#!/bin/sh\nexit {ends}\n", encoding="utf-8")
        program.chmod(0o755)

    def make(self, machine: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments],
            cwd=machine,
            env={"PATH": str(machine / "bin")},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_the_one_named_in_the_readme_first(self, machine: Path) -> None:
        self.add(machine, "python3", version=(3, 13))
        self.add(machine, "python3.11", version=(3, 11))
        assert "python3.11 -m venv .venv" in self.make(machine, "-n", "install").stdout

    def test_python3_where_that_one_does_not_run(self, machine: Path) -> None:
        self.add(machine, "python3.11", version=None)
        self.add(machine, "python3", version=(3, 12))
        assert "python3 -m venv .venv" in self.make(machine, "-n", "install").stdout

    def test_none_that_is_too_old(self, machine: Path) -> None:
        self.add(machine, "python3", version=(3, 10))
        result = self.make(machine, "install")
        assert result.returncode == 2
        assert "no Python 3.11 or newer on PATH" in result.stderr

    def test_the_one_that_it_is_given(self, machine: Path) -> None:
        assert "/opt/python -m venv .venv" in self.make(machine, "-n", "install", "PYTHON=/opt/python").stdout

    def test_it_installs_once(self, machine: Path) -> None:
        (machine / ".venv").mkdir()
        (machine / ".venv" / ".ready").touch()
        assert "Nothing to be done" in self.make(machine, "install").stdout


class TestSystemProgramsThatTestsDrive:
    """What `.ci/system` does on a machine whose PATH is made here."""

    def run(self, bin_: Path, **programs: str) -> subprocess.CompletedProcess[str]:
        bin_.mkdir()
        for name, script in {"bash": "", "chromium": "", **programs}.items():
            (bin_ / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            (bin_ / name).chmod(0o755)
        command = [str(shutil.which("sh")), str(REPOSITORY / ".ci" / "system")]
        return subprocess.run(command, env={"PATH": str(bin_)}, capture_output=True, text=True, check=False)

    def test_nothing_is_asked_for_where_all_are_there(self, tmp_path: Path) -> None:
        result = self.run(tmp_path / "bin", curl="")
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")

    def test_root_installs_those_that_are_missing(self, tmp_path: Path) -> None:
        result = self.run(tmp_path / "bin", **{"id": "echo 0", "apt-get": 'echo "$@"'})
        assert result.stdout.splitlines() == ["update -q", "install -y -q --no-install-recommends curl"]
        assert (result.returncode, result.stderr) == (0, "")

    @pytest.mark.parametrize(
        "programs",
        [
            pytest.param({"id": "echo 1000", "apt-get": "echo asked"}, id="not root"),
            pytest.param({"id": "echo 0"}, id="no apt"),
            pytest.param({"id": "echo 0", "apt-get": "exit 100"}, id="no network"),
        ],
    )
    def test_who_cannot_is_told_and_goes_on(self, programs: dict[str, str], tmp_path: Path) -> None:
        result = self.run(tmp_path / "bin", **programs)
        assert (result.returncode, result.stdout) == (0, "")
        assert "skipped, or fail where CI is set: curl" in result.stderr
