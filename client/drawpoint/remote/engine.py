"""One request, its answer, its deadline, and how an attempt can fail: what both ways of sending share.

    TransportFailure
    +-- Unreachable     no connection: nothing is known of the service
    +-- Interrupted     the connection broke, or spoke no HTTP
    +-- Truncated       the connection ended before the body did
    +-- TimedOut        a timeout of the attempt, or the total deadline
    +-- Busy            the service, or a proxy before it, says that it cannot answer now
    +-- Hopeless        asking again changes nothing: an untrusted certificate, redirects without an end
        +-- Oversized   the body is larger than any answer to the request

These never leave the client: `Transport` retries them, and makes one of `drawpoint.errors` of the last one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from drawpoint.errors import DeadlineExceeded, DrawpointError, RequestFailed, ResponseDamaged, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DOCUMENT_BYTES = 2**30
"""Of a manifest and its neighbours, as sent and as decoded; far more than any of them takes."""

MAX_PROBLEM_BYTES = 2**20
"""Of an answer that is not 200: a problem document, or the page of a proxy."""

YEAR_SECONDS = 365 * 86_400.0
"""What a longer deadline, and a longer wish of a service to wait, is taken for: clocks have limits."""

LAST_TRY_SECONDS = 0.05
"""With less than this left there is no use in asking again."""


class TransportFailure(Exception):
    """An attempt that brought no complete answer; `str()` is the cause, without a full stop."""

    error: type[DrawpointError] = ServiceUnavailable
    """What it becomes when it is the last word."""


class Unreachable(TransportFailure):
    pass


class Interrupted(TransportFailure):
    pass


class Truncated(TransportFailure):
    error = ResponseDamaged


class TimedOut(TransportFailure):
    error = DeadlineExceeded


class Busy(TransportFailure):
    """`retry_after` is how many seconds the answer asks to wait."""

    def __init__(self, cause: str, status: int, retry_after: float) -> None:
        super().__init__(cause)
        self.status = status
        self.retry_after = retry_after


class Hopeless(TransportFailure):
    error = RequestFailed


class Oversized(Hopeless):
    error = ResponseDamaged


class Deadline:
    """The moment by which a call must have ended, whatever happens on the way.

    `connect_seconds` is how long after its beginning it may still be waiting for a connection.
    """

    def __init__(self, seconds: float, connect_seconds: float = math.inf) -> None:
        self.seconds = seconds
        self.connect_seconds = min(seconds, connect_seconds)
        self._begun = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def remaining(self) -> float:
        return self.seconds - self.elapsed()

    def clip(self, timeout: float | None) -> float:
        """Return the seconds that one step may take: `timeout` or what is left; raises TimedOut if nothing is."""
        remaining = self.remaining()
        if remaining <= 0:
            raise TimedOut("the answer was not complete in time")
        return remaining if timeout is None else min(timeout, remaining)

    def clip_connect(self, timeout: float | None) -> float:
        """Return the seconds that connecting may take, in the same way."""
        return min(self.clip(timeout), max(self.connect_seconds - self.elapsed(), LAST_TRY_SECONDS))


def reason_of(error: BaseException) -> str:
    """Return what an error says, in the middle of a sentence."""
    text = str(error) or type(error).__name__
    return (text if text.isprintable() else repr(text)).rstrip(".")[:200]


def limit_body(status: int, limit: int) -> int:
    """Return how many bytes of body an answer of `status` may have where one of 200 may have `limit`."""
    return limit if status == HTTPStatus.OK else min(limit, MAX_PROBLEM_BYTES)


def check_length(length: int, limit: int) -> None:
    """Return if a body of `length` bytes is within `limit`; raises Oversized."""
    if length > limit:
        raise Oversized(f"the answer has a body of more bytes than it should have, {limit} at most")


@dataclass(frozen=True, slots=True)
class Request:
    """A GET of `target` (quoted path and query below the service's address), or a POST of `body` (JSON) to it.

    `description` names what is asked for in an error, of which `store` and `sample`. An answer must carry its
    digest, its request id and `revision` if `require_digest`, as draws do. With an `etag` 304 is an answer too.
    `limit` is how many bytes of body the answer can have.
    """

    target: str
    description: str
    store: str | None = None
    sample: str | None = None
    revision: str | None = None
    require_digest: bool = False
    etag: str | None = None
    body: bytes | None = None
    limit: int = MAX_DOCUMENT_BYTES


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP response: header names in lower case, the body as it was sent (not decoded)."""

    status: int
    headers: Mapping[str, str]
    body: bytearray
