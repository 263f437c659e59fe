"""One service as a client sees it: sends a request until there is an answer to trust, or the deadline has come."""

from __future__ import annotations

import logging
import os
import random
import secrets
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

from drawpoint.errors import DataDamaged, DrawpointError, RequestFailed, ResponseDamaged
from drawpoint.remote.answers import check_answer
from drawpoint.remote.tls import TLS, speaks_tls
from drawpoint.remote.wire import (
    Busy,
    Deadline,
    Interrupted,
    LookForTls,
    Oversized,
    Pause,
    Refused,
    Sending,
    TimedOut,
    TransportFailure,
    Unreachable,
    Untrusted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from drawpoint.remote.wire import Answer, Engine, Request, Step, Steps

Result = TypeVar("Result")

FIRST_CONTACT_SECONDS = 15.0
"""How long a service that never answered yet is tried: a wrong address should not cost the whole deadline."""

BACKOFF_BASE_SECONDS = 0.1
BACKOFF_CAP_SECONDS = 10.0

LOOK_SECONDS = 2.0
"""How long it may take to find out why a service hung up on the first request."""

LAST_TRY_SECONDS = 0.05
"""With less than this left there is no use in asking again."""

NOT_SHARED = "give connect() the client's options, or a function of a module that returns it (client=make_client)."

_log = logging.getLogger("drawpoint")
# Not the global generator: it is the caller's to seed, and forked workers share its state.
_jitter = random.SystemRandom()


@dataclass(frozen=True)
class Settings:
    """What `connect` was told; `options` are those of httpx.Client, `client` a ready one or a way to make it."""

    url: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    deadline: float = 300.0
    client: httpx.Client | Callable[[], httpx.Client] | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    pid: int = field(default_factory=os.getpid, repr=False)

    @property
    def address(self) -> str:
        """The url without the name and password that it may hold, to be shown."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class Transport:
    """Answers requests over the engines of this process.

    Safe to share between threads. It pickles by its settings, and a forked child opens its own connections: one
    that two processes share would hand each the other's answers.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._engines: dict[int, dict[str, Engine]] = {}
        self._reached = False

    def __getstate__(self) -> dict[str, Any]:
        import httpx  # noqa: PLC0415  only at hand where a client was made

        if isinstance(self.settings.client, httpx.Client) or any(
            isinstance(value, ssl.SSLContext) for value in self.settings.options.values()
        ):
            raise TypeError(f"a connection made with an httpx.Client or an SSLContext does not pickle; {NOT_SHARED}")
        return {"settings": self.settings, "_engines": {}, "_reached": self._reached}

    def ask(
        self,
        request: Request,
        read: Callable[[Answer], Result],
        *,
        hot: bool = False,
        deadline: Deadline | None = None,
    ) -> Steps[Result]:
        """Take the steps that bring what `read` makes of the answer to `request`.

        What may pass is tried again with growing pauses until the deadline; what is damaged, once. `read` raises
        ResponseDamaged for a body that is not what was asked for. Raises what the service reports as an error of
        `drawpoint.errors`, and RequestFailed (one of its kinds) where there is no answer.
        """
        deadline = deadline or self.begin()
        attempts = 0
        damaged = afresh = False
        before: TransportFailure | None = None
        while True:
            attempts += 1
            begun = deadline.elapsed()
            request_id = secrets.token_hex(8)
            sending = Sending(
                request.target,
                self._headers(request, request_id),
                request.body,
                deadline,
                limit=request.limit,
                hot=hot,
                afresh=afresh,
            )
            afresh = False
            try:
                answer = yield sending
                self._reached = True
                check_answer(answer, request, request_id)
                return read(answer)
            except (ResponseDamaged, DataDamaged) as error:
                if damaged and isinstance(error, ResponseDamaged):
                    raise _place(error, request, request_id) from error
                if damaged:
                    raise
                damaged = afresh = True
                _log.info("%s: %s Asking again.", request.about, error)
            except TransportFailure as failed:
                failure = failed
                if attempts == 1 and isinstance(failed, Interrupted) and self._may_want_tls():
                    seconds = min(LOOK_SECONDS, max(deadline.remaining(), LAST_TRY_SECONDS))
                    if (yield LookForTls(self.settings.url, seconds)):
                        failure = Refused(TLS)
                remaining = self._patience(failure) - deadline.elapsed()
                wish = failure.retry_after if isinstance(failure, Busy) else 0.0
                # A pause that would outlast the deadline is cut: an outage may end in what is left.
                pause = max(wish, min(wish + pause_before(attempts + 1), remaining / 2))
                hopeless = isinstance(failure, Untrusted | Refused | Oversized)
                if hopeless or remaining < LAST_TRY_SECONDS or wish >= remaining:
                    cause = _blame(failure, before, deadline.elapsed() - begun, deadline)
                    raise self._give_up(cause, request, request_id, attempts, deadline) from failure
                before = failure
                level = logging.WARNING if attempts > 2 else logging.INFO  # noqa: PLR2004  a first slip is no news
                _log.log(level, "%s: %s; trying again in %.1f s.", request.about, failure, pause)
                yield Pause(pause)

    def carry_out(self, steps: Steps[Result]) -> Result:
        """Take `steps` one after another, and return what they come to."""
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._take(step)
                except TransportFailure as failure:
                    step = steps.throw(failure)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            result: Result = end.value
            return result

    def fetch(self, request: Request, read: Callable[[Answer], Result]) -> Result:
        """Return what `read` makes of the answer to `request`; see `ask`."""
        return self.carry_out(self.ask(request, read))

    def begin(self) -> Deadline:
        """Return the deadline of a call that begins now."""
        return Deadline(self.settings.deadline)

    def start(self) -> None:
        """Make the engines of this process, so that an option that cannot be meant is told at once."""
        self._engine("hot")

    def close(self) -> None:
        """Close this process's idle connections; another request opens new ones."""
        for engine in self._engines.pop(os.getpid(), {}).values():
            engine.close()

    def _may_want_tls(self) -> bool:
        return not self._reached and urlsplit(self.settings.url).scheme == "http"

    def _take(self, step: Step) -> Answer | bool | None:
        if isinstance(step, LookForTls):
            return speaks_tls(step.url, step.seconds)
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        engine = self._engine("hot" if step.hot else "httpx")
        if step.afresh:
            engine.drop_idle()
        return engine.send(step.target, step.headers, step.body, step.deadline, step.limit)

    def _engine(self, name: Literal["hot", "httpx"]) -> Engine:
        engines = self._engines.get(os.getpid())
        if engines is None:
            from drawpoint.remote.engines import start_engines  # noqa: PLC0415  httpx is loaded when it is needed

            for inherited in tuple(self._engines.values()):
                for engine in inherited.values():
                    engine.drop_idle()
            # Of two threads that get here at once, the engines of one are kept.
            engines = self._engines.setdefault(os.getpid(), start_engines(self.settings))
        return engines[name]

    def _headers(self, request: Request, request_id: str) -> dict[str, str]:
        # A coding for documents whose undoing can be bounded; none for draws, which are compact already.
        headers = {"x-request-id": request_id, "accept-encoding": "identity" if request.sealed else "gzip"}
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
        message = f"{request.about} at {self.settings.address}: {failure}"
        if attempts > 1:
            message += f"; {attempts} attempts in {deadline.elapsed():.1f} s"
        if isinstance(failure, Unreachable):
            message += "; is `drawpoint serve` running there?"
        elif isinstance(failure, Busy) and failure.retry_after > deadline.remaining():
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


def _blame(
    failure: TransportFailure, before: TransportFailure | None, seconds: float, deadline: Deadline
) -> TransportFailure:
    """Return the failure to report: a last attempt that began too late says less than the one before it."""
    late = isinstance(failure, TimedOut) and deadline.remaining() <= 0 and seconds < deadline.seconds / 2
    return before if late and before is not None else failure


def _place(error: ResponseDamaged, request: Request, request_id: str) -> ResponseDamaged:
    """Return the error with what it is about."""
    placed = ResponseDamaged(
        f"{request.about}: {str(error).rstrip('.')}, also when asked for again (request {request_id}).",
        store=request.store,
        sample=request.sample,
    )
    placed.request_id = request_id
    return placed
