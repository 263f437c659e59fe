"""An opened store: plans go in, rows come out in the place where the answer needs them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from drawpoint_store import stores
from drawpoint_store.cache import ByteBoundedCache
from drawpoint_store.manifest import StoreManifest
from drawpoint_store.sample import ChunkPlace, OpenSample
from drawpoint_store.sources import LocalSource, ObjectSource, OpenFiles, Span, ZarrSource
from drawpoint_store.through_zarr import read_through_zarr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy as np
    import obstore.store
    from zarr.abc.store import Store

    import drawpoint.manifest
    from drawpoint_store.arrays import ShardedArray
    from drawpoint_store.plan import DomainDraw, ReadPlan
    from drawpoint_store.sources import Source

_MOST_RUN_BYTES = 8 * 2**20
"""Chunks that lie side by side are fetched in one span of at most this size, which bounds what a read holds."""

_SAMPLE_CACHE_BYTES = 64 * 2**20
"""Metadata and shard indexes that a store keeps: some 1,500 samples of ten fields and 750,000 points."""

_OPEN_FILES = 128
"""Shards that a store on disk keeps open, well below the usual limit of 1,024 descriptors a process."""


class Destination(NamedTuple):
    """Rows `start` to `stop` of a chunk belong at row `row` of the answer."""

    row: int
    start: int
    stop: int


class Run(NamedTuple):
    """Chunks of one array that lie side by side in one object, and where their rows belong."""

    array: ShardedArray
    field: str
    span: Span
    places: list[ChunkPlace]
    destinations: dict[int, list[Destination]]
    target: np.ndarray[Any, Any]


def open_read_only(path: str) -> Store:
    """Open the zarr Store of a sample's group for reading."""
    return stores.make_store(path, read_only=True)


class OpenStore:
    """The store at `root` with its manifest; reads are safe to call from several threads.

    Local files are read directly; with another `store_factory`, and on other URLs, every byte comes through the
    `get` of the Store that it opens. `read_concurrency` threads share the work of one read.
    """

    def __init__(
        self,
        root: str,
        manifest: drawpoint.manifest.StoreManifest | None = None,
        store_factory: Callable[[str], Store] = open_read_only,
        read_concurrency: int = 1,
    ) -> None:
        self.root = root
        self.manifest = StoreManifest.load(root) if manifest is None else manifest
        self.store_factory = store_factory
        self.read_concurrency = read_concurrency
        self._samples: ByteBoundedCache[OpenSample] = ByteBoundedCache(_SAMPLE_CACHE_BYTES)
        self._files = OpenFiles(_OPEN_FILES)
        self._client: obstore.store.ObjectStore | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._pool_pid = 0

    def read(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Fill `out`, an array of the plan's shape for each of its fields, casting to the array's dtype.

        Raises ChunkMissing, ChunkDamaged or MetadataDamaged for stored bytes that cannot be trusted, and
        StoreUnreadable where the storage does not answer; what `out` holds is then undefined.
        """
        sample = self._sample(plan)
        direct = []
        for field, draw in plan.arrays.items():
            array = sample.array(draw)
            if array is None:
                path = stores.join(self.root, plan.relpath)
                out[field][...] = read_through_zarr(self.store_factory(path), plan.sample_id, draw)
            else:
                direct.append((field, draw.draw, array, out[field]))
        shards = [
            (array, field, sorted({rows.chunk // array.chunks_per_shard for rows in draw.rows}))
            for field, draw, array, _ in direct
        ]
        sample.read_indexes(shards)
        destinations = {id(draw): _destinations(draw) for draw in plan.draws.values()}
        runs = [
            run
            for field, draw, array, target in direct
            for run in _runs(sample, array, field, destinations[id(draw)], target.reshape(-1, array.dim))
        ]
        if self.read_concurrency == 1 or len(runs) <= 1:
            _read_runs(sample, runs)
        else:
            groups = [runs[first :: self.read_concurrency] for first in range(self.read_concurrency)]
            for done in self._threads().map(lambda group: _read_runs(sample, group), filter(None, groups)):
                assert done is None

    def _sample(self, plan: ReadPlan) -> OpenSample:
        sample = self._samples.get(plan.relpath)
        if sample is None:
            entry = self.manifest.samples[plan.sample_id]
            sample = OpenSample(plan.sample_id, entry, self._source(plan.relpath))
            self._samples.put(plan.relpath, sample, sample.nbytes)
        return sample

    def _source(self, relpath: str) -> Source:
        path = stores.join(self.root, relpath)
        if self.store_factory is open_read_only and not stores.is_remote(path):
            return LocalSource(stores.local_path(path), self._files)
        if self.store_factory is open_read_only and stores.uses_obstore(path):
            if self._client is None:
                self._client = stores.open_object_store(self.root)
            return ObjectSource(self._client, relpath)
        return ZarrSource(self.store_factory(path))

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pool_pid != os.getpid():  # threads do not survive a fork
            self._pool, self._pool_pid = ThreadPoolExecutor(self.read_concurrency, "drawpoint-read"), os.getpid()
        return self._pool

    def __getstate__(self) -> dict[str, Any]:
        return {
            "root": self.root,
            "manifest": self.manifest,
            "store_factory": self.store_factory,
            "read_concurrency": self.read_concurrency,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _destinations(draw: DomainDraw) -> dict[int, list[Destination]]:
    """Return where the drawn rows of each chunk belong in the answer."""
    destinations: dict[int, list[Destination]] = {}
    row = 0
    for chunk, start, stop in draw.rows:
        destinations.setdefault(chunk, []).append(Destination(row, start, stop))
        row += stop - start
    return destinations


def _runs(
    sample: OpenSample,
    array: ShardedArray,
    field: str,
    destinations: dict[int, list[Destination]],
    target: np.ndarray[Any, Any],
) -> Iterator[Run]:
    """Return the chunks to fetch for one array, those that lie side by side together; gaps are never fetched.

    Chunks that the index declares absent are nothing but the fill value, and are filled in here.
    """
    run: Run | None = None
    for place in sorted(sample.places(array, field, destinations), key=lambda place: place[1:]):
        if place.nbytes == 0:
            for row, start, stop in destinations[place.chunk]:
                target[row : row + stop - start] = array.fill_value
            continue
        if run is not None and run.span.key == place.key:
            _, start, nbytes = run.span
            assert nbytes is not None
            if place.offset == start + nbytes and nbytes + place.nbytes <= _MOST_RUN_BYTES:
                run.places.append(place)
                run = run._replace(span=Span(place.key, start, nbytes + place.nbytes))
                continue
        if run is not None:
            yield run
        run = Run(array, field, Span(place.key, place.offset, place.nbytes), [place], destinations, target)
    if run is not None:
        yield run


def _read_runs(sample: OpenSample, runs: Iterable[Run]) -> None:
    """Fetch, decode and place the chunks of `runs`."""
    runs = list(runs)
    pending = iter(runs)
    try:
        for run, data in zip(pending, sample.source.fetch([run.span for run in runs]), strict=True):
            view = memoryview(data)
            for place in run.places:
                begin = place.offset - run.span.start
                rows = sample.rows(run.array, run.field, place, view[begin : begin + place.nbytes])
                for row, start, stop in run.destinations[place.chunk]:
                    run.target[row : row + stop - start] = rows[start:stop]
    except FileNotFoundError as error:
        lost = next(run for run in runs if run.span.key == str(error))
        raise sample.shard_missing(lost.array, lost.field, lost.places[0]) from error
