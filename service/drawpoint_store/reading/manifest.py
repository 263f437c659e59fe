"""The manifest at its place in the store: `<root>/manifest.json`."""

from __future__ import annotations

from types import EllipsisType
from typing import TYPE_CHECKING, ClassVar, Self

import drawpoint.format.manifest
from drawpoint.errors import DataDamaged, InvalidManifest, RevisionChanged, StoreNotFound
from drawpoint_store.storage import open_storage

if TYPE_CHECKING:
    import os


class StoreManifest(drawpoint.format.manifest.StoreManifest):
    """A manifest that can be saved to a store's root and loaded from it."""

    MANIFEST_NAME: ClassVar[str] = "manifest.json"

    def save(self, store_root: str | os.PathLike[str], replacing: str | EllipsisType | None = ...) -> str:
        """Write the manifest, whole or not at all, and return its path or URL.

        `replacing` is what `Storage.stamp` gave for the store's manifest before the work began, None if there was
        none: if another has been written since, RevisionChanged is raised and nothing is written. One of the same
        bytes is as good: another writer has written the same, or this one did, and missed the answer.
        """
        storage, data = open_storage(store_root), self.to_json()
        if isinstance(replacing, EllipsisType):
            storage.write(self.MANIFEST_NAME, data)
        elif not storage.replace(self.MANIFEST_NAME, data, replacing):
            self.check_replaces(storage, replacing)
        self._read = None  # these are no longer the bytes it may have been read from
        return storage.join(self.MANIFEST_NAME)

    def check_replaces(self, store_root: str | os.PathLike[str], replacing: str | None) -> None:
        """Raise RevisionChanged if `save` would, for what is written before the manifest."""
        storage = open_storage(store_root)
        if storage.stamp(self.MANIFEST_NAME) != replacing and storage.read(self.MANIFEST_NAME) != self.to_json():
            raise RevisionChanged(
                f"another process published to {storage} meanwhile, and nothing of it was changed.", store=storage.root
            )

    @classmethod
    def load(cls, store_root: str | os.PathLike[str]) -> Self:
        """Read the manifest of a store.

        Raises StoreNotFound (a FileNotFoundError) if there is none, InvalidManifest if it is damaged or not to be
        trusted, and StoreUnreadable if the storage does not answer.
        """
        storage = open_storage(store_root)
        place = storage.join(cls.MANIFEST_NAME)
        try:
            data = storage.read_json(cls.MANIFEST_NAME)
        except DataDamaged as error:
            raise InvalidManifest(str(error), store=storage.root) from error
        if data is None:
            raise StoreNotFound(
                f"there is no store at {store_root}: {place} does not exist; write one with `drawpoint convert`.",
                store=storage.root,
            )
        return cls.from_json(data, origin=place)
