"""The metadata of a stored group, read leniently: damage is found, not raised."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from drawpoint.errors import DataDamaged
from drawpoint_store.reading.sample import REMEDY
from drawpoint_store.storage import objects as stores
from drawpoint_store.storage.documents import METADATA_BYTES_A_VALUE, check_density

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint.errors import DrawpointError

METADATA_NAME = "zarr.json"


def load_node(path: str, name: str = "") -> dict[str, Any] | None:
    """Return the metadata of the group at `path`, or of the node `name` in it; None where it is missing or damaged.

    Raises StoreUnreadable: an outage says nothing of what is there.
    """
    try:
        data = stores.read_bytes(path, f"{name}/{METADATA_NAME}" if name else METADATA_NAME)
        check_density(data or b"", METADATA_BYTES_A_VALUE)
        found = None if data is None else json.loads(data)
    except (DataDamaged, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def consolidated_nodes(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the copies of its nodes' metadata that a group's metadata holds, by name."""
    consolidated = group.get("consolidated_metadata")
    nodes = consolidated.get("metadata") if isinstance(consolidated, dict) else None
    return nodes if isinstance(nodes, dict) else {}


def damage_reason(error: DrawpointError) -> str:
    """Return the sentence of an error that reports damage, without the remedy."""
    return str(error).removesuffix(".").removesuffix(f"; {REMEDY}")
