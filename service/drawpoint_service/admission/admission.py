"""The way in: how many requests are answered at once, who waits, and who is refused."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from typing import TYPE_CHECKING

from drawpoint.errors import Overloaded
from drawpoint_service import problems
from drawpoint_service.admission.budget import Budget, Pace
from drawpoint_service.admission.reports import Report
from drawpoint_service.exchange import OPEN_PATHS, connection_of, exchange_of
from drawpoint_service.requests.responses import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from drawpoint_service.settings import Settings

LOG = logging.getLogger("drawpoint.service")

_READS = re.compile(r"/stores/[^/]*/(samples/.|coords/|batch$|statistics$|splits)")
"""Paths whose answers are read from the storage; what others are answered with is in memory."""

QUEUE_SECONDS = 0.5
"""How long a request waits for a place before it is refused, in its turn: so long, a burst is no overload."""

_WORKING_EACH = 4
"""Requests for each thread that are routed, planned and read at the same time, where the storage is near. More gain
nothing, and make each turn of the event loop longer, several of which a probe waits for."""

_REMEDY = "try again after the time that Retry-After names, or with fewer requests at once"


class Admission:
    """ASGI middleware before all routing.

    It lets through `max_requests` that read at once, and as many that do not, so that a service whose storage hangs
    still tells what there is. The others wait in line, at no cost. Supervisors' probes are let through always.
    """

    def __init__(self, app: ASGIApp, settings: Settings, pace: Pace, *, is_far: bool) -> None:
        self._app = app
        self._pace = pace
        self._retry_after = settings.retry_after_seconds
        self._most = settings.max_requests
        self._reads = Budget(settings.max_requests, QUEUE_SECONDS, pace)
        self._others = Budget(settings.max_requests, QUEUE_SECONDS, pace)
        self._working = asyncio.Semaphore(settings.max_requests if is_far else _WORKING_EACH * settings.read_threads)
        self._refused = Report(LOG, "a request was refused", seconds=10)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            connection = connection_of(scope)
            if connection is not None and connection.is_surplus:
                await self._pace.wait()
                raise Overloaded(f"the service has as many connections as it keeps open; {_REMEDY}.")  # noqa: TRY301  one way to refuse
            budget = self._reads if _READS.match(scope["path"]) else self._others
            leave = await budget.take(
                1, f"the service has {self._most} requests under way, as many as it takes on at once; {_REMEDY}."
            )
        except Overloaded as error:
            await self._refuse(error, scope, receive, send)
            return
        try:
            if connection is None or not connection.is_gone:  # nobody reads for a client that did not wait
                await self._work(scope, receive, send)
        finally:
            leave()

    async def _work(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What waits for a body keeps nobody from working, and a storage that hangs nobody from learning what there is.
        if scope["method"] != "GET" or not _READS.match(scope["path"]):
            await self._app(scope, receive, send)
            return
        async with contextlib.AsyncExitStack() as working:
            await working.enter_async_context(self._working)

            async def send_answer(message: Message) -> None:
                await working.aclose()  # who reads its answer slowly does not either
                await send(message)

            await self._app(scope, receive, send_answer)

    async def _refuse(self, error: Overloaded, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        exchange.is_logged = False
        self._refused.say(str(error))
        problem = problems.describe(error, exchange.request_id, None)
        await problem_response(problem, {"Retry-After": str(self._retry_after)})(scope, receive, send)
