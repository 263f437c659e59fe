"""The ids of samples that a store can hold: they name paths in it."""

from __future__ import annotations

import re

from drawpoint.errors import InvalidSample
from drawpoint.format.sample_entry import check_path

REWRITTEN = re.compile(r"\.rewritten-(\d{1,9})$")
"""The suffix, before `.zarr`, of the group of a sample that was written again; no sample id may end with it."""


def check_sample_id(sample_id: str) -> None:
    """Raise InvalidSample (a ValueError) for an id that cannot name a path inside the store."""
    segments = sample_id.split("/")
    if any(segment in ("", ".", "..") for segment in segments):
        reason = "it has an empty, '.' or '..' segment"
    elif not sample_id.isprintable() or "\\" in sample_id:
        reason = "it has control characters or backslashes"
    elif ":" in segments[0]:
        reason = "it names a scheme or a drive"
    elif any(segment.endswith(".zarr") for segment in segments[:-1]):
        reason = "it would lie inside another sample's group"
    elif REWRITTEN.search(sample_id):
        reason = "it ends like the group of a sample that was written again"
    else:
        try:
            check_path(f"{sample_id}.zarr")
        except ValueError as error:
            reason = str(error)
        else:
            return
    raise InvalidSample(f"sample id {sample_id!r} is refused: {reason}.", sample=sample_id)
