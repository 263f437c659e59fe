"""Leftovers of a store: groups and files that its manifest does not name, and their removal."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from time import time as now
from typing import TYPE_CHECKING

from drawpoint.errors import StoreExists
from drawpoint_store.conversion.journal import Journal
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.storage import open_storage
from drawpoint_store.writing.lock import JOURNAL_FOLDER, lock_store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import drawpoint.format.manifest
    from drawpoint_store.storage import Storage


@dataclass(frozen=True, slots=True)
class Leftover:
    """A group, or an unfinished file, at `path` below the root.

    `age_seconds` is the time since the last change of any of its objects, None where the storage does not know it.
    With `is_old` it may be removed, and has been if prune_store was to delete.
    """

    path: str
    age_seconds: float | None
    is_old: bool


def find_leftovers(store_root: str | os.PathLike[str], manifest: drawpoint.format.manifest.StoreManifest) -> list[str]:
    """Return the paths below the root of groups that no sample of the manifest refers to, and of unfinished files.

    Folders that are stores themselves are left alone.
    """
    storage = open_storage(store_root)
    referenced = {entry.relpath for entry in manifest.samples.values()}
    leftovers, folders = [], [""]
    while folders:
        folder = folders.pop()
        above = f"{folder}/" if folder else ""
        inner, names = storage.list(folder)
        if folder and StoreManifest.MANIFEST_NAME in names:
            continue
        leftovers += [above + name for name in names if name.endswith(".tmp")]
        for path in (above + name for name in inner):
            if path in referenced:
                continue
            if not path.endswith(".zarr"):
                folders.append(path)
            elif storage.find(path):  # some buckets list empty folders for a while
                leftovers.append(path)
    return sorted(leftovers)


def prune_store(
    store_root: str | os.PathLike[str], *, older_than_seconds: float, delete: bool = False
) -> Iterator[Leftover]:
    """Yield the leftovers of a store in the order of their paths; remove them with `delete`.

    Leftovers younger than `older_than_seconds`, or of unknown age, stay unless that is 0: readers of an earlier
    revision may still need a replaced group, and a conversion publishes its groups at its end. Groups that a conversion
    has finished are as young as its last sample: the others may take days. The manifest is checked again before each
    removal, and nothing that it names is ever removed.

    Raises StoreNotFound, and StoreExists where a conversion is at work: on a local root one that holds its lock, in a
    bucket one that has recorded a sample within `older_than_seconds`.
    """
    storage = open_storage(store_root)
    leftovers = find_leftovers(storage, StoreManifest.load(storage))
    with lock_store(storage) if delete else contextlib.nullcontext():
        if delete and storage.is_remote:
            _refuse_conversion(storage, older_than_seconds)
        read_at: str | None = None
        journal = Journal(storage)
        unpublished = set() if storage.is_remote else journal.finished_groups()
        recorded = _age_of(journal.last_change()) if unpublished else None
        for path in leftovers:
            age = _age(storage, path)
            if path in unpublished and age is not None and recorded is not None:
                age = min(age, recorded)
            is_old = not older_than_seconds or (age is not None and age >= older_than_seconds)
            if delete and is_old:
                stamp = storage.stamp(StoreManifest.MANIFEST_NAME)
                if stamp is None or stamp != read_at:
                    published = {entry.relpath for entry in StoreManifest.load(storage).samples.values()}
                    read_at = stamp
                if path in published:
                    continue  # since just now
                storage.delete_tree(path)
            yield Leftover(path, age, is_old)


def _refuse_conversion(storage: Storage, older_than_seconds: float) -> None:
    age = _age(storage, JOURNAL_FOLDER)
    if age is not None and age < older_than_seconds:
        raise StoreExists(
            f"a conversion recorded a sample in {storage} {age:,.0f} s ago; wait for its end, or, if it was given "
            "up, prune with a smaller --older-than.",
            store=storage.root,
        )


def _age(storage: Storage, path: str) -> float | None:
    return _age_of(storage.last_change(path))


def _age_of(changed: float | None) -> float | None:
    return None if changed is None else max(0.0, now() - changed)
