"""Which reader opens which file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.joined_file import SoughtFile

if TYPE_CHECKING:
    from drawpoint_store.data_files.data_file import DataFile
    from drawpoint_store.data_files.joined_file import FilePath

_HERE = "drawpoint_store.data_files"
READERS = {
    **dict.fromkeys((".vtp", ".vtu", ".vti", ".vtr", ".vts"), f"{_HERE}.vtk_xml:open_vtk_xml"),
    **dict.fromkeys((".pvtp", ".pvtu", ".vtm"), f"{_HERE}.vtk_xml.index_files:open_index"),
    ".vtk": f"{_HERE}.legacy_vtk:open_legacy_vtk",
    ".stl": f"{_HERE}.stl_file:StlFile",
    ".foam": f"{_HERE}.openfoam:open_openfoam",
    ".case": f"{_HERE}.ensight:open_ensight",
    ".npy": f"{_HERE}.tables.npy:open_npy",
    ".npz": f"{_HERE}.tables.npy:open_npz",
    **dict.fromkeys((".h5", ".hdf5"), f"{_HERE}.tables.hdf5:open_hdf5"),
    ".zarr": f"{_HERE}.tables.zarr_arrays:open_zarr",
    ".pt": f"{_HERE}.tables.pt:open_pt",
    **dict.fromkeys((".csv", ".tsv"), f"{_HERE}.tables.columns:open_csv"),
    ".parquet": f"{_HERE}.tables.columns:open_parquet",
}
"""The function that opens a file, by its suffix: `module:name`, imported when there is such a file to open."""

LISTERS = {
    **dict.fromkeys((".pvtp", ".pvtu", ".vtm"), f"{_HERE}.vtk_xml.index_files:list_files"),
    ".foam": f"{_HERE}.openfoam:list_files",
    ".case": f"{_HERE}.ensight:list_files",
}
"""The function that lists the files which are read besides one that is opened, by its suffix."""

BY_PARTS = {".vtp", ".vtu", ".npy"}
"""The suffixes of files of which parts can be read while the others are on no disk of this machine."""

IN_PARTS = {".vtp", ".vtu"}
"""The suffixes of files that may come in parts: their functions take several paths."""

SIGNATURES = {b"# vtk DataFile": ".vtk"}
"""The suffix that a file which begins so should have, whatever its own is."""

FOLDERS = {
    **dict.fromkeys(("zarr.json", ".zarray", ".zgroup"), ".zarr"),
    **dict.fromkeys(("constant/polyMesh", "processor0", "../constant/polyMesh", "../processor0"), ".foam"),
}
"""The suffix that a folder which holds such a file, or lies beside it, should have, whatever its own is."""

WITH_MEMBERS = {".foam", ".case"}
"""The suffixes of files of which a part can be named."""

_BEGIN = 64
"""How many first bytes of a file are looked at."""

_GZIP = b"\x1f\x8b"

PART = re.compile(r"(\.\d+)?\.part$")
"""What ends the names of the parts of a file."""


def open_data_file(path: FilePath | str | Sequence[FilePath | str], member: str | None = None) -> DataFile:
    """Open a file, or one that lies in parts, given in order (`volume.vtu.00.part`, `volume.vtu.01.part`, ...).

    `member` names a part of what can be taken apart: the patches of an OpenFOAM case, the parts of an
    EnSight case, as `open_openfoam` and `open_ensight` say. A file that is on no disk is of one of BY_PARTS.

    The suffix says what it is, unless its first bytes say otherwise. Raises InvalidSample, naming the file, for what
    cannot be opened, is damaged, or is of a kind that is not read; ExtraMissing for a library that is not installed.
    """
    given = list(path) if isinstance(path, Sequence) and not isinstance(path, str) else [path]
    paths = [Path(each) if isinstance(each, str) else each for each in given]
    suffix = _suffix(paths[0])
    if suffix not in READERS:
        raise InvalidSample(f"{paths[0]} is of no kind that is read; these are: {' '.join(sorted(READERS))}.")
    if len(paths) > 1 and suffix not in IN_PARTS:
        raise InvalidSample(f"{paths[0]} and {paths[1]} are no parts of one file; those can be {' '.join(IN_PARTS)}.")
    if member is not None and suffix not in WITH_MEMBERS:
        raise InvalidSample(
            f"{paths[0]} has no member {member!r}: only cases of OpenFOAM and EnSight have members, patches and parts."
        )
    opened: DataFile = _named(READERS[suffix])(*paths, **({} if member is None else {"member": member}))
    return opened


def files_besides(path: Path) -> list[Path]:
    """Return the files that are read besides the file or folder at `path`: those that it names, a case's mesh and time.

    They may not be there. Raises InvalidSample for an index that is damaged, and a case without such a time.
    """
    suffix = _suffix(path)
    if suffix not in LISTERS:
        return []
    found: list[Path] = _named(LISTERS[suffix])(path)
    return found


def _named(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def suffix_of(name: str) -> str:
    """Return the suffix of a file's kind by its name, without what names a part."""
    return Path(PART.sub("", name)).suffix.lower()


def _suffix(path: FilePath) -> str:
    """Return the suffix of a file's kind, unless its first bytes say otherwise."""
    try:
        if isinstance(path, Path):
            with path.open("rb") as file:
                begin = file.read(_BEGIN)
        else:
            begin = SoughtFile(path).read(_BEGIN) or b""
    except IsADirectoryError:
        assert isinstance(path, Path)
        suffix = next((suffix for name, suffix in FOLDERS.items() if (path / name).exists()), path.suffix.lower())
        return ".case" if suffix not in READERS and any(path.glob("*.case")) else suffix
    except OSError as error:
        raise InvalidSample(f"{path} cannot be opened: {error.strerror}.") from error
    if begin.startswith(_GZIP):
        raise InvalidSample(f"{path} is compressed with gzip: unpack it.")
    for signature, suffix in SIGNATURES.items():
        if begin.startswith(signature):
            return suffix
    return suffix_of(path.name)
