"""An opened store: plans go in, rows come out in the place where the answer needs them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import zarr

from drawpoint.errors import ChunkDamaged, MetadataDamaged
from drawpoint_store import stores
from drawpoint_store.draw import row_indices
from drawpoint_store.manifest import StoreManifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from zarr.abc.store import Store

    import drawpoint.manifest
    from drawpoint_store.plan import ArrayDraw, ReadPlan


def open_read_only(path: str) -> Store:
    """Open the zarr Store of a sample group for reading."""
    return stores.make_store(path, read_only=True)


class OpenStore:
    """A store at `root` with its manifest; reads are safe to call from several threads."""

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
        self._groups: dict[str, zarr.Group] = {}
        self._lock = threading.Lock()

    def read(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Fill `out`, an array of the plan's shape for each of its fields, casting to the array's dtype.

        Raises ChunkMissing, ChunkDamaged or MetadataDamaged for stored bytes that cannot be trusted, and
        StoreUnreadable where the storage does not answer.
        """
        group = self._group(plan.relpath)
        for field, array in plan.arrays.items():
            out[field][...] = self._rows(group, plan, array)

    def _rows(self, group: zarr.Group, plan: ReadPlan, array: ArrayDraw) -> np.ndarray[Any, Any]:
        name = array.layout.array_name
        stored = group[name]
        assert isinstance(stored, zarr.Array)
        grid = array.draw.grid
        if stored.shape != (grid.n_points, array.layout.dim):
            raise MetadataDamaged(
                f"{plan.sample_id}: {name} has shape {stored.shape}, the manifest says {(grid.n_points, array.layout.dim)}.",
                sample=plan.sample_id,
                field=array.layout.field,
            )
        try:
            rows: np.ndarray[Any, Any] = stored.oindex[row_indices(array.draw.rows, grid.chunk_points)]  # type: ignore[assignment]
        except (ValueError, RuntimeError) as error:
            raise ChunkDamaged(
                f"{plan.sample_id}: a chunk of {name} does not decode: {error}.",
                sample=plan.sample_id,
                field=array.layout.field,
            ) from error
        return rows.reshape(array.shape)

    def _group(self, relpath: str) -> zarr.Group:
        with self._lock:
            group = self._groups.get(relpath)
            if group is None:
                group = zarr.open_group(store=self.store_factory(stores.join(self.root, relpath)), mode="r")
                self._groups[relpath] = group
            return group

    def __getstate__(self) -> dict[str, Any]:
        return {
            "root": self.root,
            "manifest": self.manifest,
            "store_factory": self.store_factory,
            "read_concurrency": self.read_concurrency,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
