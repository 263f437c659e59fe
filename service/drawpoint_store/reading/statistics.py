"""The statistics that lie beside a store's manifest, in `<root>/statistics.json`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from drawpoint.errors import MetadataDamaged
from drawpoint.format.manifest import decode_json
from drawpoint_store.storage import objects as stores

if TYPE_CHECKING:
    import os

STATISTICS_NAME = "statistics.json"


def read_statistics(store_root: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the parsed `statistics.json` of a store, or None; its `revision` is the one they are of.

    Raises MetadataDamaged if the file is no such document, StoreUnreadable where the storage does not answer.
    """
    data = stores.read_json(store_root, STATISTICS_NAME)
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
        place = stores.join(store_root, STATISTICS_NAME)
        raise MetadataDamaged(
            f"{place} holds no statistics of a revision; write it again with `drawpoint stats`.",
            store=str(store_root),
        )
    return document
