"""Stores without what binds their bytes to their places, as drawpoint 0.1 wrote them."""

from __future__ import annotations

import json
from pathlib import Path

from drawpoint_store.reading.digests import values_digest


def unbind(root: Path) -> None:
    """Take the tables and what holds them from a store, which leaves what drawpoint 0.1 wrote."""
    document = json.loads((root / "manifest.json").read_text())
    del document["shuffle"]
    for entry in document["samples"].values():
        held = json.loads((root / entry["relpath"] / "zarr.json").read_text())["attributes"]["drawpoint"]
        entry["digest"] = values_digest(array["values"] for array in held["arrays"].values())
        for path in (root / entry["relpath"]).rglob("zarr.json"):
            node = json.loads(path.read_text())
            for each in (node, *node.get("consolidated_metadata", {}).get("metadata", {}).values()):
                each["attributes"] = {}
            path.write_text(json.dumps(node))
    (root / "manifest.json").write_text(json.dumps(document))
