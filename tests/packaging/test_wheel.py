"""The wheel as users get it: what is in it, and what works with each extra and nothing more."""

from __future__ import annotations

import email
import importlib.metadata
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOURCES = {
    "drawpoint": "client",
    "drawpoint_store": "service",
    "drawpoint_service": "service",
    "drawpoint_cli": "service",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])


def closure(wheel: Path, extra: str) -> dict[str, importlib.metadata.Distribution]:
    """All distributions that installing the wheel with `extra` brings, in the versions installed here."""
    found: dict[str, importlib.metadata.Distribution] = {}
    seen = set()
    waiting = [("drawpoint", extra)]
    while waiting:
        name, wanted = each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        if name == "drawpoint":
            required = requirements(wheel)
        else:
            found[name] = importlib.metadata.distribution(name)
            required = found[name].requires or []
        for text in required:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted}):
                needed = canonicalize_name(requirement.name)
                waiting.extend((needed, more) for more in ("", *requirement.extras))
    return found


@dataclass(frozen=True)
class Installation:
    """A virtual environment that holds the wheel, and of other distributions only what one extra brings."""

    root: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        return subprocess.run(
            [str(self.root / "bin" / program), *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture(scope="module")
def install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Installation]:
    made: dict[str, Installation] = {}

    def make(extra: str) -> Installation:
        if extra in made:
            return made[extra]
        root = tmp_path_factory.mktemp(f"with-{extra or 'nothing'}")
        venv.create(root, with_pip=False, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(root / "bin" / "python")]
        offline = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *offline, str(wheel)], check=True)
        # What the extra brings is linked to what is installed here: no network, and nothing else gets in.
        links = root / "links"
        links.mkdir()
        for distribution in closure(wheel, extra).values():
            files = [file.parts[0] for file in distribution.files or []]
            for top in set(files) - {"..", "__pycache__"}:
                if not (links / top).exists():
                    (links / top).symlink_to(str(distribution.locate_file(top)))
        (site,) = root.glob("lib/python*/site-packages")
        (site / "links.pth").write_text(f"{links}\n", encoding="utf-8")
        made[extra] = Installation(root)
        return made[extra]

    return make


def test_the_wheel_holds_the_packages_whole_and_nothing_else(wheel: Path) -> None:
    expected = {
        path.relative_to(REPOSITORY / folder).as_posix()
        for package, folder in SOURCES.items()
        for path in (REPOSITORY / folder / package).rglob("*")
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.parts)
    }
    packed = {name for name in names(wheel) if not name.split("/")[0].endswith(".dist-info")}
    assert packed == expected
    assert {f"{package}/py.typed" for package in SOURCES} <= packed


def test_the_wheel_carries_its_licence(wheel: Path) -> None:
    assert [name for name in names(wheel) if name.endswith(".dist-info/licenses/LICENSE")]


def test_a_client_brings_no_server_and_no_storage_and_a_service_no_torch(wheel: Path) -> None:
    assert not closure(wheel, "client").keys() & {"zarr", "numcodecs", "obstore", "fastapi", "starlette", "uvicorn"}
    assert not closure(wheel, "service").keys() & {"torch", "safetensors", "httpx"}


def test_the_client_extra_is_all_that_the_client_needs(install: Callable[[str], Installation]) -> None:
    result = install("client").run("python", "-Ic", "import drawpoint; drawpoint.connect('http://127.0.0.1:9')")
    assert result.stderr == ""


def test_the_service_extra_is_all_that_serving_needs(install: Callable[[str], Installation], store_root: Path) -> None:
    code = "import sys, drawpoint_service.app, drawpoint_cli.commands.serve; print('torch' in sys.modules)"
    installed = install("service")
    result = installed.run("python", "-Ic", code)
    assert (result.stdout.strip(), result.stderr) == ("False", "")
    info = installed.run("drawpoint", "info", str(store_root))
    assert info.returncode == 0, info.stderr


@pytest.mark.parametrize(
    ("extra", "command", "remedy"),
    [
        ("", ["serve", "--store", "a=stores/a"], ".[service]"),
        ("client", ["serve", "--store", "a=stores/a"], ".[service]"),
        ("", ["convert", "runs", "stores/a"], ".[convert]"),
        ("", ["info", "stores/a"], ".[store]"),
    ],
)
def test_a_command_whose_extra_is_missing_says_what_to_install(
    install: Callable[[str], Installation], extra: str, command: list[str], remedy: str
) -> None:
    result = install(extra).run("drawpoint", *command)
    assert result.returncode == 1
    assert f"run `pip install '{remedy}'` in a clone of drawpoint" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 1


CONVERT = """import drawpoint_store as s, pathlib
pathlib.Path('runs/a').mkdir(parents=True)
pathlib.Path('runs/a/p.pt').touch()
from drawpoint_store.convert import convert
convert('runs', s.ZarrStoreWriter('a', s.FileMap(surface_position='p.pt'), 'a'))"""
READ = "ZarrChunkReader(sys.argv[1]).read_sample('param0/run', {'surface': 5, 'volume': 5})"


@pytest.mark.parametrize(
    ("extra", "code", "missing", "remedy"),
    [
        ("client", "import drawpoint_store", "numcodecs", "store"),
        ("client", f"from drawpoint_store import ZarrChunkReader; {READ}", "numcodecs", "store"),
        ("store", f"from drawpoint_store import ZarrChunkReader; {READ}", "torch", "client"),
        (
            "store",
            "import drawpoint_store as s; s.calculate_store_statistics(sys.argv[1])['volume_sdf'].mean",
            "torch",
            "client",
        ),
        ("service", "import drawpoint; drawpoint.SampleDataset", "torch", "client"),
        ("", "from drawpoint import SampleLoader", "torch", "client"),
        ("", "import drawpoint; drawpoint.connect('http://h')", "httpx and torch", "client"),
        ("client", "from drawpoint.adapters.paraview import write_vtp; write_vtp('a.vtp', {})", "pyvista", "viz"),
        ("store", CONVERT, "torch", "convert"),
    ],
)
def test_an_import_whose_extra_is_missing_says_what_to_install(
    install: Callable[[str], Installation], store_root: Path, extra: str, code: str, missing: str, remedy: str
) -> None:
    result = install(extra).run("python", "-Ic", f"import sys; {code}", str(store_root))
    assert result.returncode == 1
    said = result.stderr.splitlines()[-1]
    assert said.startswith("drawpoint.errors.ExtraMissing: ")
    assert missing in said
    assert said.endswith(f"run `pip install '.[{remedy}]'` in a clone of drawpoint.")
