"""Where a sample's bytes come from: the one seam of all reading.

A source is rooted at a sample's group. `fetch` takes spans of objects and yields their bytes in that order; it
raises FileNotFoundError for an object that is not there and StoreUnreadable for a storage that does not answer. It
yields what there is of a span that reaches beyond its object: whoever asked knows how many bytes it needs; and ABSENT
for a span whose object need not be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from drawpoint.errors import DrawpointError, MetadataDamaged, StoreUnreadable
from drawpoint_store.storage.buckets import explain
from drawpoint_store.storage.documents import DOCUMENT_BYTES, DocumentTooLarge, check_size
from drawpoint_store.storage.local_files import LocalRoot

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from zarr.abc.store import ByteRequest, Store

    from drawpoint_store.reading.codecs import Buffer

    Result = TypeVar("Result")
    Fetching: TypeAlias = Generator[Sequence["Span"], Iterable[Buffer], Result]
    """Work that yields what it needs fetched and is sent the bytes, so that threads and event loops share it."""


class Span(NamedTuple):
    """`nbytes` bytes of an object from `start`, counted from its end where negative; None: to its end."""

    key: str
    start: int
    nbytes: int | None
    may_be_absent: bool = False


ABSENT = memoryview(b"")
"""Stands, by identity, for the bytes of an object that is not there."""


def check_document(path: str, nbytes: int, limit: int) -> None:
    """Raise MetadataDamaged for metadata of more than `limit` bytes."""
    try:
        check_size(nbytes, limit)
    except DocumentTooLarge as error:
        raise MetadataDamaged(f"{path} is not read: {error}.") from None


class Source(Protocol):
    """Reads spans of the objects of one sample's group; where it is `far` a fetch costs a round trip."""

    @property
    def far(self) -> bool: ...

    def fetch(self, spans: Sequence[Span]) -> Iterable[Buffer]: ...


def fetch_for(work: Fetching[Result], source: Source) -> Result:
    """Do `work` with the bytes that `source` fetches."""
    try:
        spans = next(work)
        while True:
            spans = work.send(source.fetch(spans))
    except StopIteration as done:
        result: Result = done.value
        return result


_METADATA = "zarr.json"


class OpenFiles:
    """Files below a local root kept open, the `limit` most recently used ones.

    Reads are positioned, so threads share them.

    There is no lock that a fork could leave held: each step on the OrderedDict is atomic by itself, and a file that
    drops out is closed when its last reader lets go of it.
    """

    def __init__(self, root: str | os.PathLike[str], limit: int) -> None:
        self.root = LocalRoot(root)
        self._limit = limit
        self._files: OrderedDict[str, _File] = OrderedDict()

    def open(self, path: str) -> _File:
        """Return the file at `path`; raises what LocalRoot.open raises."""
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = _File(self.root.open(path))
        with contextlib.suppress(KeyError):  # another thread may have dropped it, or the last one, meanwhile
            self._files.move_to_end(path)
            while len(self._files) > self._limit:
                self._files.popitem(last=False)
        return file

    def holds(self, path: str) -> bool:
        """Tell whether the file at `path` is open."""
        return path in self._files

    def drop(self, folder: str) -> None:
        """Let go of the files in `folder`, so that the next reads open what lies there then."""
        for path in list(self._files):
            if path.startswith(f"{folder}/"):
                self._files.pop(path, None)


class _File:
    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


