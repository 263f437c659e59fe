"""JSON answers: their bodies out of whatever content coding they came in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from drawpoint.errors import ResponseDamaged

if TYPE_CHECKING:
    from drawpoint.wire import Answer


def decode_body(answer: Answer) -> bytes:
    """Return the body without its content coding; raises ResponseDamaged if that does not undo."""
    import httpx  # noqa: PLC0415  the package is also imported by the service, which needs no httpx

    coding = answer.headers.get("content-encoding", "identity")
    try:
        return httpx.Response(200, headers={"content-encoding": coding}, content=bytes(answer.body)).content
    except httpx.DecodingError as error:
        raise ResponseDamaged(f"the body does not decode from {coding}: {error}.") from error


def read_json(answer: Answer) -> Any:
    """Return the JSON document of an answer; raises ResponseDamaged if there is none."""
    try:
        return json.loads(decode_body(answer))
    except ValueError as error:
        raise ResponseDamaged(f"the body is no JSON: {error}.") from error
