"""EnSight cases, which VTK's own library reads in another process: some files make it crash."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.joined_meshes import JoinedMeshes
from drawpoint_store.data_files.vtk_xml import open_vtk_xml

if TYPE_CHECKING:
    from collections.abc import Callable

    from drawpoint_store.data_files.data_file import MeshFile

_SUFFIX = ".case"


def open_ensight(path: Path, member: str | None = None) -> MeshFile:
    """Open a case by its file (`E_1.case`) or the folder that holds it alone: EnSight Gold in C binary, at one time.

    The mesh is that of its parts in their order; a `member` says of which, as `ensight_parts.chosen` has it: `domain`,
    or `has WallShearStress, !Block.*`. A process of its own reads the case whole and writes these parts to `TMPDIR`,
    where they stay until the file is closed.

    Raises InvalidSample for a case of another form or without such a part, for damage, and where VTK crashes.
    """
    case = _case_file(path)
    folder = tempfile.TemporaryDirectory(prefix="drawpoint-")
    try:
        _write_parts(case, folder.name, member or "*")
        files = sorted(Path(folder.name).iterdir(), key=lambda file: int(file.stem))
        return _Parts(str(case), [open_vtk_xml(file) for file in files], folder.cleanup)
    except BaseException:
        folder.cleanup()
        raise


class _Parts(JoinedMeshes):
    """The parts of a case, whose files are removed when it is closed."""

    def __init__(self, name: str, meshes: list[MeshFile], remove: Callable[[], None]) -> None:
        super().__init__(name, meshes)
        self._remove = remove

    def close(self) -> None:
        """Close and remove all files."""
        super().close()
        self._remove()


def list_files(path: Path) -> list[Path]:
    """Return a case's file and those that it names at the ends of its lines, if they are there."""
    case = _case_file(path)
    lines = case.read_text(encoding="utf-8", errors="replace").splitlines()
    named = (case.parent / line.split()[-1].strip('"') for line in lines if line.strip())
    return [case, *dict.fromkeys(each for each in named if each.is_file())]


def _case_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    cases = sorted(each for each in path.iterdir() if each.suffix.lower() == _SUFFIX)
    if len(cases) != 1:
        raise InvalidSample(f"{path} has {len(cases)} files {_SUFFIX}; give one of them, or a folder with one.")
    return cases[0]


def _write_parts(case: Path, folder: str, member: str) -> None:
    program = [
        sys.executable,
        "-P",
        "-m",
        "drawpoint_store.data_files.ensight_parts",
        str(case.absolute()),
        folder,
        member,
    ]
    # It ends when its input does, so that it does not outlive this process.
    with subprocess.Popen(  # noqa: S603  it is this program
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read().decode(errors="replace").strip()
        status = process.wait()
    if status < 0:
        raise InvalidSample(f"{case} is damaged: VTK's reader of EnSight files crashes on it ({_signal(-status)}).")
    if status:
        raise InvalidSample(said or f"{case} cannot be read by VTK's reader of EnSight files.")


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
