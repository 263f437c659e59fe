"""Answers: their bodies as they are, their headers, and when an answer need not be sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from drawpoint.format.payload import content_digest
from drawpoint_service import problems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel
    from starlette.types import Receive, Scope, Send

SLICE_BYTES = 1 << 20
"""Bodies go to the transport in slices, so that a slow reader makes it buffer one slice and not all of them.

The last of several is a copy, and an empty message behind it waits until nearly all is with the kernel: nothing uses
more than a slice of the body any more when the answer counts as sent.
"""


class BufferResponse(Response):
    """A body that is sent out of the buffer it was read into, without a copy of ours."""

    def __init__(self, body: bytearray, media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(memoryview(body), media_type=media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  ASGI's signature
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for begin in range(0, len(self.body), SLICE_BYTES):
            piece = self.body[begin : begin + SLICE_BYTES]
            is_last_of_several = begin > 0 and begin + SLICE_BYTES >= len(self.body)
            data = bytes(piece) if is_last_of_several else piece
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class DigestedResponse(Response):
    """A short body with its Content-Digest."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        super().init_headers({**(headers or {}), "Content-Digest": content_digest(self.body)})


def json_response(document: bytes | BaseModel, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a JSON document that clients revalidate before they use it again."""
    body = document if isinstance(document, bytes) else document.model_dump_json()
    return DigestedResponse(
        body, media_type="application/json", headers={"Cache-Control": "no-cache", **(headers or {})}
    )


def head_response(length: int, media_type: str, headers: Mapping[str, str]) -> Response:
    """Answer a HEAD request: the headers of a body of `length` bytes that has not been read."""
    return Response(media_type=media_type, headers={**headers, "Content-Length": str(length)})


def not_modified(headers: Mapping[str, str]) -> Response:
    """Answer 304: what the client holds is still right."""
    return Response(status_code=304, headers=headers)


def problem_response(problem: problems.Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a problem document, which nobody keeps."""
    return DigestedResponse(
        problem.to_json(),
        status_code=problem.status,
        media_type=problems.CONTENT_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def matches(if_none_match: str | None, etags: Sequence[str]) -> bool:
    """Return whether an If-None-Match field names one of `etags`, by the weak comparison of RFC 9110, 13.1.2."""
    if if_none_match is None:
        return False
    named = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in named or not named.isdisjoint(etags)


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Return whether an Accept-Encoding field (RFC 9110, 12.5.3) admits gzip: by name or by `*`, not with q=0."""
    weights = {}
    for choice in (accept_encoding or "").lower().split(","):
        coding, _, weight = choice.partition(";")
        weights[coding.strip()] = weight.replace(" ", "")
    weight = weights.get("gzip", weights.get("*", "q=0"))
    return not weight.removeprefix("q=") or weight.removeprefix("q=").strip("0.") != ""
