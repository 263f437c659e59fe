"""One service as a client sees it: sends a request until there is an answer to trust, or the deadline has come."""

from __future__ import annotations

import logging
import math
import os
import random
import secrets
import ssl
import time
from typing import TYPE_CHECKING, Any, TypeVar

from drawpoint.errors import DataDamaged, DrawpointError, RequestFailed, ResponseDamaged
from drawpoint.remote.answers import check_answer
from drawpoint.remote.engine import (
    LAST_TRY_SECONDS,
    Busy,
    Deadline,
    Hopeless,
    Interrupted,
    TimedOut,
    TransportFailure,
    Unreachable,
)
from drawpoint.remote.settings import NOT_SHARED
from drawpoint.remote.sockets import TLS, speaks_tls

if TYPE_CHECKING:
    from collections.abc import Callable

    from drawpoint.remote.engine import Answer, Request
    from drawpoint.remote.http_engine import HttpEngine
    from drawpoint.remote.httpx_engine import HttpxEngine
    from drawpoint.remote.settings import ConnectionSettings

Result = TypeVar("Result")

FIRST_CONTACT_SECONDS = 15.0
"""How long a service that never answered yet is tried: a wrong address should not cost the whole deadline."""

LOOK_SECONDS = 2.0
"""How long a TLS handshake may take that tells why a service hangs up."""

BACKOFF_BASE_SECONDS = 0.1
BACKOFF_CAP_SECONDS = 10.0

_log = logging.getLogger("drawpoint")
# Not the global generator: it is the caller's to seed, and forked workers share its state.
_jitter = random.SystemRandom()


