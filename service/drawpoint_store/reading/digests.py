"""The digest of a stored sample, and the checksums of its chunks that the digest covers.

With them, bytes in the place of others are noticed as damage is. The manifest holds the digest of each sample. The
attributes of the sample's group hold it too, with the digests of the arrays that it is computed from, and the
attributes of each array hold a table of the checksums of its chunks, in order. Other readers ignore these attributes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drawpoint.format.manifest import ArrayLayout

CRC_BYTES = 4
ABSENT_CHUNK_CRC = 0
"""The checksum in a table of a chunk that is not stored, since all of it is the fill value: the crc32c of no bytes."""

_ATTRIBUTE = "drawpoint"
_TABLE = "chunks_crc32c"
_RULE = "sha256/2:"
_VALUES_RULE = "sha256:"
"""The prefix of digests of the values alone, in stores that have no tables: see `values_digest`."""


class ArrayDigests(NamedTuple):
    """The sha256 (hex) of an array's `values` (`array_digest`) and of its table of `chunks`.

    `chunks` is None for an array that zarr-python alone can read, which has no table.
    """

    values: str
    chunks: str | None


class SampleDigest(NamedTuple):
    """The digest of a sample, and those of its arrays that it is computed from, by name in the order of the layout."""

    digest: str
    arrays: Mapping[str, ArrayDigests]

    @classmethod
    def of(cls, arrays: Mapping[str, ArrayDigests]) -> Self:
        """Return the digest of a sample with these arrays."""
        return cls(_digest(_plain(arrays)), arrays)

    def agrees_with(self, digest: str | None) -> bool:
        """Tell whether a manifest's `digest` is of this content; None, of other writers, always is."""
        if digest is not None and digest.startswith(_VALUES_RULE):
            return digest == values_digest(array.values for array in self.arrays.values())
        return digest in (None, self.digest)

    def to_attributes(self) -> dict[str, Any]:
        """Return what the group's attributes hold."""
        return {_ATTRIBUTE: {"digest": self.digest, "arrays": _plain(self.arrays)}}

    @classmethod
    def from_attributes(cls, attributes: Any) -> Self | None:
        """Return what a group's attributes hold, or None; raises ValueError where that is damaged."""
        held = _held(attributes)
        if held is None or "digest" not in held:
            return None
        try:
            plain = held["arrays"]
            arrays = {name: ArrayDigests(each["values"], each.get("chunks")) for name, each in plain.items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("its attributes do not name the arrays of its digest") from error
        if held["digest"] != _digest(plain):
            raise ValueError("its digest is not that of the arrays in its attributes")
        return cls(held["digest"], arrays)


def _plain(arrays: Mapping[str, ArrayDigests]) -> dict[str, dict[str, str]]:
    return {
        name: {"values": each.values, **({} if each.chunks is None else {"chunks": each.chunks})}
        for name, each in arrays.items()
    }


def _digest(plain: Mapping[str, Mapping[str, str]]) -> str:
    """Return the digest of a sample: over names, values and tables of all arrays, whatever their order."""
    packed = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return _RULE + hashlib.sha256(packed.encode()).hexdigest()


def covers_tables(digest: str | None) -> bool:
    """Tell whether a manifest's `digest` covers tables of checksums."""
    return digest is not None and digest.startswith(_RULE)


def is_known_digest(digest: str | None) -> bool:
    """Tell whether a manifest's `digest` is of a rule that this version knows."""
    return digest is not None and digest.startswith((_RULE, _VALUES_RULE))


def table_attributes(table: bytes) -> dict[str, Any]:
    """Return what an array's attributes hold: the table of its chunks' checksums."""
    return {_ATTRIBUTE: {_TABLE: base64.b64encode(table).decode()}}


def has_table(node: Any) -> bool:
    """Tell whether an array's metadata, its `zarr.json`, holds a table."""
    attributes = node.get("attributes") if isinstance(node, dict) else None
    held = attributes.get(_ATTRIBUTE) if isinstance(attributes, dict) else None
    return isinstance(held, dict) and _TABLE in held


def without_table(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return an array's metadata without its table."""
    attributes = node.get("attributes")
    if not isinstance(attributes, dict):
        return dict(node)
    return {**node, "attributes": {key: value for key, value in attributes.items() if key != _ATTRIBUTE}}


def table_digest(table: bytes | None) -> str | None:
    """Return the sha256 (hex) of a table, None of none."""
    return None if table is None else hashlib.sha256(table).hexdigest()


def parse_table(attributes: Any, n_chunks: int) -> bytes | None:
    """Return the checksums of an array's chunks in order, 4 bytes each, or None where its attributes hold none.

    Raises ValueError for a table that is no base64 or of another number of chunks.
    """
    held = _held(attributes)
    if held is None or _TABLE not in held:
        return None
    try:
        table = base64.b64decode(held[_TABLE], validate=True)
    except (ValueError, TypeError) as error:
        raise ValueError(f"its table of checksums is no base64 ({error})") from error
    if len(table) != n_chunks * CRC_BYTES:
        raise ValueError(
            f"its table of checksums has {len(table)} bytes, not {CRC_BYTES} for each of {n_chunks} chunks"
        )
    return table


def values_digest(array_digests: Iterable[str]) -> str:
    """Return `sha256:<hex>` of a sample from the digests of its arrays' values, in the order of the layout."""
    return _VALUES_RULE + hashlib.sha256("".join(array_digests).encode()).hexdigest()


class ArrayDigest:
    """The sha256 of an array's name, dtype, shape and values, of rows given in stored order."""

    def __init__(self, layout: ArrayLayout) -> None:
        self._layout = layout
        self._digest = hashlib.sha256()
        self._n_points = 0

    def update(self, rows: np.ndarray[Any, Any]) -> None:
        """Add the next rows (N, dim)."""
        self._n_points += len(rows)
        self._digest.update(np.ascontiguousarray(rows, np.dtype(self._layout.dtype).newbyteorder("<")).data)

    def hexdigest(self) -> str:
        """Return the digest once all rows were added."""
        head = [self._layout.array_name, self._layout.dtype, self._n_points, self._layout.dim]
        self._digest.update(json.dumps(head, separators=(",", ":")).encode())
        return self._digest.hexdigest()


def array_digest(layout: ArrayLayout, stored_rows: Iterable[np.ndarray[Any, Any]]) -> str:
    """Return the `ArrayDigest` (hex) of rows given in stored order."""
    digest = ArrayDigest(layout)
    for rows in stored_rows:
        digest.update(rows)
    return digest.hexdigest()


def _held(attributes: Any) -> dict[str, Any] | None:
    held = attributes.get(_ATTRIBUTE) if isinstance(attributes, dict) else None
    if held is not None and not isinstance(held, dict):
        raise ValueError(f"its attribute {_ATTRIBUTE!r} is no object")
    return held
