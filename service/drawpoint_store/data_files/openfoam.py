"""OpenFOAM cases, which VTK's own library reads: ASCII and binary, of 32 and 64 bits, compressed or not."""

from __future__ import annotations

import gzip
import re
import zlib
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from drawpoint.errors import InvalidSample
from drawpoint.extras import importing
from drawpoint_store.data_files.data_file import ArrayInfo
from drawpoint_store.data_files.joined_meshes import JoinedMeshes
from drawpoint_store.data_files.vtk_library import VtkMesh, vtk_errors
from drawpoint_store.wording import first_few

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vtkmodules.vtkCommonCore import vtkDataArray
    from vtkmodules.vtkCommonDataModel import vtkDataSet

    from drawpoint_store.data_files.data_file import MeshFile

_COMPONENTS = {"Scalar": 1, "Vector": 3, "SphericalTensor": 1, "SymmTensor": 6, "Tensor": 9}
_TIME = re.compile(r"\d+(\.\d*)?(e[+-]?\d+)?")
_CLASS = re.compile(rb"\bclass\s+vol(\w+?)Field\b")
_HEADER_BYTES = 4096

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_PATCH = re.compile(r"([^\s{}();]+)\s*\{([^{}]*)\}")
"""A patch of polyMesh/boundary: its name, and its entries."""

_BETWEEN_PROCESSORS = "procBoundary"
"""The beginning of the names of patches that are faces between the parts of a decomposed case."""


def open_openfoam(path: Path, member: str | None = None) -> MeshFile:
    """Open a case by its folder or a file in it (`case.foam`), at its latest time, or by the folder of another time.

    Without a `member` the mesh is that of the cells, in OpenFOAM's order. A member names patches, by one or more
    patterns with commas between (`body*, wheels`), or a group of them, such as their type (`wall`): the mesh is that
    of their faces, in the order of the patches and their faces, whose normals point out of the fluid. All fields are
    cell arrays; on patches without values of their own, as zeroGradient, they are those of the cells next to them.

    A case that has a later time in its processors' folders is read from there: the cells of processor0 first, then of
    processor1, .... VTK gives float32, whatever is stored, and symmetric tensors as XX, YY, ZZ, XY, YZ, XZ. One field
    is in memory at a time, and the mesh.

    Raises InvalidSample for a case without such a time or patch, and for damage.
    """
    case, time = _case_and_time(path)
    parts = _parts(case, time)
    where = f"{case} at time {parts[0][1]}"
    meshes = [mesh for folder, name in parts for mesh in _Part(folder, name, member).meshes()]
    return meshes[0] if len(meshes) == 1 else JoinedMeshes(where, meshes)


def list_files(path: Path) -> list[Path]:
    """Return the files of a case that are read at the time which `open_openfoam` reads: of mesh, fields and control."""
    files = []
    for folder, time in _parts(*_case_and_time(path)):
        read = [file for each in (folder / "constant" / "polyMesh", folder / time) for file in each.rglob("*")]
        files += [folder / "system" / "controlDict", *sorted(file for file in read if file.is_file())]
    return [file for file in files if file.is_file()]


def _case_and_time(path: Path) -> tuple[Path, str | None]:
    folder = path if path.is_dir() else path.parent
    return (folder.parent, folder.name) if _TIME.fullmatch(folder.name) else (folder, None)


def _times(folder: Path) -> list[str]:
    """Return the names of the folders of times, in their order, that hold any file."""
    named = [each for each in folder.iterdir() if _TIME.fullmatch(each.name) and each.is_dir()]
    return sorted((each.name for each in named if any(file.is_file() for file in each.iterdir())), key=float)


def _parts(case: Path, time: str | None) -> list[tuple[Path, str]]:
    """Return the folders that hold a case, itself or its processors', and the name of the time to read."""
    processors = [each for each in case.iterdir() if re.fullmatch(r"processor\d+", each.name)]
    processors.sort(key=lambda folder: int(folder.name.removeprefix("processor")))
    own = _times(case) if (case / "constant" / "polyMesh").is_dir() else []
    theirs = _times(processors[0]) if processors else []
    if time is None:
        if not own and not theirs:
            raise InvalidSample(f"{case} is an OpenFOAM case without results: it has no folder of a time.")
        time = max(own[-1:] + theirs[-1:], key=float)
    if time in own:
        return [(case, time)]
    lacking = next((folder for folder in processors if time not in _times(folder)), None)
    if not processors or lacking is not None:
        raise InvalidSample(f"{lacking or case} has no time {time}; it has: {', '.join(own or theirs)}.")
    return [(folder, time) for folder in processors]


