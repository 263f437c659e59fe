"""The metadata of a stored group, read leniently: damage is found, not raised."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from drawpoint.errors import DataDamaged
from drawpoint_store.reading.open_sample import REMEDY
from drawpoint_store.storage.bounds import METADATA_BYTES_A_VALUE, check_density
from drawpoint_store.storage.locations import join

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint.errors import DrawpointError
    from drawpoint_store.storage import Storage

METADATA_NAME = "zarr.json"


def load_node(storage: Storage, group: str, name: str = "") -> dict[str, Any] | None:
    """Return the metadata of the group at path `group`, or of its node `name`; None where it is missing or damaged.

    Raises StoreUnreadable: an outage says nothing of what is there.
    """
    try:
        data = storage.read(f"{join(group, name)}/{METADATA_NAME}")
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
