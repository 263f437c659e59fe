"""The storage of a bucket, through obstore: everything asked for at once, within a deadline, on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from drawpoint.errors import MetadataDamaged, StoreUnreadable
from drawpoint_store.storage.bounds import check_size
from drawpoint_store.storage.bucket_access import explain, is_beyond_end, is_missing_bucket, open_client
from drawpoint_store.storage.byte_sources import ABSENT, RemoteSource
from drawpoint_store.storage.forks import ForkSafeLock, refuse_fork, submit
from drawpoint_store.storage.storage import ObjectInfo, RangesRefused, Storage, translated_errors, upload_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    import obstore.store
    from obstore import GetOptions, ObjectMeta
    from zarr.storage import StorePath

    from drawpoint_store.storage.bucket_access import BucketAccess
    from drawpoint_store.storage.byte_sources import Buffer, Span

_RANGES = 8
"""Chunks that one call of obstore reads: it has 10 requests under way at most, and more would wait in a queue."""

_STREAM_SECONDS = 7 * 24 * 3600.0
"""The most that an object may take which is read from its beginning to its end."""

_PIECE = 1 << 23
"""The least that is given of an object at a time, of one that is read from its beginning to its end."""


class BucketStorage(Storage):
    """The objects below an object URL. All who read share one client, and all who write another.

    At most `access.bucket_requests` requests for the bytes of samples are under way at once.
    """

    def __init__(self, root: str, access: BucketAccess) -> None:
        super().__init__(root, access)
        self._clients: dict[bool, obstore.store.ObjectStore] = {}
        self._stream_client: obstore.store.ObjectStore | None = None
        self._lock = ForkSafeLock()
        self._free = asyncio.Semaphore(access.bucket_requests)
        self._in_turn = asyncio.Lock()

    def client(self, *, read_only: bool) -> obstore.store.ObjectStore:
        """Return the client that reads, or the one that writes, whose time limits are those of long bodies.

        Raises what open_client raises.
        """
        with self._lock:
            if read_only not in self._clients:
                self._clients[read_only] = open_client(self.root, self.access, read_only=read_only)
        refuse_fork()
        return self._clients[read_only]

    @contextlib.asynccontextmanager
    async def slots(self, count: int) -> AsyncIterator[None]:
        """Wait until `count` more requests may be under way, and hold their slots."""
        held = 0
        try:
            async with self._in_turn:  # else two could wait for what the other holds
                while held < count:
                    await self._free.acquire()
                    held += 1
            yield
        finally:
            for _ in range(held):
                self._free.release()

    def source(self, relpath: str) -> BucketSource:
        return BucketSource(self, relpath)

    def open_zarr(self, relpath: str = "", *, read_only: bool = True) -> StorePath:
        from zarr.storage import ObjectStore, StorePath  # noqa: PLC0415  0.4 s, and only the fallback needs it

        # Rooted where the client is: a client for each group would cost 10 ms and new connections.
        return StorePath(ObjectStore(self.client(read_only=read_only), read_only=read_only), relpath)

    def replace(self, name: str, data: bytes, stamp: str | None) -> bool:
        from obstore.exceptions import (  # noqa: PLC0415  only stores in buckets need it
            AlreadyExistsError,
            NotFoundError,
            NotSupportedError,
            PreconditionError,
        )

        with translated_errors("written", self.join(name)):
            try:  # If-None-Match or If-Match
                self.client(read_only=False).put(name, data, mode="create" if stamp is None else {"e_tag": stamp})
            except (AlreadyExistsError, PreconditionError, NotFoundError):
                return False
            except NotSupportedError:
                return super().replace(name, data, stamp)
        return True

    def _get(self, name: str, most_bytes: int) -> bytes:
        found = self.client(read_only=True).get(name)
        check_size(self.join(name), found.meta["size"], most_bytes)
        return bytes(found.bytes())

    def _get_range(self, name: str, start: int, nbytes: int, stamp: str) -> Buffer | None:
        from obstore.exceptions import (  # noqa: PLC0415  only stores in buckets need it
            NotSupportedError,
            PreconditionError,
        )

        options: GetOptions = {"range": (start, start + nbytes)}
        if stamp.startswith('"'):  # an ETag that says that the bytes are the same; a weak one does not
            options["if_match"] = stamp
        try:
            return memoryview(self.client(read_only=True).get(name, options=options).bytes())
        except PreconditionError:
            return None
        except NotSupportedError:
            raise RangesRefused(f"{self.join(name)} is not given in ranges of bytes.", store=self.root) from None
        except Exception as error:
            if is_beyond_end(error):
                return None
            raise

    def _stream(self, name: str) -> Iterator[Buffer]:
        with self._lock:
            if self._stream_client is None:
                # The deadline of a request includes its body, and this one may be of any size: a stall ends it.
                access = self.access.model_copy(update={"deadline_seconds": _STREAM_SECONDS})
                self._stream_client = open_client(self.root, access, read_only=True)
        refuse_fork()
        for piece in self._stream_client.get(name).stream(min_chunk_size=_PIECE):
            yield memoryview(piece)

    def _put(self, name: str, data: bytes, *, durable: bool) -> None:
        del durable
        self.client(read_only=False).put(name, data)

    def _move_in(self, folder: Path, path: str, last: str) -> None:
        upload_files(folder, path, last, self.client(read_only=False).put)  # large ones in parts, which appear whole

    def _delete(self, names: Sequence[str]) -> None:
        if names:
            with contextlib.suppress(FileNotFoundError):  # some storages mind what is not there
                self.client(read_only=False).delete(names)

    def _delete_tree(self, path: str) -> None:
        self._delete([path])
        for page in self.client(read_only=False).list(f"{path}/"):
            self._delete([entry["path"] for entry in page])

    def _list(self, folder: str) -> Iterator[tuple[str, bool]]:
        listing = self.client(read_only=True).list_with_delimiter(folder or None)
        for path in listing["common_prefixes"]:
            yield path, True
        for entry in listing["objects"]:
            yield entry["path"], False

    def _find(self, path: str) -> Iterator[ObjectInfo]:
        for page in self.client(read_only=True).list(path and f"{path}/"):
            yield from map(_object_info, page)

    def _info(self, path: str) -> ObjectInfo:
        return _object_info(self.client(read_only=True).head(path))


def _object_info(entry: ObjectMeta) -> ObjectInfo:
    return ObjectInfo(entry["path"], entry["size"], entry["last_modified"].timestamp(), entry["e_tag"] or "")


class BucketSource(RemoteSource):
    """Reads from a bucket: all spans of a fetch are under way together.

    `relpath` is the sample's group below the root of the storage. A fetch ends by the storage's deadline, retries
    included. Threads wait for it, or tasks of an event loop.
    """

    def __init__(self, storage: BucketStorage, relpath: str) -> None:
        self._storage = storage
        self._relpath = relpath

    def fetch(self, spans: Sequence[Span]) -> Iterator[Buffer]:
        if spans:
            refuse_fork()
            yield from submit(self._fetch(spans)).result()

    async def fetch_async(self, spans: Sequence[Span]) -> Sequence[Buffer]:
        if not spans:
            return []
        refuse_fork()
        return await asyncio.wrap_future(submit(self._fetch(spans)))

    async def _fetch(self, spans: Sequence[Span]) -> list[Buffer]:
        access = self._storage.access
        found: list[Buffer] = [b""] * len(spans)
        try:
            async with asyncio.timeout(access.deadline_seconds), asyncio.TaskGroup() as tasks:
                for group in _request_groups(spans, min(_RANGES, access.bucket_requests)):
                    tasks.create_task(self._get_group(spans, group, found))
        except TimeoutError:
            raise StoreUnreadable(
                f"{self._relpath} cannot be read: the storage does not answer within {access.deadline_seconds:g} s, "
                "retries included."
            ) from None
        except BaseExceptionGroup as errors:
            # An outage shows that what else failed says nothing of what is there.
            raise min(errors.exceptions, key=lambda error: isinstance(error, FileNotFoundError)) from None
        return found

    async def _get_group(self, spans: Sequence[Span], group: list[int], found: list[Buffer]) -> None:
        async with self._storage.slots(len(group)):
            for place, buffer in zip(group, await self._get([spans[place] for place in group]), strict=True):
                found[place] = buffer

    async def _get(self, spans: Sequence[Span]) -> list[Buffer]:
        import obstore  # noqa: PLC0415  only stores in buckets need it

        path, whole = f"{self._relpath}/{spans[0].key}", spans[0].nbytes is None
        try:
            client = self._storage.client(read_only=True)
            if _is_range(spans[0]):
                starts, lengths = [span.start for span in spans], [span.nbytes or 0 for span in spans]
                # coalesce=0: chunks side by side are one span already, and gaps are not worth their bytes.
                ranges = await obstore.get_ranges_async(client, path, starts=starts, lengths=lengths, coalesce=0)
                return [memoryview(each) for each in ranges]
            options: GetOptions = {} if spans[0].nbytes is None else {"range": {"suffix": spans[0].nbytes}}
            answer = await obstore.get_async(client, path, options=options)
            check_size(path, answer.meta["size"] if whole else 0, self._storage.access.document_bytes)
            return [memoryview(await answer.bytes_async())]
        except (MetadataDamaged, StoreUnreadable):
            raise
        except Exception as error:  # noqa: BLE001  obstore's errors have no common base
            if isinstance(error, FileNotFoundError) and not is_missing_bucket(error):
                if spans[0].may_be_absent:
                    return [ABSENT] * len(spans)
                raise FileNotFoundError(spans[0].key) from None
            if is_beyond_end(error):
                return [b""] * len(spans)
            raise StoreUnreadable(f"{path} cannot be read: {explain(error)}.") from None


def _request_groups(spans: Sequence[Span], most: int) -> list[list[int]]:
    """Return the places of the spans that share a call: ranges of one object, `most` each."""
    by_key: dict[str, list[int]] = {}
    groups = []
    for place, span in enumerate(spans):
        if _is_range(span):
            by_key.setdefault(span.key, []).append(place)
        else:
            groups.append([place])
    for places in by_key.values():
        n_groups = -(-len(places) // most)
        size = -(-len(places) // n_groups)
        # In order: obstore makes one request of ranges that lie side by side.
        groups += [places[first : first + size] for first in range(0, len(places), size)]
    return groups


def _is_range(span: Span) -> bool:
    return span.start >= 0 and span.nbytes is not None
