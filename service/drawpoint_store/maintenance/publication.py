"""A new manifest over the one of a store: its bytes as they were found under the lock, and what replaces them."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drawpoint.errors import MetadataDamaged, RevisionChanged, StoreNotFound
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.reading.statistics_file import read_statistics
from drawpoint_store.storage import open_storage
from drawpoint_store.writing.lock import lock_store
from drawpoint_store.writing.statistics_binding import bind_statistics

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from drawpoint_store.storage import Storage


@dataclass(frozen=True, slots=True)
class Publication:
    """The manifest of a store, with its bytes and their stamp when they were read; `publish` puts another over it."""

    storage: Storage
    manifest: StoreManifest
    data: bytes
    stamp: str | None

    def read_document(self) -> dict[str, Any]:
        """Return the manifest as plain values, to be changed: a model would drop the keys of other programs."""
        document: dict[str, Any] = json.loads(self.data)
        return document

    def publish(self, document: dict[str, Any], *, keep_statistics: bool = True) -> str:
        """Write a changed document as the manifest, and return its revision.

        With `keep_statistics`, those of the replaced revision become those of the new one. Raises InvalidManifest for
        a document that is none, and RevisionChanged if another process published meanwhile.
        """
        data, before = _dump(document), self.manifest.revision
        revision = StoreManifest.from_json(data).revision
        changed = RevisionChanged(
            f"another process published to {self.storage} meanwhile; run the same command again to go on.",
            store=self.storage.root,
        )
        if self.storage.stamp(StoreManifest.MANIFEST_NAME) != self.stamp:
            raise changed
        # The statistics first: after a kill in between, the repeated command finds the manifest as it was.
        with contextlib.suppress(MetadataDamaged):
            statistics = read_statistics(self.storage) if keep_statistics else None
            if statistics is not None and statistics["revision"] == before:
                bind_statistics(self.storage, statistics, revision)
        if not self.storage.replace(StoreManifest.MANIFEST_NAME, data, self.stamp):
            raise changed
        return revision


@contextlib.contextmanager
def begin_publication(store_root: str | os.PathLike[str]) -> Iterator[Publication]:
    """Hold the lock of a store, and give its manifest; a store in a bucket has none, see `lock_store`.

    Raises StoreNotFound, InvalidManifest, and StoreExists while a conversion writes to the store.
    """
    storage = open_storage(store_root)
    StoreManifest.load(storage)  # before a lock is put where there is no store
    with lock_store(storage):
        stamp = storage.stamp(StoreManifest.MANIFEST_NAME)  # before it is read
        data = storage.read_json(StoreManifest.MANIFEST_NAME)
        if data is None:
            raise StoreNotFound(
                f"the manifest of the store at {storage} is gone; put it back from a copy.", store=storage.root
            )
        manifest = StoreManifest.from_json(data, origin=storage.join(StoreManifest.MANIFEST_NAME))
        yield Publication(storage, manifest, data, stamp)


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"
