"""HTTP/1.1 as text: a request, and the head of what answers it; pure.

Rules: RFC 9112, sections 4 to 7. What breaks them is refused, not repaired: two readings of where a body ends would
let one answer be taken for another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drawpoint.remote.wire import Interrupted, Oversized, Truncated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_HEAD_BYTES = 65_536

_MOST_DIGITS = 15
"""Of a length, decimal or hexadecimal: more than any memory holds, and far fewer than int() refuses."""

_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;.*)?")
_OUT_OF_PLACE = re.compile(r"[^\x20-\x7e\x80-\xff\t]")
"""What no line of a head may hold: it could begin another one."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers (names in lower case) of an answer, and how its body ends.

    `length` is the body's in bytes, None where it ends otherwise: by its last chunk if `chunked`, else with the
    connection. `persistent` tells whether another request may follow on the connection.
    """

    status: int
    headers: dict[str, str]
    length: int | None
    chunked: bool
    persistent: bool


def render_request(target: str, headers: Iterable[tuple[str, str]], body: bytes | None = None) -> bytes:
    """Return the bytes of a GET, or of a POST of `body`; raises ValueError for characters that a head cannot hold."""
    lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    for line in lines:
        if _OUT_OF_PLACE.search(line):
            raise ValueError("a header or the address holds characters that HTTP cannot send.")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


def parse_head(data: bytes | bytearray) -> Head:
    """Return the head in `data`, which ends before its empty line.

    Raises Interrupted if it is not HTTP/1.1, and Oversized if the body is to be longer than any memory.
    """
    first, *lines = data.decode("latin-1").split("\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise Interrupted(f"the answer is not HTTP/1.1: it begins with {first[:40]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name) or _OUT_OF_PLACE.search(value):
            raise Interrupted(f"the answer is not HTTP/1.1: it has the header line {line[:40]!r}")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    status = int(match[2])
    length, chunked = _frame(status, headers)
    options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
    kept = "close" not in options if match[1] == "1" else "keep-alive" in options
    return Head(status, headers, length, chunked, kept and (chunked or length is not None))


def parse_chunk_size(line: bytes | bytearray) -> int:
    """Return how many bytes of body a chunk announces in its first line.

    Raises Truncated if it does not say, and Oversized if that is more than any memory.
    """
    match = _CHUNK_SIZE.fullmatch(line)
    if match is None:
        raise Truncated(f"the body has a chunk of {bytes(line[:20])!r} bytes")
    if len(match[1]) > _MOST_DIGITS:
        raise Oversized("the body has a chunk of more bytes than any memory")
    return int(match[1], 16)


def _frame(status: int, headers: Mapping[str, str]) -> tuple[int | None, bool]:
    """Return the length of the body, None if that is not known, and whether it comes in chunks."""
    if status in (204, 304) or status < 200:  # noqa: PLR2004  answers that never have a body
        return 0, False
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise Interrupted(f"the end of the answer's body is not clear: transfer-encoding {coding[:40]!r}")
        return None, True
    if length is None:
        return None, False
    if not (length.isascii() and length.isdigit()):
        raise Interrupted(f"the end of the answer's body is not clear: content-length {length[:40]!r}")
    if len(length) > _MOST_DIGITS:
        raise Oversized(f"the answer announces a body of {length[:20]}... bytes, more than any memory")
    return int(length), False