class _Part:
    """A case, or a processor's part of it, at one time, read by VTK."""

    def __init__(self, folder: Path, time: str, member: str | None) -> None:
        self._folder = folder
        self._time = time
        self._patterns = [each.strip() for each in member.split(",")] if member is not None else None
        with importing("vtk", f"reading {folder}"):
            from vtkmodules.vtkIOGeometry import vtkOpenFOAMReader  # noqa: PLC0415  VTK is imported when needed
        self._reader = reader = vtkOpenFOAMReader()
        reader.SetFileName(str(folder / "case.foam"))  # need not be there: it says where the case is
        reader.CreateCellToPointOff()
        reader.SkipZeroTimeOff()
        with vtk_errors(str(folder)):
            reader.UpdateInformation()
        names = [reader.GetPatchArrayName(number) for number in range(reader.GetNumberOfPatchArrays())]
        patches = [name.removeprefix("patch/") for name in names if name.startswith("patch/")]
        self._patches = self._chosen([name for name in patches if not name.startswith(_BETWEEN_PROCESSORS)])
        reader.DisableAllPatchArrays()
        for name in ["internalMesh"] if self._patterns is None else [f"patch/{name}" for name in self._patches]:
            reader.SetPatchArrayStatus(name, 1)
        self._update(None)

    def meshes(self) -> Iterator[VtkMesh]:
        """Yield the mesh of the cells, or that of each patch, whose fields are read when they are asked for."""
        name = f"{self._folder} at time {self._time}"
        for number, block in enumerate(self._blocks()):
            mesh = block.NewInstance()
            mesh.ShallowCopy(block)
            arrays = list(self._infos(mesh.GetNumberOfCells()))
            yield VtkMesh(mesh, name, arrays, partial(self._load, number))

    def _chosen(self, patches: list[str]) -> list[str]:
        groups = _patch_groups(self._folder) if self._patterns else {}
        chosen: set[str] = set()
        for pattern in self._patterns or []:
            named = {name for name in patches if fnmatchcase(name, pattern)}
            named |= {name for name in patches if pattern in groups.get(name, ())}
            if not named:
                raise InvalidSample(f"{self._folder} has no patch {pattern!r}; it has: {first_few(patches, limit=40)}.")
            chosen |= named
        return [name for name in patches if name in chosen]

    def _infos(self, n_cells: int) -> Iterator[ArrayInfo]:
        """Yield the fields of cells at this time; VTK lists those of other times, too."""
        for path in sorted((self._folder / self._time).iterdir()):
            if path.is_file():
                components = _components(path)
                if components is not None:
                    yield ArrayInfo(path.name.removesuffix(".gz"), "cell", "float32", n_cells, components)

    def _load(self, number: int, array: ArrayInfo) -> vtkDataArray | None:
        self._update(array.name)
        found: vtkDataArray | None = self._blocks()[number].GetCellData().GetArray(array.name)
        return found

    def _update(self, field: str | None) -> None:
        """Have VTK read the mesh, and one field of it."""
        selection = self._reader.GetCellDataArraySelection()
        if field is None or not selection.ArrayIsEnabled(field):
            selection.DisableAllArrays()
        if field is not None:
            selection.EnableArray(field)
        with vtk_errors(f"{self._folder} at time {self._time}", or_warnings=True):
            self._reader.Modified()  # by its selection, of which the pipeline does not know
            self._reader.UpdateTimeStep(float(self._time))

    def _blocks(self) -> list[Any]:
        """Return the data sets that VTK has read: that of the cells, or those of the chosen patches in order."""
        found: dict[str, vtkDataSet] = {}
        _collect(self._reader.GetOutput(), found)
        names = ["internalMesh"] if self._patterns is None else self._patches
        missing = [name for name in names if name not in found]
        if missing:
            raise InvalidSample(f"{self._folder} at time {self._time} cannot be read: VTK gives no {missing[0]}.")
        return [found[name] for name in names]


def _patch_groups(folder: Path) -> dict[str, list[str]]:
    """Return the groups of each patch: its type, and those of `inGroups`, as OpenFOAM has them."""
    path = folder / "constant" / "polyMesh" / "boundary"
    packed = path.with_name(f"{path.name}.gz")
    text = _COMMENT.sub(" ", _read(packed if packed.exists() else path).decode("utf-8", "replace"))
    groups = {}
    for name, entries in _PATCH.findall(text):
        found = re.search(r"\binGroups\b[^(;]*\(([^)]*)\)", entries)
        groups[name.strip('"')] = re.findall(r"\btype\s+(\w+)", entries) + (found[1].split() if found else [])
    return groups


def _components(path: Path) -> int | None:
    """Return how many components the field in a file has on cells; None for another kind of field or file."""
    found = _CLASS.search(_read(path, _HEADER_BYTES))
    return _COMPONENTS.get(found[1].decode()) if found else None


def _read(path: Path, size: int = -1) -> bytes:
    """Return the first bytes of a file, all of them without a size."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidSample(f"{path} cannot be read: {error}.") from error


def _collect(blocks: Any, found: dict[str, vtkDataSet]) -> None:
    for number in range(blocks.GetNumberOfBlocks()):
        block = blocks.GetBlock(number)
        if block is not None and block.IsA("vtkMultiBlockDataSet"):
            _collect(block, found)
        elif block is not None:
            found[blocks.GetMetaData(number).Get(blocks.NAME())] = block
