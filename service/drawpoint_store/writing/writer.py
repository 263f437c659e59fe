"""The writer of stores: each sample becomes a Zarr v3 group of shuffled, checksummed chunks."""

from __future__ import annotations

import math
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.draw.order import SHUFFLE_RULE, shuffle_order
from drawpoint.errors import InvalidSample, StoreNotFound
from drawpoint.format.manifest import DomainSample, SampleEntry, SampleTable
from drawpoint.format.sample_entry import MAX_CHUNKS
from drawpoint.format.scalars import check_scalars
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.storage import LocalStorage, open_storage
from drawpoint_store.writing.field_arrays import (
    Underflow,
    UnderflowWarning,
    as_rows,
    cast,
    check_count,
    check_fields,
)
from drawpoint_store.writing.group import COMPRESSORS, METADATA_NAME, GroupFolder
from drawpoint_store.writing.layout import build_domain_layouts
from drawpoint_store.writing.lock import UNFINISHED_FOLDER
from drawpoint_store.writing.rounding import measure_precision
from drawpoint_store.writing.sample_id import REWRITTEN, check_sample_id
from drawpoint_store.writing.stored_array import StoredArray, find_stored, read_digest

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike

    from drawpoint.format.precision import FieldPrecision
    from drawpoint_store.writing.group import Measure
    from drawpoint_store.writing.layout import FieldSpec, FileMap

_UINT32_ROWS = 2**32
"""Up to so many points the order is kept as uint32, in half the memory."""