class Transport:
    """Answers requests over the engine of this process.

    Safe to share between threads. It pickles by its settings, and a forked child opens its own connections: one
    that two processes share would hand each the other's answers.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self._engines: dict[int, HttpEngine | HttpxEngine] = {}
        self._reached = False

    def __getstate__(self) -> dict[str, Any]:
        import httpx  # noqa: PLC0415  only at hand where a client was made

        if isinstance(self.settings.client, httpx.Client) or any(
            isinstance(value, ssl.SSLContext) for value in self.settings.options.values()
        ):
            raise TypeError(f"a connection made with an httpx.Client or an SSLContext does not pickle; {NOT_SHARED}")
        return {"settings": self.settings, "_engines": {}, "_reached": self._reached}

    def ask(self, request: Request, read: Callable[[Answer], Result], *, deadline: Deadline | None = None) -> Result:
        """Return what `read` makes of the answer to `request`.

        What may pass is tried again with growing pauses until the deadline; what is damaged, once. `read` raises
        ResponseDamaged for a body that is not what was asked for. Raises what the service reports as an error of
        `drawpoint.errors`, and RequestFailed (one of its kinds) where there is no answer.
        """
        deadline = deadline or self.begin()
        attempts = 0
        damaged = False
        before: TransportFailure | None = None
        while True:
            attempts += 1
            begun = deadline.elapsed()
            request_id = secrets.token_hex(8)
            try:
                headers = self._headers(request, request_id)
                answer = self.engine().send(request.target, headers, request.body, deadline, request.limit)
                self._reached = True
                check_answer(answer, request, request_id)
                # Its traceback would keep this frame, and the whole answer, until the garbage collector runs.
                before = None
                return read(answer)
            except (ResponseDamaged, DataDamaged) as error:
                if damaged and isinstance(error, ResponseDamaged):
                    raise _with_context(error, request, request_id) from error
                if damaged:
                    raise
                damaged = True
                self.engine().close_idle()  # what came over the old connections made no sense
                _log.info("%s: %s Asking again.", request.description, error)
            except TransportFailure as failure:
                if attempts == 1 and self._lacks_tls(failure, deadline):
                    raise self._give_up(Hopeless(TLS), request, request_id, attempts, deadline) from failure
                remaining = self._patience(failure) - deadline.elapsed()
                wish = failure.retry_after if isinstance(failure, Busy) else 0.0
                # A pause that would outlast the deadline is cut: an outage may end in what is left.
                pause = max(wish, min(wish + pause_before(attempts + 1), remaining / 2))
                if isinstance(failure, Hopeless) or remaining < LAST_TRY_SECONDS or wish >= remaining:
                    cause = root_failure(failure, before, deadline.seconds - begun, deadline)
                    raise self._give_up(cause, request, request_id, attempts, deadline) from failure
                before = failure
                level = logging.WARNING if attempts > 2 else logging.INFO  # noqa: PLR2004  a first slip is no news
                _log.log(level, "%s: %s; trying again in %.1f s.", request.description, failure, pause)
                time.sleep(pause)

    def _lacks_tls(self, failure: TransportFailure, deadline: Deadline) -> bool:
        """Tell whether a first attempt failed because the service speaks TLS and its address says `http://`."""
        if self._reached or not isinstance(failure, Interrupted) or not self.settings.url.startswith("http:"):
            return False
        return speaks_tls(self.settings.url, min(LOOK_SECONDS, max(deadline.remaining(), LAST_TRY_SECONDS)))

    def begin(self) -> Deadline:
        """Return the deadline of a call that begins now."""
        return Deadline(self.settings.deadline, math.inf if self._reached else FIRST_CONTACT_SECONDS)

    def engine(self) -> HttpEngine | HttpxEngine:
        """Return the engine of this process; the first call makes it, and raises for an invalid option."""
        engine = self._engines.get(os.getpid())
        if engine is None:
            from drawpoint.remote.httpx_engine import start_engine  # noqa: PLC0415  httpx is loaded when it is needed

            for inherited in tuple(self._engines.values()):
                inherited.close()
            # Of two threads that get here at once, the engine of one is kept.
            engine = self._engines.setdefault(os.getpid(), start_engine(self.settings))
        return engine

    def close(self) -> None:
        """Close this process's idle connections; another request opens new ones."""
        engine = self._engines.pop(os.getpid(), None)
        if engine is not None:
            engine.close()

    def _headers(self, request: Request, request_id: str) -> dict[str, str]:
        # A coding for documents whose undoing can be bounded; none for draws, which are compact already.
        headers = {"x-request-id": request_id, "accept-encoding": "identity" if request.require_digest else "gzip"}
        if request.body is not None:
            headers["content-type"] = "application/json"
        if request.etag is not None:
            headers["if-none-match"] = request.etag
        if self.settings.token is not None:
            headers["authorization"] = f"Bearer {self.settings.token}"
        return headers

    def _patience(self, failure: TransportFailure) -> float:
        if isinstance(failure, Unreachable) and not self._reached:
            return min(self.settings.deadline, FIRST_CONTACT_SECONDS)
        return self.settings.deadline

    def _give_up(
        self, failure: TransportFailure, request: Request, request_id: str, attempts: int, deadline: Deadline
    ) -> DrawpointError:
        message = f"{request.description} at {self.settings.address}: {failure}"
        if attempts > 1:
            message += f"; {attempts} attempts in {deadline.elapsed():.1f} s"
        if isinstance(failure, Unreachable):
            message += "; is `drawpoint serve` running there?"
        elif isinstance(failure, Busy) and failure.retry_after > max(deadline.remaining(), 0):
            message += f"; it asks to wait {failure.retry_after:.0f} s, longer than the deadline allows"
        elif isinstance(failure, TimedOut):
            message += f"; connect(..., deadline={self.settings.deadline:g}) may be raised"
        error = failure.error(f"{message} (request {request_id}).", store=request.store, sample=request.sample)
        if isinstance(error, RequestFailed):
            error.request_id = request_id
            error.status = failure.status if isinstance(failure, Busy) else None
        return error


def pause_before(attempt: int) -> float:
    """Return the seconds to wait before the second attempt of something, the third and so on."""
    # Full jitter: workers that failed together must not come back together.
    return _jitter.uniform(0, min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(attempt - 2, 30)))


def root_failure(
    failure: TransportFailure, before: TransportFailure | None, seconds: float, deadline: Deadline
) -> TransportFailure:
    """Return the failure to report: a last attempt that had few `seconds` left says less than the one before it."""
    late = isinstance(failure, TimedOut | Unreachable) and deadline.remaining() <= 0 and seconds < deadline.seconds / 2
    return before if late and before is not None else failure


def _with_context(error: ResponseDamaged, request: Request, request_id: str) -> ResponseDamaged:
    """Return the error with what it is about."""
    placed = ResponseDamaged(
        f"{request.description}: {str(error).rstrip('.')}, also when asked for again (request {request_id}).",
        store=request.store,
        sample=request.sample,
    )
    placed.request_id = request_id
    return placed
