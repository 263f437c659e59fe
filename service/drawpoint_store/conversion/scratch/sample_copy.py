"""The files of a sample in a folder of this machine, whole or in parts, and how they are fetched."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, Executor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample, StoreUnreadable
from drawpoint_store.data_files.needed_parts import ROUND_TRIP_BYTES, needed_parts
from drawpoint_store.storage.partial_file import PartialFile
from drawpoint_store.storage.storage import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path
    from threading import Event

    from drawpoint_store.conversion.sources.source import SourceFile
    from drawpoint_store.data_files.joined_file import FilePath
    from drawpoint_store.data_files.needed_parts import Needed
    from drawpoint_store.storage import LocalStorage, Storage


STOP_SECONDS = 0.2
"""How often it is looked whether the wait for requests has become pointless."""


def check_stop(stop: Event) -> None:
    """Raise StoreUnreadable where nobody wants what is fetched any more."""
    if stop.is_set():
        raise StoreUnreadable("the conversion ended while samples were fetched")


@dataclass(frozen=True)
class WantedFile:
    """A file to fetch, or the pieces of one in order; `needed` is what is read of it, None for all."""

    pieces: tuple[SourceFile, ...]
    needed: Needed | None = None


@dataclass(frozen=True)
class SampleCopy:
    """The files of a sample in `folder`, at the paths that they have below the source, all of one state.

    `infos` are those of that state, `partial` the files of which only parts are there; where it `is_lazy`, these are
    what told where the others lie, and a read fetches what it needs. It is pickled into processes of the same machine.
    """

    folder: Path
    infos: Mapping[str, ObjectInfo]
    partial: Mapping[str, PartialFile] = field(default_factory=dict)
    is_lazy: bool = False

    @property
    def nbytes(self) -> int:
        """How many bytes are there."""
        return sum(
            self.partial[path].nbytes_present if path in self.partial else info.nbytes
            for path, info in self.infos.items()
        )

    def path(self, path: str) -> FilePath:
        """Return what a reader opens for the file or folder at `path` below the source."""
        return self.partial.get(path) or self.folder / path

    def read(self, path: str) -> bytes:
        """Return the bytes of a file that was copied whole."""
        return (self.folder / path).read_bytes()

    def info(self, path: str) -> ObjectInfo | None:
        """Return what is known of a file, None for one that was not copied."""
        return self.infos.get(path)


@contextmanager
def named_by_source(folder: LocalStorage | SampleCopy, source: str) -> Iterator[None]:
    """Name files of a copy in errors as they are called in the source: those here are gone when somebody looks."""
    try:
        yield
    except InvalidSample as error:
        if isinstance(folder, SampleCopy):
            error.args = (str(error).replace(str(folder.folder), source.rstrip("/")),)
        raise


class SampleFetch:
    """Fetches a sample's files from `storage` into `folder`, on the threads of `executor`.

    Nothing is there before `make_copy`, and all of it after. `look` asks for the sizes; `plan` decides which files are
    read by parts, and tells how many bytes that takes.
    """

    def __init__(
        self, storage: Storage, wanted: Sequence[WantedFile], folder: Path, executor: Executor, stop: Event
    ) -> None:
        self._storage = storage
        self._wanted = wanted
        self._folder = folder
        self._executor = executor
        self._stop = stop
        self._infos = {
            file.path: ObjectInfo(file.path, file.size, None, file.stamp) for each in wanted for file in each.pieces
        }
        self._files: dict[str, PartialFile] = {}
        self._spans: dict[str, list[tuple[int, int]]] = {}

    @property
    def nbytes(self) -> int:
        """The bytes of all files."""
        return sum(info.nbytes for info in self._infos.values())

    @property
    def nbytes_planned(self) -> int:
        """The bytes that are fetched."""
        return sum(
            file.nbytes_of(self._spans[path]) if path in self._spans else file.size
            for path, file in self._files.items()
        )

    def look(self) -> None:
        """Ask for what the files are now; raises InvalidSample for one that is gone."""
        paths = list(self._infos)
        for path, info in zip(paths, self._storage.infos(paths), strict=True):
            if info is None:
                raise InvalidSample(f"lacks {path}, which was listed before")
            self._infos[path] = info

    def plan(self) -> None:
        """Find out which files are read by parts: those that take fewer bytes so, round trips counted."""
        self._files = {}
        self._spans = {}
        for path, info in self._infos.items():
            if any(step in ("", ".", "..") for step in path.split("/")):  # a bucket may have such names
                raise InvalidSample(f"has a file {path!r}, which is no path of a file here: give it another name")
            self._files[path] = PartialFile(self._storage, info, self._folder / path)
        for each in self._wanted:
            if each.needed is not None:
                files = [self._files[file.path] for file in each.pieces]
                parts = needed_parts(files, each.needed)
                if parts is not None and _saves(files, parts):
                    self._spans |= {file.info.path: spans for file, spans in zip(files, parts, strict=True)}

    def make_copy(self, *, lazily: bool = False) -> SampleCopy:
        """Fetch what was planned, and return it; `lazily` only those files that are read whole.

        Raises InvalidSample where files changed meanwhile.
        """
        waited: set[Future[None]] = set()
        try:
            for path, file in self._files.items():
                file.whole = path not in self._spans
                if file.whole or not lazily:
                    waited.update(file.fetch(self._spans.get(path, [(0, file.size)]), self._executor))
            left = waited
            while left:
                done, left = wait(left, STOP_SECONDS, FIRST_EXCEPTION)
                for each in done:
                    each.result()
                check_stop(self._stop)
        except BaseException:
            for file in self._files.values():
                file.stop()  # a server that gives no ranges may be at the first of many gigabytes
            raise
        finally:
            for each in waited:
                each.cancel()
            wait(waited)
        if self.have_changed():
            raise InvalidSample("its files were written again while they were fetched")
        partial = {path: self._files[path] for path in self._spans}
        return SampleCopy(self._folder, dict(self._infos), partial, is_lazy=lazily and bool(partial))

    def have_changed(self) -> bool:
        """Tell whether a file is gone, or another than when it was listed or looked at."""
        found = self._storage.infos(list(self._infos))
        return [info and (info.nbytes, info.stamp) for info in found] != [
            (info.nbytes, info.stamp) for info in self._infos.values()
        ]


def _saves(files: Sequence[PartialFile], parts: Sequence[Sequence[tuple[int, int]]]) -> bool:
    """Tell whether it takes less time to fetch parts of files, one request after the others, than the whole."""
    planned = sum(file.nbytes_of(spans) for file, spans in zip(files, parts, strict=True))
    return planned + ROUND_TRIP_BYTES < sum(file.size for file in files)
