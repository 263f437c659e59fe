"""The things in a source that a reader opens, each a file, the pieces of one, or a folder."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drawpoint_store.conversion.recipes.file_reference import PIECE
from drawpoint_store.conversion.recipes.pattern import natural_key
from drawpoint_store.conversion.sources.file_tree import folders_above
from drawpoint_store.data_files.opening import FOLDERS, PART, READERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drawpoint_store.conversion.sources.file_tree import FileTree

MESHES = frozenset((".vtp", ".vtu", ".vti", ".vtr", ".vts", ".pvtp", ".pvtu", ".vtm", ".vtk", ".stl", ".foam"))
"""The kinds that have a mesh, so that their positions need no name."""

BESIDE = frozenset((".csv", ".tsv", ".json", ".toml"))
"""The kinds that may hold numbers of a sample as a whole."""


@dataclass(frozen=True, slots=True)
class SourceUnit:
    """A file, the pieces of a file in their order, or a folder that is read as one (an OpenFOAM case, a Zarr group).

    `path` is below the source, of pieces without what numbers them, and ends with `*` then. `kind` is the suffix of its
    reader, or of what may hold scalars, and `""` for all else, archives among them.
    """

    path: str
    kind: str
    size: int
    paths: tuple[str, ...]
    is_folder: bool = False

    @property
    def is_data(self) -> bool:
        """Whether a reader opens it, and it is no table beside the data."""
        return self.kind in READERS and self.kind not in BESIDE

    @property
    def is_mesh(self) -> bool:
        """Whether it has a mesh."""
        return self.kind in MESHES


def find_units(tree: FileTree) -> list[SourceUnit]:
    """Return all units of a tree, in the natural order of their paths; files of hidden names are left out."""
    folders = _folder_units(tree)
    sizes = dict.fromkeys(folders, 0)
    units: list[SourceUnit] = []
    for folder, files in tree.folders.items():
        inside = next((above for above in (folder, *folders_above(folder)) if above in folders), None)
        if inside is not None:
            sizes[inside] += sum(file.size for file in files.values())
            continue
        units += _file_units({name: file.size for name, file in files.items() if not name.startswith(".")}, folder)
    units += [SourceUnit(path, kind, sizes[path], (path,), is_folder=True) for path, kind in folders.items()]
    return sorted(units, key=lambda unit: natural_key(unit.path))


def _folder_units(tree: FileTree) -> dict[str, str]:
    """Return the outermost folders that are read as a whole, with the suffix of their reader."""
    known = {above for folder in tree.folders for above in (folder, *folders_above(folder))}
    found: dict[str, str] = {}
    for folder in sorted(known, key=lambda path: path.count("/") + bool(path)):
        if any(above in found for above in (folder, *folders_above(folder))):
            continue
        names = tree.folders.get(folder, {})
        for inside, kind in FOLDERS.items():
            if not inside.startswith("..") and (inside in names or posixpath.join(folder, inside) in known):
                found[folder] = kind
                break
    return found


def _file_units(sizes: Mapping[str, int], folder: str) -> Iterator[SourceUnit]:
    pieces: dict[str, list[str]] = {}
    for name in sizes:
        if name.endswith(PIECE):
            pieces.setdefault(PART.sub("", name), []).append(name)
        else:
            path = posixpath.join(folder, name)
            yield SourceUnit(path, _kind(name), sizes[name], (path,))
    for whole, names in pieces.items():
        names.sort(key=natural_key)
        paths = tuple(posixpath.join(folder, name) for name in names)
        yield SourceUnit(posixpath.join(folder, whole) + "*", _kind(whole), sum(sizes[name] for name in names), paths)


def _kind(name: str) -> str:
    suffix = posixpath.splitext(name)[1].lower()
    return suffix if suffix in READERS or suffix in BESIDE else ""
