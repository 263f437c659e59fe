"""The open data files of a sample."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from drawpoint_store.conversion.recipes.file_reference import is_archive
from drawpoint_store.conversion.recipes.pattern import fill
from drawpoint_store.conversion.recipes.reading.archive_member import unpack_member
from drawpoint_store.conversion.recipes.reading.array_choice import ArrayMissing
from drawpoint_store.data_files import open_data_file
from drawpoint_store.storage.temporary_folder import temporary_folder

if TYPE_CHECKING:
    from drawpoint_store.conversion.recipes.file_reference import FileReference
    from drawpoint_store.conversion.recipes.reading.sample_files import SampleFiles
    from drawpoint_store.data_files.data_file import DataFile
    from drawpoint_store.data_files.joined_file import FilePath
    from drawpoint_store.storage.storage import ObjectInfo


class SampleFolder(Protocol):
    """Where the files of a sample lie on this machine."""

    def path(self, path: str, /) -> FilePath:
        """Return what a reader opens for the file or folder at `path` below the source."""

    def info(self, path: str, /) -> ObjectInfo | None:
        """Return what is known of a file, None for one that is not there."""


class OpenSample:
    """The files of one sample, each opened when it is first asked for; for one thread, and to be closed."""

    def __init__(self, folder: SampleFolder, files: SampleFiles) -> None:
        self.folder = folder
        self.files = files
        self._state = self._stamps()
        self._opened: dict[FileReference, DataFile] = {}
        self._closing = ExitStack()
        # Also when nobody closes this: at the end of a thread, or of the process.
        self._close = weakref.finalize(self, self._closing.close)

    @property
    def is_current(self) -> bool:
        """Whether the sample's files are those that were opened, and not written again since."""
        return self._stamps() == self._state

    def open(self, reference: FileReference) -> DataFile:
        """Return the file that a recipe refers to.

        Raises ArrayMissing for one that is not there, InvalidSample for one that cannot be read, and StoreUnreadable
        where there is no room to unpack it.
        """
        if reference not in self.files.found:
            raise ArrayMissing(f"lacks {reference}")
        if reference not in self._opened:
            paths = [self.folder.path(path) for path in self.files.found[reference].paths]
            member = None if reference.member is None else fill(reference.member, self.files.captures)
            if isinstance(paths[0], Path) and is_archive(paths[0].name):
                folder = self._closing.enter_context(temporary_folder())
                paths, member = [unpack_member(paths[0], member, folder)], None
            self._opened[reference] = self._closing.enter_context(open_data_file(paths, member))
        return self._opened[reference]

    def close(self) -> None:
        """Close all files, and remove what was unpacked."""
        self._opened.clear()
        self._close()

    def _stamps(self) -> list[ObjectInfo | None]:
        return [self.folder.info(file.path) for file in self.files.files]
