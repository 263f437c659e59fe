"""Bounds on manifests, `zarr.json` and the like: a store is not trusted, and JSON takes thirty times its bytes."""

from __future__ import annotations

import os

from drawpoint.errors import InvalidSettings, MetadataDamaged

DOCUMENT_BYTES = 256 * 2**20
"""The largest manifest, zarr.json, statistics or split that is read unless the environment or the settings say more.

The manifest of 100,000 samples with 20 scalars each takes about 120 MB.
"""

LEAST_DOCUMENT_BYTES = 64 * 2**20
"""The least that it may be set to: tables of checksums make the zarr.json of a large sample several megabytes."""

MANIFEST_BYTES_A_VALUE = 8
"""A manifest's values take this many bytes or more on average: `"yaw":8,` is among the shortest."""

METADATA_BYTES_A_VALUE = 64
"""The same of a zarr.json, whose bulk is long strings; a million values come free with either."""

_FREE_VALUES = 2**20
_VARIABLE = "DRAWPOINT_DOCUMENT_BYTES"


def default_document_bytes() -> int:
    """Return the bound that the environment names, or DOCUMENT_BYTES; raises InvalidSettings for what is no bound."""
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return DOCUMENT_BYTES
    if not text.isdecimal() or int(text) < LEAST_DOCUMENT_BYTES:
        raise InvalidSettings(f"{_VARIABLE} is a number of bytes, {LEAST_DOCUMENT_BYTES} or more, not {text[:40]!r}.")
    return int(text)


def check_size(place: str, nbytes: int, limit: int) -> None:
    """Raise MetadataDamaged for a document of more than `limit` bytes at `place`."""
    if nbytes > limit:
        raise MetadataDamaged(
            f"{place} is not read: it has {nbytes:,} bytes, and {limit:,} are read at most; set {_VARIABLE} to read "
            "more."
        )


def check_density(data: bytes, bytes_a_value: int) -> None:
    """Raise ValueError for JSON that parses into many more values than a document of its size has.

    The message is half a sentence. A comma or a bracket stands before every value, so counting them gives a bound
    without parsing.
    """
    values = data.count(b",") + data.count(b"[") + data.count(b"{")
    if values > _FREE_VALUES + len(data) // bytes_a_value:
        raise ValueError(f"its {len(data):,} bytes hold up to {values:,} values, more than such a document has")
