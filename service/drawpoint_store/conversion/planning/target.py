"""Where a conversion writes: what may be there already, and what may not be the same place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from drawpoint.errors import StoreExists, StoreNotFound
from drawpoint_store.conversion.journal import Journal
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.storage import open_storage
from drawpoint_store.storage.locations import check_location, contains, is_in_memory

if TYPE_CHECKING:
    import os

Existing = Literal["refuse", "append", "overwrite"]
"""What is done with a store that exists."""


def check_target(store_root: str | os.PathLike[str], existing: Existing) -> None:
    """Raise StoreExists if there is a store at `store_root` that may be neither appended to nor overwritten.

    A conversion that was killed just after it had published is let through: repeating it completes it.
    """
    storage = open_storage(store_root)
    old = load_manifest(storage) if existing == "refuse" else None
    if old is not None and not Journal(storage).has_report():
        raise store_exists(storage.root, old)


def check_locations(source: str | os.PathLike[str], store_root: str | os.PathLike[str]) -> None:
    """Raise ValueError where the store would lie inside its source, or the source inside the store."""
    for location in (source, store_root):
        check_location(location)
    if contains(source, store_root):
        raise ValueError(f"the store {store_root} would lie inside its source {source}; write it elsewhere.")
    if contains(store_root, source):
        raise ValueError(f"the source {source} lies inside the store {store_root}; write the store elsewhere.")


def check_workers(workers: int, *locations: str) -> None:
    """Raise ValueError for fewer workers than one, and for several on memory://, which processes do not share."""
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}.")
    for location in locations:
        if workers > 1 and is_in_memory(location):
            raise ValueError(f"{location} lives in the memory of one process: use 1 worker, not {workers}.")


def load_manifest(store_root: str | os.PathLike[str]) -> StoreManifest | None:
    """Return the manifest of the store at `store_root`, None if there is no store."""
    try:
        return StoreManifest.load(store_root)
    except StoreNotFound:
        return None


def store_exists(store_root: str, manifest: StoreManifest) -> StoreExists:
    """Return the error of a store that is there and may be neither appended to nor overwritten."""
    return StoreExists(
        f"there is a store at {store_root} ({len(manifest.samples)} samples); add to it with --append, replace it "
        "with --overwrite, or write elsewhere.",
        store=store_root,
    )
