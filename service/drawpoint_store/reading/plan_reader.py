"""Reads plans: the rows of a plan go into the arrays that are given for them. No torch."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import drawpoint.format.manifest
from drawpoint.draw.seeds import check_integer
from drawpoint.errors import DataDamaged, StoreUnreadable
from drawpoint_store.reading.chunks import ChunkCache, fetch_runs, find_lost, find_runs, place_runs
from drawpoint_store.reading.local_chunks import read_local
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.reading.memory_cache import ByteBoundedCache
from drawpoint_store.reading.open_sample import OpenSample
from drawpoint_store.reading.targets import Target, find_targets, split_targets
from drawpoint_store.storage import BucketStorage, make_store, open_storage
from drawpoint_store.storage.byte_sources import RemoteSource, ZarrSource, run_async, run_sync
from drawpoint_store.storage.disk_cache import CachedSource
from drawpoint_store.storage.forks import ForkSafeLock
from drawpoint_store.storage.open_files import LocalSource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from typing import Self

    import numpy as np
    from zarr.abc.store import Store
    from zarr.storage import StorePath

    from drawpoint.format.manifest import SampleEntry
    from drawpoint_store.reading.plan import ReadPlan
    from drawpoint_store.storage import Storage
    from drawpoint_store.storage.byte_sources import Fetching, Source
    from drawpoint_store.storage.disk_cache import DiskCache

_MOST_RUN_BYTES = 8 * 2**20
"""Chunks that lie side by side are fetched in one span of at most this size, which bounds what a read holds."""

_SAMPLE_CACHE_BYTES = 64 * 2**20
"""Metadata and shard indexes that a store keeps: some 1,500 samples of ten fields and 750,000 points."""


def open_read_only(path: str) -> Store:
    """Open the zarr Store of a sample's group for reading."""
    return make_store(path, read_only=True)


def open_manifest(storage: Storage, given: object) -> drawpoint.format.manifest.StoreManifest:
    """Return a store's manifest: the one that is given, if any, also where it is another library's object."""
    if given is None:
        return StoreManifest.load(storage)
    if isinstance(given, drawpoint.format.manifest.StoreManifest):
        return given
    return StoreManifest.from_object(given, origin=f"the manifest given for {storage}")


