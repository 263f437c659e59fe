"""The seam between what the client asks and how the bytes travel: one request, its answer, and how it can fail.

    TransportFailure
    +-- Unreachable     no connection: nothing is known of the service
    +-- Untrusted       the service's certificate does not check out; asking again changes nothing
    +-- Refused         the request cannot be carried on, by redirects without an end say; neither does it here
    +-- Interrupted     the connection broke, or spoke no HTTP
    +-- Truncated       the connection ended before the body did
    +-- Oversized       the body is larger than any answer to the request; asking again changes nothing
    +-- TimedOut        a timeout of the attempt, or the total deadline
    +-- Busy            the service, or a proxy before it, says that it cannot answer now

These never leave the client: `transport` retries them, and makes one of `drawpoint.errors` of the last one.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from drawpoint.errors import DeadlineExceeded, DrawpointError, RequestFailed, ResponseDamaged, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

Result = TypeVar("Result")

MAX_DOCUMENT_BYTES = 2**30
"""Of a manifest and its neighbours, as sent and as decoded; far more than any of them takes."""

MAX_PROBLEM_BYTES = 2**20
"""Of an answer that is not 200: a problem document, or the page of a proxy."""


class TransportFailure(Exception):
    """An attempt that brought no complete answer; `str()` is the cause, without a full stop."""

    error: type[DrawpointError] = ServiceUnavailable
    """What it becomes when it is the last word."""


class Unreachable(TransportFailure):
    """No connection could be made."""


class Untrusted(TransportFailure):
    """TLS refused the service's certificate."""

    error = RequestFailed


class Refused(TransportFailure):
    """What the engine does not carry on with: redirects without an end, an address that is none."""

    error = RequestFailed


class Interrupted(TransportFailure):
    """The connection was reset or closed before an answer, or what came was not HTTP."""


class Truncated(TransportFailure):
    """The body is shorter than announced."""

    error = ResponseDamaged


class Oversized(TransportFailure):
    """The body is, or is announced to be, larger than what was asked for can be."""

    error = ResponseDamaged


class TimedOut(TransportFailure):
    """Nothing came in time."""

    error = DeadlineExceeded


class Busy(TransportFailure):
    """An answer that says only that there is none now; `retry_after` is how many seconds it asks to wait."""

    def __init__(self, cause: str, status: int, retry_after: float) -> None:
        super().__init__(cause)
        self.status = status
        self.retry_after = retry_after


class Deadline:
    """The moment by which a call must have ended, whatever happens on the way."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
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


def limit_body(status: int, limit: int) -> int:
    """Return how many bytes of body an answer of `status` may have where one of 200 may have `limit`."""
    return limit if status == HTTPStatus.OK else min(limit, MAX_PROBLEM_BYTES)


def check_length(length: int, limit: int) -> None:
    """Return if a body of `length` bytes is within `limit`; raises Oversized."""
    if length > limit:
        raise Oversized(f"the answer has a body of {length} bytes or more, and should have {limit} at most")


@dataclass(frozen=True, slots=True)
class Request:
    """A GET of `target` (quoted path and query below the service's address), or a POST of `body` (JSON) to it.

    `about` says in an error's words what is asked for, of which `store` and `sample`. `revision` is the one that
    the answer must carry, `sealed` tells that it must carry its digest, `etag` that 304 is an answer too. `limit` is
    how many bytes of body the answer can have.
    """

    target: str
    about: str
    store: str | None = None
    sample: str | None = None
    revision: str | None = None
    sealed: bool = False
    etag: str | None = None
    body: bytes | None = None
    limit: int = MAX_DOCUMENT_BYTES


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP response: header names in lower case, the body as it was sent (not decoded)."""

    status: int
    headers: Mapping[str, str]
    body: bytearray


@dataclass(frozen=True, slots=True)
class Sending:
    """A step of a call: send this attempt of a request, and go on with its Answer or its TransportFailure.

    `limit` bounds the bytes of the answer's body. `hot` allows the lean engine. `afresh` wants a new connection: what
    came over the old ones made no sense.
    """

    target: str
    headers: Mapping[str, str]
    body: bytes | None
    deadline: Deadline
    limit: int
    hot: bool
    afresh: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """A step of a call: wait, and go on with nothing."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LookForTls:
    """A step of a call: find out, in `seconds`, whether TLS is spoken at `url`, and go on with True or False."""

    url: str
    seconds: float


Step = Sending | Pause | LookForTls
Steps = Generator[Step, Any, Result]
"""A call as the steps that it takes, for whoever carries them out: a thread that blocks, or an event loop."""


class Engine(Protocol):
    """Sends a request and brings the whole answer, or raises a TransportFailure; safe to share between threads."""

    def send(
        self, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline, limit: int
    ) -> Answer:
        """GET `target`, a quoted path and query below the service's address, or POST `body` to it.

        Raises Oversized for an answer of more than `limit` bytes, before it is in memory.
        """

    def drop_idle(self) -> None:
        """Let go of the connections that wait for reuse: what came made no sense, or they are a parent process's."""

    def close(self) -> None:
        """Close what is idle, for good."""
