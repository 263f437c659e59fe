"""The manifest at its place in the store: `<root>/manifest.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import drawpoint.manifest
from drawpoint.errors import DataDamaged, InvalidManifest, StoreNotFound
from drawpoint_store import stores

if TYPE_CHECKING:
    import os


class StoreManifest(drawpoint.manifest.StoreManifest):
    """A manifest that can be saved to a store's root and loaded from it."""

    MANIFEST_NAME: ClassVar[str] = "manifest.json"

    def save(self, store_root: str | os.PathLike[str]) -> str:
        """Write the manifest, whole or not at all, and return its path or URL."""
        place = stores.write_bytes(store_root, self.MANIFEST_NAME, self.to_json())
        self._read = None  # these are no longer the bytes it may have been read from
        return place

    @classmethod
    def load(cls, store_root: str | os.PathLike[str]) -> Self:
        """Read the manifest of a store.

        Raises StoreNotFound (a FileNotFoundError) if there is none, InvalidManifest if it is damaged or not to be
        trusted, and StoreUnreadable if the storage does not answer.
        """
        place = stores.join(store_root, cls.MANIFEST_NAME)
        try:
            data = stores.read_json(store_root, cls.MANIFEST_NAME)
        except DataDamaged as error:
            raise InvalidManifest(str(error), store=str(store_root)) from error
        if data is None:
            raise StoreNotFound(
                f"there is no store at {store_root}: {place} does not exist; write one with `drawpoint convert`.",
                store=str(store_root),
            )
        return cls.from_json(data, origin=place)
