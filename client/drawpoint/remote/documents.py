"""JSON answers: their bodies out of whatever content coding they came in."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from drawpoint.errors import ResponseDamaged
from drawpoint.remote.wire import MAX_DOCUMENT_BYTES, check_length

if TYPE_CHECKING:
    from drawpoint.remote.wire import Answer


_GZIP = 16 + zlib.MAX_WBITS


def decode_body(answer: Answer, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """Return the body without its content coding, gzip if any.

    Raises ResponseDamaged if that does not undo, and Oversized before more than `limit` bytes come of it.
    """
    coding = answer.headers.get("content-encoding", "identity").lower()
    if coding == "identity":
        return bytes(answer.body)
    if coding not in ("gzip", "x-gzip"):
        raise ResponseDamaged(f"the body has the content coding {coding[:40]!r}, asked for was gzip.")
    # Not through httpx: it undoes all of what it is given at once, and a thousand times that may come of it.
    decoder = zlib.decompressobj(_GZIP)
    try:
        body = decoder.decompress(answer.body, limit + 1)
    except zlib.error as error:
        raise ResponseDamaged(f"the body does not decode from gzip: {error}.") from error
    check_length(len(body), limit)
    if not decoder.eof or decoder.unused_data:
        raise ResponseDamaged("the body is more or less than one gzip stream.")
    return body


def read_json(answer: Answer) -> Any:
    """Return the JSON document of an answer; raises ResponseDamaged if there is none.

    So do those below for a document that is not what they read.
    """
    try:
        return json.loads(decode_body(answer))
    except (ValueError, RecursionError) as error:
        raise ResponseDamaged(f"the body is no JSON: {error}.") from error


def read_stores(answer: Answer) -> list[dict[str, Any]]:
    """Return the list of stores of an answer."""
    return _check_named(read_json(answer), "id")


def read_statistics(answer: Answer) -> dict[str, Any]:
    """Return the statistics of an answer."""
    statistics = read_json(answer)
    if not isinstance(statistics, dict) or not isinstance(statistics.get("revision"), str):
        raise ResponseDamaged("the body is no object with a revision.")
    return statistics


def read_splits(answer: Answer) -> list[str]:
    """Return the names of the splits that an answer lists."""
    return [split["name"] for split in _check_named(_member(read_json(answer), "splits"), "name")]


def read_split(answer: Answer) -> list[str]:
    """Return the sample ids of the split that an answer holds."""
    ids = _member(read_json(answer), "samples")
    if not isinstance(ids, list) or not all(isinstance(sample_id, str) for sample_id in ids):
        raise ResponseDamaged("the body holds no list of sample ids.")
    return ids


def _member(document: Any, name: str) -> Any:
    if not isinstance(document, dict) or name not in document:
        raise ResponseDamaged(f"the body is no object with {name}.")
    return document[name]


def _check_named(entries: Any, name: str) -> list[dict[str, Any]]:
    """Return a list of objects that each have a text `name`."""
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get(name), str) for entry in entries
    ):
        raise ResponseDamaged(f"the body holds no list of objects with {name}.")
    return entries