class PlanReader:
    """Reads plans of the store at `store_root`: what a ZarrChunkReader is without torch.

    Local files are read directly. With another `store_factory`, and on other URLs, every byte comes through the `get`
    of the Store that it opens.
    """

    def __init__(
        self,
        store_root: str | os.PathLike[str],
        manifest: object = None,
        store_factory: Callable[[str], Store] = open_read_only,
        read_concurrency: int = 1,
        *,
        chunk_cache_bytes: int = 0,
        disk_cache: DiskCache | None = None,
    ) -> None:
        self.storage = open_storage(store_root)
        self.manifest = open_manifest(self.storage, manifest)
        self.store_factory = store_factory
        self.read_concurrency = read_concurrency
        self.chunk_cache_bytes = chunk_cache_bytes
        self.disk_cache = disk_cache
        self._open()

    def _open(self) -> None:
        """Begin with nothing that was read, and no connection: none of it goes into a copy or a pickle."""
        limit = self.chunk_cache_bytes
        self._chunks: ChunkCache | None = ByteBoundedCache(limit) if limit else None
        self._samples: ByteBoundedCache[OpenSample] = ByteBoundedCache(_SAMPLE_CACHE_BYTES)
        self._pool: ThreadPoolExecutor | None = None
        self._pool_of = (0, 0)
        self._first_use = ForkSafeLock()
        """Held while the threads are made: of several threads that come first, all must get the same."""

    @property
    def store_root(self) -> str:
        """The root of the store: a path or URL."""
        return self.storage.root

    @property
    def read_concurrency(self) -> int:
        """How many threads share the work of one read; set it at any time."""
        return self._read_concurrency

    @read_concurrency.setter
    def read_concurrency(self, value: int) -> None:
        self._read_concurrency = check_integer("read_concurrency", value, 1)

    @property
    def is_remote(self) -> bool:
        """Whether a read waits for a bucket most of its time."""
        return self.store_factory is open_read_only and isinstance(self.storage, BucketStorage)

    def at(self, manifest: object) -> Self:
        """Return the reader of another revision. It shares the connections, and nothing that was read.

        `manifest` is what the constructor takes.
        """
        other = copy.copy(self)
        other.storage = self.storage.renewed()
        other.manifest = open_manifest(other.storage, manifest)
        return other

    def read_into(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Fill `out`, an array of the plan's shape for each of its fields, casting to the array's dtype.

        Raises ChunkMissing, ChunkDamaged or MetadataDamaged for stored bytes that cannot be trusted, and
        StoreUnreadable where the storage does not answer; what `out` holds is then undefined.
        """
        sample = self._sample(plan)
        try:
            self._read(sample, plan, out)
        except (DataDamaged, StoreUnreadable):
            if not self._was_upgraded(sample, plan):
                raise
            self._read(self._sample(plan), plan, out)

    def _read(self, sample: OpenSample, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> None:
        with self._dropping_damaged(sample):
            targets, fallback_fields = run_sync(self._find_targets(sample, plan, out), sample.source)
            self._read_with_zarr(plan, fallback_fields, out)
            threads = self.read_concurrency  # which somebody may set meanwhile
            is_remote = isinstance(sample.source, RemoteSource)
            shares = [targets] if threads == 1 or is_remote else split_targets(targets, threads)
            if len(shares) <= 1:
                self._read_targets(sample.source, targets)
            else:
                pool = self._threads(threads)
                futures = [pool.submit(self._read_targets, sample.source, share) for share in shares]
                wait(futures)  # all of them, also if one fails: none may still write to `out` once this has returned
                for future in futures:
                    future.result()

    def _read_targets(self, source: Source, targets: list[Target]) -> None:
        if isinstance(source, LocalSource):
            read_local(source, targets, self._chunks)
        else:
            fetch_runs(source, find_runs(targets, self._chunks, self._most_run_bytes), self._chunks)

    def read_into_nowait(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> bool:
        """Do what `read_into` does if nothing has to be waited for, and tell whether that is so.

        Else what `out` holds is undefined: call `read_into` in a thread. It answers False for whatever is not a local
        file, has not been opened by an earlier read, or is not in the page cache, and where the system or the file
        system cannot tell (Linux can, on most local ones). It opens no file. Raises what `read_into` raises for damage.
        """
        sample = self._samples.get(plan.relpath)
        if sample is None or not isinstance(sample.source, LocalSource):
            return False
        with self._dropping_damaged(sample):
            work = self._find_targets(sample, plan, out)
            try:
                next(work)
            except StopIteration as done:
                targets, fallback_fields = done.value
                return not fallback_fields and read_local(sample.source, targets, self._chunks, wait=False)
            work.close()
            return False

    async def read_into_async(
        self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]], run_blocking: Callable[..., Awaitable[None]]
    ) -> None:
        """Do what `read_into` does while the event loop goes on.

        `run_blocking(function, *arguments)` runs a call in a thread. Where a bucket is read, no thread waits for it:
        threads have the decoding only.
        """
        sample = self._sample(plan)
        source = sample.source
        if not isinstance(source, RemoteSource):
            await run_blocking(self.read_into, plan, out)
            return
        try:
            await self._read_from_bucket(sample, source, plan, out, run_blocking)
        except (DataDamaged, StoreUnreadable):
            if not await asyncio.to_thread(self._was_upgraded, sample, plan):
                raise
            await run_blocking(self.read_into, plan, out)

    async def _read_from_bucket(
        self,
        sample: OpenSample,
        source: RemoteSource,
        plan: ReadPlan,
        out: Mapping[str, np.ndarray[Any, Any]],
        run_blocking: Callable[..., Awaitable[None]],
    ) -> None:
        with self._dropping_damaged(sample):
            targets, fallback_fields = await run_async(self._find_targets(sample, plan, out), source)
            if fallback_fields:
                await run_blocking(self._read_with_zarr, plan, fallback_fields, out)
            runs = find_runs(targets, self._chunks, self._most_run_bytes)
            try:
                fetched = await source.fetch_async([run.span for run in runs])
            except FileNotFoundError as error:
                raise find_lost(runs, error) from error
            await run_blocking(place_runs, runs, fetched, self._chunks)

    def _was_upgraded(self, sample: OpenSample, plan: ReadPlan) -> bool:
        """Tell whether another group lies where `sample` was opened, and is bound to the same content.

        `drawpoint upgrade` gives a group new metadata and leaves its content as it is.
        """
        if not sample.source.was_replaced:
            return False
        try:
            return self.open_sample(plan).stored_digest is not None
        except DataDamaged:
            return False

    def open_sample(self, plan: ReadPlan) -> OpenSample:
        """Return the sample of a plan with its metadata, which the plan's arrays need. Raises MetadataDamaged."""
        sample = self._sample(plan)
        with self._dropping_damaged(sample):
            if run_sync(sample.read_metadata(plan.arrays.values()), sample.source):
                self._samples.put(plan.relpath, sample, sample.nbytes)
        return sample

    @contextlib.contextmanager
    def _dropping_damaged(self, sample: OpenSample) -> Iterator[None]:
        """Drop what is known of a sample if it turns out damaged: the next read must see it restored.

        A storage that does not answer says nothing of what was read before.
        """
        try:
            yield
        except (DataDamaged, StoreUnreadable) as error:
            error.store = self.store_root
            if isinstance(error, DataDamaged):
                error.sample = sample.sample_id  # what refuses a file does not know whose it is
            sample.source.close()
            if isinstance(error, DataDamaged) or sample.source.was_replaced:
                self._samples.drop(sample.relpath)
                if self._chunks is not None:
                    self._chunks.drop_below(f"{sample.relpath}/")
            raise

    def _find_targets(
        self, sample: OpenSample, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]
    ) -> Fetching[tuple[list[Target], list[str]]]:
        """Return what is to be read of the chunks, and the fields that only zarr-python reads."""
        if (yield from sample.read_metadata(plan.arrays.values())):
            self._samples.put(plan.relpath, sample, sample.nbytes)
        return (yield from find_targets(sample, plan, out))

    @property
    def _most_run_bytes(self) -> int:
        # What is kept on disk is kept chunk by chunk.
        return 0 if self.disk_cache else _MOST_RUN_BYTES

    def _read_with_zarr(self, plan: ReadPlan, fields: list[str], out: Mapping[str, np.ndarray[Any, Any]]) -> None:
        if not fields:
            return
        from drawpoint_store.reading.zarr_fallback import read_with_zarr  # noqa: PLC0415  zarr takes 0.4 s to import

        def check(key: str, most_bytes: int | None) -> None:
            if self.store_factory is open_read_only:
                self.storage.check_file(f"{plan.relpath}/{key}", most_bytes)

        group = self.group(plan.relpath)
        for field in fields:
            out[field][...] = read_with_zarr(group, plan.sample_id, plan.arrays[field], check)

    def _sample(self, plan: ReadPlan) -> OpenSample:
        sample = self._samples.get(plan.relpath)
        if sample is None:
            entry = self.manifest.samples[plan.sample_id]
            sample = OpenSample(plan.sample_id, entry, self._source(entry))
        return sample

    def _source(self, entry: SampleEntry) -> Source:
        if self.store_factory is not open_read_only:
            return ZarrSource(self.group(entry.relpath).store)
        source = self.storage.source(entry.relpath)
        if self.disk_cache is None or not isinstance(source, RemoteSource):
            return source
        content = entry.digest or self.manifest.revision
        return CachedSource(source, self.disk_cache, f"{self.storage.join(entry.relpath)}\n{content}")

    def group(self, relpath: str) -> StorePath:
        """Return the place of a sample's group in a zarr Store."""
        from zarr.storage import StorePath  # noqa: PLC0415  zarr takes 0.4 s to import

        if self.store_factory is open_read_only:
            return self.storage.open_zarr(relpath)
        return StorePath(self.store_factory(self.storage.join(relpath)))

    def _threads(self, count: int) -> ThreadPoolExecutor:
        needed = (os.getpid(), count)
        with self._first_use:
            if self._pool is None or self._pool_of != needed:  # threads do not survive a fork
                self._pool, self._pool_of = ThreadPoolExecutor(count, "drawpoint-read"), needed
            return self._pool

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _TRANSIENT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


_TRANSIENT = ("_chunks", "_first_use", "_pool", "_pool_of", "_samples")
"""What a reader opens for itself, and no copy or pickle of it has."""
