"""The files that an index or a case names, or holds, found without opening data."""

from __future__ import annotations

import os
import posixpath
from bisect import bisect_left
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files import files_besides
from drawpoint_store.storage import LocalStorage
from drawpoint_store.storage.temporary_folder import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from drawpoint_store.conversion.sources.file_tree import FileTree

_CASE_MARKS = ("constant/polyMesh", "processor0")
"""The folders of an OpenFOAM case, of which a folder beside them is one time."""

_READ = (".case", ".pvtp", ".pvtu", ".vtm")
"""The suffixes of files that name others, and are small. Of all others the names alone are needed."""


class NamedFiles:
    """Finds the files that are read besides a file, or of a case, in a tree that may lie elsewhere."""

    def __init__(self, tree: FileTree) -> None:
        self.tree = tree
        self._folders = sorted(tree.folders)

    def besides(self, path: str) -> list[str]:
        """Return the files that are read besides the file or folder at `path`, below the source; they may be missing.

        Raises InvalidSample for an index that is damaged or leads out of a source that lies elsewhere, and a case that
        has no results.
        """
        if isinstance(self.tree.storage, LocalStorage):
            root = self.tree.storage.path("")
            return [os.path.relpath(each, root) for each in files_besides(root / path)]
        with temporary_folder() as folder:
            self._mirror(path, folder)
            try:
                found = [os.path.relpath(each, folder) for each in files_besides(folder / path)]
            except InvalidSample as error:
                error.args = (str(error).replace(str(folder), self.tree.storage.root),)
                raise
        for each in found:
            if each.startswith(".."):
                raise InvalidSample(f"{path} names {each}, which is not below {self.tree.storage.root}")
        return found

    def _mirror(self, path: str, folder: Path) -> None:
        """Make empty files of the names that the tree has around `path`, and what names others as it is."""
        for above, names in self._around(path):
            (folder / above).mkdir(parents=True, exist_ok=True)
            for name in filter(None, names):
                place = folder / above / name
                is_read = name.lower().endswith(_READ) and posixpath.join(above, name).startswith(path)
                data = self.tree.storage.read(posixpath.join(above, name)) if is_read else b""
                place.write_bytes(data or b"")

    def _around(self, path: str) -> Iterator[tuple[str, list[str]]]:
        name = posixpath.basename(path)
        above = posixpath.dirname(path)
        if name in self.tree.folders.get(above, {}):
            top = above
        else:
            top = above if any(self._has(posixpath.join(above, mark)) for mark in _CASE_MARKS) else path
        if name in self.tree.folders.get(above, {}) and not name.lower().endswith((".case", ".foam")):
            yield above, [name]
            return
        yield from ((each, list(self.tree.folders[each])) for each in self._below(top))

    def _has(self, folder: str) -> bool:
        return next(self._below(folder), None) is not None

    def _below(self, top: str) -> Iterator[str]:
        """Yield the folders that hold files, from `top` down."""
        if top in self.tree.folders:
            yield top
        begin = f"{top}/" if top else ""
        place = bisect_left(self._folders, begin)
        while place < len(self._folders) and self._folders[place].startswith(begin):
            if self._folders[place] != top:
                yield self._folders[place]
            place += 1