class ZarrStoreWriter:
    """Writes samples below `store_root` (a path or URL) and lists them in its manifest.

    Its fields are those that `filemap` names a file for, and `fields` of your own; `filemap` may be FileMap() then.
    `chunk_points` rows make a chunk: choose about the number of points of a draw. An array is one shard, unless
    `shard_points` caps it (rounded down to whole chunks, at least one). Positions are stored as `coords_dtype`,
    values as `values_dtype`, and fields that `field_dtypes` names (canonical name -> dtype) as it says.
    `compression_level` is that of blosc-zstd, 1 to 9, or 0 for no compressor. It is 5 unless given, as in
    `noether.data.zarr_store`, whose constructor this one stands in for; `drawpoint convert` takes 0, which reads faster
    (docs/performance.md).

    Raises ValueError for counts below 1, dtypes and fields that cannot be stored (see `build_domain_layouts`), and
    domains without exactly one coordinate field.
    """

    def __init__(
        self,
        store_root: str | os.PathLike[str],
        filemap: FileMap,
        dataset_name: str,
        shuffle_seed: int = 0,
        chunk_points: int = 4096,
        shard_points: int | None = None,
        coords_dtype: str = "float32",
        values_dtype: str = "float16",
        field_dtypes: Mapping[str, str] | None = None,
        compression_level: int = 5,
        *,
        fields: Iterable[FieldSpec] = (),
    ) -> None:
        for name, value in (("chunk_points", chunk_points), ("shard_points", shard_points)):
            if value is not None and (not _is_whole(value) or value < 1):
                raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}.")
        if not _is_whole(compression_level) or not 0 <= compression_level <= 9:  # noqa: PLR2004  blosc's levels
            raise ValueError(f"compression_level must be a whole number in 0..9, not {compression_level!r}.")
        if not dataset_name.isprintable():
            raise ValueError(
                f"dataset_name {dataset_name!r} has characters that do not print; give another (--dataset-name)."
            )
        self.storage = open_storage(store_root)
        self.store_root = self.storage.root
        self.filemap = filemap
        self.chunk_points = chunk_points
        self.shard_points = shard_points
        self.coords_dtype = coords_dtype
        self.values_dtype = values_dtype
        self.field_dtypes = field_dtypes
        self.compression_level = compression_level
        self.fields = list(fields)
        self.layouts = build_domain_layouts(filemap, coords_dtype, values_dtype, field_dtypes, fields=self.fields)
        self.manifest = StoreManifest(
            dataset_name=dataset_name,
            shuffle_seed=shuffle_seed,
            shuffle=SHUFFLE_RULE,
            coords_dtype=coords_dtype,
            values_dtype=values_dtype,
            compressor=COMPRESSORS[compression_level],
            domains=self.layouts,
        )
        self._published: tuple[SampleTable, frozenset[str]] | None = None
        self._lock = threading.Lock()

    def write_group(
        self,
        sample_id: str,
        field_arrays: Mapping[str, ArrayLike | StoredArray],
        scalars: Mapping[str, Any] | None = None,
        precision: dict[str, FieldPrecision] | None = None,
        measure: Measure | None = None,
    ) -> SampleEntry:
        """Write one sample's group and return its entry, without recording it in the manifest.

        `field_arrays` maps canonical fields to arrays of one domain's count: positions (N, 3), vectors (N, dim),
        scalars (N,) or (N, 1). A domain may be left out as a whole. `scalars` maps names to one number each, such as
        `{"U_inf": 20.0}`: the entry alone has them, and its digest does not cover them. Safe to call from several
        threads, for different samples. A sample that the store's saved manifest already lists is written beside the
        old one.

        Each field is fetched once, written and dropped before the next one is fetched, positions first in their
        domains: a Mapping that reads a field when it is asked for it has one in memory at a time. It may give a
        StoredArray, whose files the group then shares.

        Raises ValueError, naming sample, field and shapes, for ids that could leave the store, missing or unknown
        fields, counts that disagree, empty domains, NaN and infinities, finite values that the target dtype cannot
        hold, and `scalars` that are no finite real numbers; the store is as it was then. Raises StoreUnreadable where
        the storage refuses a write.

        What the stored dtypes round is put into `precision`, by field, where one is given; fields that are stored
        exactly are left out. Without one, warns (UnderflowWarning) where a dtype turns more than 5 % of a field's
        values to zero.

        `measure` is given the stored rows, block by block (see `GroupFolder.add`), but those of a StoredArray.
        """
        check_sample_id(sample_id)
        numbers = _check_scalars(sample_id, scalars)
        fields = check_fields(sample_id, self.layouts, list(field_arrays))
        domains: dict[str, DomainSample] = {}
        rounded: dict[str, FieldPrecision] = {}
        needs = " (TMPDIR, which needs room for one stored sample a worker)" if self.storage.is_shared else ""
        with (
            self.storage.new_folder(UNFINISHED_FOLDER) as folder,
            GroupFolder(folder, self.compression_level, f"{folder}{needs}") as group,
        ):
            for domain, names in fields.items():
                self._add_domain(group, sample_id, domain, names, field_arrays, domains, rounded, measure)
            arrays = [array.array_name for layout in self.layouts.values() for array in layout.arrays.values()]
            digest = group.finish(arrays)
            if self.storage.is_shared:
                relpath = f"{sample_id}.{group.content_name(digest)}.zarr"
            else:
                relpath = self._free_relpath(sample_id)
            self.storage.move_in(folder, relpath, METADATA_NAME)
        if precision is not None:
            precision.update(rounded)
        else:
            self._warn_of_underflows(sample_id, rounded)
        return SampleEntry(relpath=relpath, domains=domains, digest=digest.digest, scalars=numbers)

    def write_sample(
        self, sample_id: str, field_arrays: Mapping[str, ArrayLike], scalars: Mapping[str, Any] | None = None
    ) -> None:
        """Write one sample as `write_group` does, and record it in the manifest (`save_manifest` publishes it)."""
        self.manifest.samples[sample_id] = self.write_group(sample_id, field_arrays, scalars)

    def probe(self, sample_id: str, field_arrays: Mapping[str, Any]) -> dict[str, FieldPrecision]:
        """Return what the stored dtypes would round of a sample, by field; nothing is written.

        Each field is fetched once and dropped. Raises InvalidSample as `write_group` does.
        """
        precision = {}
        for names in check_fields(sample_id, self.layouts, list(field_arrays)).values():
            for field in names:
                array = self.manifest.fields[field]
                rows = as_rows(sample_id, array, field_arrays[field])
                rounded = measure_precision(rows, cast(sample_id, field, rows, array.dtype))
                del rows
                if rounded is not None:
                    precision[field] = rounded
        return precision

    def find_stored(self, entry: SampleEntry, precision: Mapping[str, FieldPrecision]) -> dict[str, StoredArray]:
        """Return the arrays of a group of this local store which it would hold alike if it were written now, by field.

        It must be a group of the same sample and source. Their bytes are read, and compared with their checksums.
        """
        group = self.storage.path(entry.relpath) if isinstance(self.storage, LocalStorage) else None
        held = None if group is None else read_digest(group)
        if group is None or held is None or held.digest != entry.digest:
            return {}
        found = {}
        for domain, grid in entry.domains.items():
            if domain not in self.layouts or grid != self.grid(grid.n_points):
                continue
            for field, array in self.layouts[domain].arrays.items():
                level, rounded = self.compression_level, precision.get(field)
                if (stored := find_stored(group, held, array, grid, level, rounded)) is not None:
                    found[field] = stored
        return found

    def to_init_kwargs(self) -> dict[str, Any]:
        """Return the keyword arguments that build an equal writer, say in a worker process."""
        return {
            "store_root": self.store_root,
            "filemap": self.filemap,
            "dataset_name": self.manifest.dataset_name,
            "shuffle_seed": self.manifest.shuffle_seed,
            "chunk_points": self.chunk_points,
            "shard_points": self.shard_points,
            "coords_dtype": self.coords_dtype,
            "values_dtype": self.values_dtype,
            "field_dtypes": self.field_dtypes,
            "compression_level": self.compression_level,
            "fields": self.fields,
        }

    def save_manifest(self) -> str:
        """Publish the manifest, whole or not at all, and return its path or URL.

        It lists as retired the groups of published revisions that it no longer names.
        """
        with self._lock:
            self._published = None
            _, taken = self._load_published()
            self.manifest.retired = sorted(taken - {entry.relpath for entry in self.manifest.samples.values()})
            self._published = None
            return self.manifest.save(self.storage)

    def grid(self, n_points: int) -> DomainSample:
        """Return the chunks and shards that a domain of `n_points` rows is cut into."""
        chunk = min(self.chunk_points, n_points)
        n_chunks = math.ceil(n_points / chunk)
        if n_chunks > MAX_CHUNKS:
            raise InvalidSample(
                f"{n_points} points in chunks of {chunk} are more than {MAX_CHUNKS} chunks; write with chunk_points of "
                f"{math.ceil(n_points / MAX_CHUNKS)} or more (--chunk-points)."
            )
        chunks_per_shard = n_chunks
        if self.shard_points is not None:
            chunks_per_shard = min(n_chunks, max(1, self.shard_points // chunk))
        return DomainSample(
            n_points=n_points, chunk_points=chunk, shard_points=chunks_per_shard * chunk, n_chunks=n_chunks
        )

    def _add_domain(
        self,
        group: GroupFolder,
        sample_id: str,
        domain: str,
        names: list[str],
        field_arrays: Mapping[str, ArrayLike | StoredArray],
        domains: dict[str, DomainSample],
        precision: dict[str, FieldPrecision],
        measure: Measure | None,
    ) -> None:
        """Write the arrays of one domain, position first, each of which is dropped before the next is fetched."""
        layout = self.layouts[domain]
        order: np.ndarray[Any, Any] | None = None
        for field in names:
            array, values = layout.arrays[field], field_arrays[field]
            rows = values if isinstance(values, StoredArray) else as_rows(sample_id, array, values)
            del values
            shape = (rows.grid.n_points, array.dim) if isinstance(rows, StoredArray) else rows.shape
            grid = domains.setdefault(domain, self.grid(shape[0]))
            check_count(sample_id, domain, layout, field, shape, grid.n_points)
            if isinstance(rows, StoredArray):
                group.take_over(array, rows)
                rounded = rows.precision
            else:
                stored = cast(sample_id, field, rows, array.dtype)
                rounded = measure_precision(rows, stored)
                del rows
                if order is None:
                    dtype = np.uint32 if grid.n_points <= _UINT32_ROWS else np.int64
                    order = shuffle_order(self.manifest.shuffle_seed, sample_id, domain, grid.n_points, dtype)
                group.add(array, grid, stored, order, measure)
                del stored
            if rounded is not None:
                precision[field] = rounded

    def _warn_of_underflows(self, sample_id: str, rounded: Mapping[str, FieldPrecision]) -> None:
        for field, found in rounded.items():
            underflow = Underflow(found.n_zeroed, found.n_values)
            if underflow.matters:
                reason = underflow.explain(field, self.manifest.fields[field].dtype)
                warnings.warn(f"sample {sample_id!r}: {reason}.", UnderflowWarning, stacklevel=3)

    def _free_relpath(self, sample_id: str) -> str:
        """Return a path that no published revision has named, so that its readers go on."""
        with self._lock:
            samples, taken = self._load_published()
        rewrite = 0
        if sample_id in samples:
            numbered = REWRITTEN.search(samples[sample_id].relpath.removesuffix(".zarr"))
            rewrite = int(numbered[1]) + 1 if numbered else 1
        while (relpath := f"{sample_id}.rewritten-{rewrite}.zarr" if rewrite else f"{sample_id}.zarr") in taken:
            rewrite += 1
        return relpath

    def _load_published(self) -> tuple[SampleTable, frozenset[str]]:
        """Return the samples of the store's saved manifest, and all paths that it or an earlier one names."""
        if self._published is None:
            try:
                manifest = StoreManifest.load(self.storage)
            except StoreNotFound:
                self._published = SampleTable(), frozenset()
            else:
                self._published = manifest.samples, named_groups(manifest)
        return self._published


def named_groups(manifest: StoreManifest) -> frozenset[str]:
    """Return the groups that a manifest names, and those that it lists as retired."""
    return frozenset({entry.relpath for entry in manifest.samples.values()}.union(manifest.retired))


def _check_scalars(sample_id: str, scalars: Mapping[str, Any] | None) -> dict[str, float]:
    try:
        return check_scalars(scalars)
    except ValueError as error:
        raise InvalidSample(f"sample {sample_id!r}: {error}.", sample=sample_id) from error


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
