"""JSON answers: their bodies out of whatever content coding they came in."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from drawpoint.errors import ResponseDamaged
from drawpoint.wire import MAX_DOCUMENT_BYTES, check_length

if TYPE_CHECKING:
    from drawpoint.wire import Answer


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
    """Return the JSON document of an answer; raises ResponseDamaged if there is none."""
    try:
        return json.loads(decode_body(answer))
    except ValueError as error:
        raise ResponseDamaged(f"the body is no JSON: {error}.") from error