class LocalSource:
    """Positioned reads of local files, one after the other; fetched lazily, so that memory stays bounded."""

    far = False

    def __init__(self, root: Path, files: OpenFiles, document_bytes: int = DOCUMENT_BYTES) -> None:
        self._root = root
        self._files = files
        self._document_bytes = document_bytes
        self._identity: tuple[int, int, int] | None = None
        self.was_replaced = False
        """Whether another group turned out to lie where this one was opened."""

    def close(self) -> None:
        """Let go of the open files of the group, so that the next reads open what lies there then."""
        self._files.drop(str(self._root))

    def fetch(self, spans: Sequence[Span]) -> Iterator[Buffer]:
        """Yield the bytes of each span."""
        for key, start, nbytes, may_be_absent in spans:
            path = f"{self._root}/{key}"
            try:
                if nbytes is None:
                    yield self._read_document(key, path)
                    continue
                is_open = self._files.holds(path)
                opened = self._files.open(path)  # held while it is read: letting go of it may close it
                if not is_open and self._identity is not None:
                    self._check_identity(os.stat(f"{self._root}/{_METADATA}"))  # noqa: PTH116  a Path would cost more
                descriptor = opened.descriptor
                first = start if start >= 0 else max(0, os.fstat(descriptor).st_size + start)
                yield _read_span(descriptor, nbytes, first)
            except (FileNotFoundError, NotADirectoryError) as error:
                if not may_be_absent or os.path.lexists(path):  # a link whose file is gone
                    raise FileNotFoundError(key) from error
                yield ABSENT
            except DrawpointError:
                raise
            except OSError as error:
                raise StoreUnreadable(f"{path} cannot be read: {error.strerror}.", store=str(self._root)) from error

    def _read_document(self, key: str, path: str) -> bytes:
        with os.fdopen(self._files.root.open(path), "rb") as file:
            status = os.fstat(file.fileno())
            if key == _METADATA:
                self._identity = self._identity or _identify(status)
                self._check_identity(status)
            check_document(path, status.st_size, self._document_bytes)
            data = file.read(self._document_bytes + 1)
        check_document(path, len(data), self._document_bytes)  # it may have grown meanwhile
        return data

    def _check_identity(self, status: os.stat_result) -> None:
        """Refuse a group that was put in the place of the one whose other files are open: their rows do not match."""
        if self._identity != _identify(status):
            self.was_replaced = True
            raise StoreUnreadable(
                f"{self._root} was replaced by another group while it was open; open the store anew.",
                store=str(self._root),
            )


def _identify(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read_span(descriptor: int, nbytes: int, first: int) -> bytes:
    data = os.pread(descriptor, nbytes, first)
    while len(data) < nbytes:  # the kernel may give less, and gives nothing at the end of the file
        more = os.pread(descriptor, nbytes - len(data), first + len(data))
        if not more:
            break
        data += more
    return data


_IN_FLIGHT = 64
"""Requests of one fetch through a zarr Store that are under way together: the Store may be any."""


class ZarrSource:
    """Reads through the `get` of any zarr Store; all spans of a fetch are under way together.

    It counts as near, so that who wraps a Store sees it asked for what is needed and nothing else.
    """

    far = False

    def __init__(self, store: Store) -> None:
        self._store = store

    def fetch(self, spans: Sequence[Span]) -> Iterator[Buffer]:
        """Yield the bytes of each span."""
        from zarr.core.sync import sync  # noqa: PLC0415  see stores.make_store

        yield from sync(self._fetch(spans))

    async def _fetch(self, spans: Sequence[Span]) -> list[Buffer]:
        places = asyncio.Semaphore(_IN_FLIGHT)
        return await asyncio.gather(*(self._get(span, places) for span in spans))

    async def _get(self, span: Span, places: asyncio.Semaphore) -> Buffer:
        from zarr.core.buffer import default_buffer_prototype  # noqa: PLC0415  see stores.make_store

        try:
            async with places:
                found = await self._store.get(span.key, default_buffer_prototype(), _byte_request(span))
        except (FileNotFoundError, NotADirectoryError):
            found = None
        except Exception as error:
            raise StoreUnreadable(f"{self._store}: {span.key} cannot be read: {explain(error)}.") from error
        if found is None:
            if span.may_be_absent:
                return ABSENT
            raise FileNotFoundError(span.key)
        return memoryview(found.to_bytes())


def _byte_request(span: Span) -> ByteRequest | None:
    from zarr.abc.store import RangeByteRequest, SuffixByteRequest  # noqa: PLC0415  see stores.make_store

    if span.nbytes is None:
        return None
    return SuffixByteRequest(-span.start) if span.start < 0 else RangeByteRequest(span.start, span.start + span.nbytes)
