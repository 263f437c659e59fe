"""To which revision the statistics of a store belong: they are bound to another one, or to none."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from drawpoint.errors import MetadataDamaged, SplitNotFound
from drawpoint_store.reading.splits import read_split
from drawpoint_store.reading.statistics_file import STATISTICS_NAME, read_statistics

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from drawpoint_store.storage import Storage


def bind_statistics(storage: Storage, statistics: dict[str, Any], revision: str) -> None:
    """Write the statistics of a store as those of `revision`."""
    document = {**statistics, "revision": revision}
    storage.write(STATISTICS_NAME, json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n")


def release_statistics(storage: Storage, splits: Mapping[str, Iterable[str]], samples: Container[str]) -> bool:
    """Mark the statistics of a store as of no revision if their split is to name others of its `samples`.

    To be called before `splits` are written: where the manifest stays as it is, nothing else would show it. Tells
    whether they were marked.
    """
    try:
        statistics = read_statistics(storage)
    except MetadataDamaged:
        return False  # there is nothing to mark
    name = None if statistics is None else statistics.get("split")
    if statistics is None or name is None or name not in splits:
        return False
    with contextlib.suppress(SplitNotFound, MetadataDamaged):
        if _held(read_split(storage, name), samples) == _held(splits[name], samples):
            return False
    bind_statistics(storage, statistics, f"none, since split {name} was changed")
    return True


def _held(listed: Iterable[str], samples: Container[str]) -> set[str]:
    return {sample_id for sample_id in listed if sample_id in samples}
