"""A storage: the objects below one root, wherever that lies."""

from __future__ import annotations

import contextlib
import os
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from drawpoint.errors import DrawpointError, MetadataDamaged, StoreUnreadable
from drawpoint_store.storage.bounds import MANIFEST_BYTES_A_VALUE, check_density
from drawpoint_store.storage.bucket_access import explain, is_missing_bucket
from drawpoint_store.storage.locations import join
from drawpoint_store.storage.temporary_folder import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeVar

    from zarr.storage import StorePath

    from drawpoint_store.storage.bucket_access import BucketAccess
    from drawpoint_store.storage.byte_sources import Buffer, Source

    Result = TypeVar("Result")


_UPLOADS = 4
"""How many files of a folder are uploaded at a time."""


class RangesRefused(DrawpointError):
    """The storage gives an object whole, whatever range of it is asked for."""


class ObjectInfo(NamedTuple):
    """An object: its path below the root, its size in bytes, and when it was changed last, in seconds since 1970.

    `stamp` changes whenever the object is rewritten, as far as the storage tells.
    """

    path: str
    nbytes: int
    changed: float | None
    stamp: str


class Storage(os.PathLike[str]):
    """The objects below `root`, a path or URL; everything that takes a root takes one, too.

    `open_storage` makes it, once, and callers pass it on. Names are relative paths below the root. It opens its
    connections when they are first needed, all threads share them, and it pickles without them.

    Every method raises StoreUnreadable where the storage does not answer: an outage is never taken for a missing
    object.
    """

    is_remote = True
    """Whether it is something other than local files."""

    requests_at_once = 8
    """How many requests of a thread each may be under way together."""

    is_shared = True
    """Whether other processes may write to it without a lock that holds them off."""

    def __init__(self, root: str, access: BucketAccess) -> None:
        self.root = root
        self.access = access

    def __reduce__(self) -> tuple[type[Storage], tuple[str, BucketAccess]]:
        return type(self), (self.root, self.access)

    def __fspath__(self) -> str:
        return self.root

    __str__ = __fspath__

    def join(self, name: str) -> str:
        """Return the path or URL of `name`."""
        return join(self.root, name)

    def absolute(self) -> Storage:
        """Return the same storage, under a root that a process in another directory understands."""
        return self

    def renewed(self) -> Storage:
        """Return the same storage, which shares its connections, and nothing that was read."""
        return self

    def read(self, name: str, most_documents: int = 1) -> bytes | None:
        """Return the bytes of an object, None if there is none.

        Raises DataDamaged for what is no regular file inside a local root, or larger than `access.document_bytes`
        times `most_documents`.
        """
        try:
            return self._ask("read", name, lambda name: self._get(name, most_documents * self.access.document_bytes))
        except MetadataDamaged as error:
            error.store = self.root
            raise

    def read_range(self, name: str, start: int, nbytes: int, stamp: str) -> Buffer | None:
        """Return `nbytes` bytes of an object from `start` on, None if it is gone, or ends before.

        None too where it is another than at `stamp`, as far as the storage compares that in the same request. Raises
        RangesRefused where the storage gives objects whole or not at all.
        """
        found = self._ask("read", name, lambda name: self._get_range(name, start, nbytes, stamp))
        return found if found is not None and len(found) == nbytes else None

    def stream(self, name: str) -> Iterator[Buffer]:
        """Yield the bytes of an object in pieces; none if it is gone."""
        with translated_errors("read", self.join(name)):
            try:
                yield from self._stream(name)
            except (FileNotFoundError, NotADirectoryError) as error:
                if is_missing_bucket(error):
                    raise

    def infos(self, paths: Sequence[str]) -> Sequence[ObjectInfo | None]:
        """Return what is known of each object, as `info` does; as many are asked for at once as the storage bears."""
        if self.requests_at_once == 1 or len(paths) <= 1:
            return [self.info(path) for path in paths]
        with ThreadPoolExecutor(self.requests_at_once) as pool:
            return list(pool.map(self.info, paths))

    def read_json(self, name: str) -> bytes | None:
        """Do what `read` does, for JSON; raises MetadataDamaged where parsing it would take too much memory."""
        data = self.read(name)
        try:
            check_density(data or b"", MANIFEST_BYTES_A_VALUE)
        except ValueError as error:
            raise MetadataDamaged(f"{self.join(name)} is not read: {error}.", store=self.root) from None
        return data

    def stamp(self, name: str) -> str | None:
        """Return what changes whenever an object does, None for one that is not there.

        The ETag in a bucket, inode, size and time of a file, elsewhere the sha256 of the bytes.
        """
        found = self.info(name)
        return None if found is None else found.stamp

    def write(self, name: str, data: bytes, *, durable: bool = True) -> str:
        """Write an object, whole or not at all, and return its path or URL.

        A `durable` file survives a loss of power from then on; others are written faster.
        """
        place = self.join(name)
        with translated_errors("written", place):
            self._put(name, data, durable=durable)
        return place

    def replace(self, name: str, data: bytes, stamp: str | None) -> bool:
        """Write an object if it is as it was at `stamp` (None: not there), and tell whether it was.

        A bucket compares and writes in one step. Where the storage cannot, and elsewhere, a caller that must not be
        interrupted holds a lock.
        """
        if self.stamp(name) != stamp:
            return False
        self.write(name, data)
        return True

    @contextlib.contextmanager
    def new_folder(self, above: str) -> Iterator[Path]:
        """Give an empty local folder to make a group in; it is removed at the end unless `move_in` has taken it.

        It lies in the folder `above` of a local root, elsewhere where temporary files do (TMPDIR).
        """
        del above
        with temporary_folder() as folder:
            yield folder

    def move_in(self, folder: Path, path: str, last: str) -> None:
        """Put the files of a local folder in the place of the folder `path`; the file `last` comes last.

        On a local root they appear in one step. What lay there is deleted, except on a shared root, and unless it is
        the same.
        """
        with translated_errors("written", self.join(path)):
            self._move_in(folder, path, last)

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are not there are deleted already."""
        with translated_errors("deleted", self.root):
            self._delete(names)

    def delete_tree(self, path: str) -> None:
        """Delete the object `path`, or all objects in the folder of that name; links are not followed."""
        with translated_errors("deleted", self.join(path)):
            self._delete_tree(path)

    def list(self, folder: str) -> tuple[list[str], list[str]]:
        """Return the names of the folders and of the objects directly in `folder` (`""`: the root), each sorted.

        A link to a folder is neither.
        """
        names: dict[bool, list[str]] = {True: [], False: []}
        for path, is_folder in self._ask("listed", folder, lambda folder: tuple(self._list(folder))) or ():
            names[is_folder].append(path.rstrip("/").rsplit("/", 1)[-1])
        return sorted(names[True]), sorted(names[False])

    def find(self, folder: str) -> Sequence[ObjectInfo]:
        """Return all objects in `folder` (`""`: the root) and in the folders below it; links are not followed."""
        return self._ask("listed", folder, lambda folder: tuple(self._find(folder))) or ()

    def info(self, path: str) -> ObjectInfo | None:
        """Return what is known of an object, None for one that is not there."""
        return self._ask("read", path, self._info)

    def count_bytes(self, path: str) -> int:
        """Return the bytes of all objects in the folder `path`."""
        return sum(found.nbytes for found in self.find(path))

    def last_change(self, path: str) -> float | None:
        """Return when an object of the folder `path`, or the object `path`, was changed last, in seconds since 1970.

        None where the storage does not tell, and where there is nothing.
        """
        return max((found.changed for found in self.find(path) if found.changed is not None), default=None)

    def check_file(self, name: str, most_bytes: int | None) -> None:
        """Raise DataDamaged for what is there and is no regular file inside a local root, or larger than `most_bytes`.

        None means what a document may have.
        """

    @abstractmethod
    def source(self, relpath: str) -> Source:
        """Return what reads the objects of the sample's group at `relpath`."""

    @abstractmethod
    def open_zarr(self, relpath: str = "", *, read_only: bool = True) -> StorePath:
        """Return the place of the group at `relpath` in a zarr Store, whose root is that place or lies above it."""

    def _ask(self, done: str, name: str, ask: Callable[[str], Result]) -> Result | None:
        """Return what the storage says of an object or folder, None for one that is not there."""
        with translated_errors(done, self.join(name)):
            try:
                return ask(name)
            except (FileNotFoundError, NotADirectoryError) as error:
                if is_missing_bucket(error):
                    raise
                return None

    @abstractmethod
    def _get(self, name: str, most_bytes: int) -> bytes: ...

    @abstractmethod
    def _get_range(self, name: str, start: int, nbytes: int, stamp: str) -> Buffer | None: ...

    @abstractmethod
    def _stream(self, name: str) -> Iterable[Buffer]: ...

    @abstractmethod
    def _put(self, name: str, data: bytes, *, durable: bool) -> None: ...

    @abstractmethod
    def _move_in(self, folder: Path, path: str, last: str) -> None: ...

    @abstractmethod
    def _delete(self, names: Sequence[str]) -> None: ...

    @abstractmethod
    def _delete_tree(self, path: str) -> None: ...

    @abstractmethod
    def _list(self, folder: str) -> Iterable[tuple[str, bool]]: ...

    @abstractmethod
    def _find(self, path: str) -> Iterable[ObjectInfo]: ...

    @abstractmethod
    def _info(self, path: str) -> ObjectInfo: ...


def upload_files(folder: Path, path: str, last: str, put: Callable[[str, Path], object]) -> None:
    """Put each file of a local folder at its place below `path`, several at a time; the file `last` comes last."""
    names = [str(file.relative_to(folder)) for file in sorted(folder.rglob("*")) if file.is_file()]
    with ThreadPoolExecutor(_UPLOADS) as pool:
        list(pool.map(lambda name: put(f"{path}/{name}", folder / name), [name for name in names if name != last]))
    put(f"{path}/{last}", folder / last)


@contextlib.contextmanager
def translated_errors(done: str, place: str, kind: type[Exception] = Exception) -> Iterator[None]:
    """Raise StoreUnreadable for whatever the storage raises, of that kind."""
    # obstore's, fsspec's and each driver's errors have no common base.
    try:
        yield
    except DrawpointError:
        raise
    except kind as error:
        raise StoreUnreadable(f"{place} cannot be {done}: {explain(error)}.") from None
