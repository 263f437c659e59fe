"""The statistics that a store ships: `<root>/statistics.json`, bound to a revision."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from drawpoint.errors import MetadataDamaged, RevisionChanged, StatisticsNotFound
from drawpoint.format.manifest import decode_json
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.reading.splits import list_splits
from drawpoint_store.storage import open_storage

if TYPE_CHECKING:
    import os

    import drawpoint.format.manifest
    from drawpoint.format.manifest import SampleEntry
    from drawpoint_store.storage import Storage

STATISTICS_NAME = "statistics.json"


def read_statistics(store_root: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the parsed `statistics.json` of a store, or None; its `revision` is the one they are of.

    Raises MetadataDamaged if the file is no such document, StoreUnreadable where the storage does not answer.
    """
    storage = open_storage(store_root)
    data = storage.read_json(STATISTICS_NAME)
    if data is None:
        return None
    try:
        document = json.loads(decode_json(data))
    except (ValueError, RecursionError):
        document = None
    if not (
        isinstance(document, dict)
        and isinstance(document.get("revision"), str)
        and isinstance(document.get("fields"), dict)
    ):
        raise MetadataDamaged(
            f"{storage.join(STATISTICS_NAME)} holds no statistics of a revision; "
            "write it again with `drawpoint stats`.",
            store=storage.root,
        )
    return document


def statistics_of(storage: Storage, manifest: drawpoint.format.manifest.StoreManifest) -> dict[str, Any]:
    """Return the statistics of the store, with the revision of `manifest`.

    A manifest that was given to a reader has not the bytes of the store's. It may have them where both name the same
    groups. Raises StatisticsNotFound if the store ships none, RevisionChanged if they are of another revision.
    """
    statistics = read_statistics(storage)
    if statistics is None:
        raise StatisticsNotFound(
            f"the store at {storage} ships no statistics; measure it with `drawpoint stats`.", store=storage.root
        )
    if not _is_at(storage, manifest, statistics["revision"]):
        raise RevisionChanged(
            f"the statistics of the store at {storage} are of revision {statistics['revision']}, this "
            f"reader is of {manifest.revision}; measure it again with `drawpoint stats`.",
            store=storage.root,
        )
    return {**statistics, "revision": manifest.revision}  # a Normaliser compares it with the manifest's


def renewal_command(store_root: str | os.PathLike[str]) -> str:
    """Return the command that measures the statistics of a store again, of the same split and with the same scales."""
    storage = open_storage(store_root)
    words = ["drawpoint", "stats", storage.root]
    try:
        statistics = read_statistics(storage) or {"fields": {}}
    except MetadataDamaged:
        statistics = {"fields": {}}
    if statistics.get("split") in list_splits(storage):
        words += ["--split", statistics["split"]]
    for field, entry in statistics["fields"].items():
        if isinstance(entry, dict) and "scale" in entry:
            words += ["--scale", f"{field}={entry['scale']}"]
    return shlex.join(words)


def _is_at(storage: Storage, mine: drawpoint.format.manifest.StoreManifest, revision: str) -> bool:
    if mine.revision == revision:
        return True
    held = StoreManifest.load(storage)
    return (
        held.revision == revision
        and mine.domains == held.domains
        and mine.samples.keys() == held.samples.keys()
        and all(_is_same(entry, held.samples[sample_id]) for sample_id, entry in mine.samples.items())
    )


def _is_same(mine: SampleEntry, held: SampleEntry) -> bool:
    """Tell whether an entry names what another one does; those of other libraries' models have no digests."""
    return (mine.relpath, mine.domains) == (held.relpath, held.domains) and mine.digest in (None, held.digest)
