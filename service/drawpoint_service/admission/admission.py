"""Admission: how many requests are answered at once, and what becomes of the others."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING

from drawpoint.errors import Overloaded
from drawpoint_service import problems
from drawpoint_service.admission.semaphore import FairSemaphore, RefusalQueue
from drawpoint_service.admission.throttled_warning import ThrottledWarning
from drawpoint_service.middleware.access import OPEN_PATHS
from drawpoint_service.middleware.context import context_of
from drawpoint_service.requests.responses import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from drawpoint_service.settings import Settings

LOG = logging.getLogger("drawpoint.service")

READS = re.compile(r"/stores/[^/]*/(samples/.|coords/|batch$|statistics$|splits)")
"""Paths whose answers are read from the storage; what others are answered with is in memory."""

QUEUE_SECONDS = 0.5
"""How long a request waits before it is refused, in its turn: so long, a burst is no overload."""

_WORKING_EACH = 4
"""Requests for each thread that are routed, planned and read at the same time, where the storage is near. More gain
nothing, and make each turn of the event loop longer, several of which a probe waits for."""

_REMEDY = "try again after the time that Retry-After names, or with fewer requests at once"


class Admission:
    """ASGI middleware before all routing.

    It lets through `max_requests` that read at once, and as many that do not, so that a service whose storage hangs
    still answers what it knows. The others wait in line, at no cost. Supervisors' probes are let through always.
    """

    def __init__(self, app: ASGIApp, settings: Settings, refusals: RefusalQueue, *, is_remote: bool) -> None:
        self._app = app
        self._refusals = refusals
        self._retry_after = settings.retry_after_seconds
        self._busy = f"the service has {settings.max_requests} requests under way, as many as it takes on at once"
        self._reads = FairSemaphore(settings.max_requests, QUEUE_SECONDS, refusals)
        self._others = FairSemaphore(settings.max_requests, QUEUE_SECONDS, refusals)
        at_work = settings.max_requests if is_remote else _WORKING_EACH * settings.read_threads
        self._working = asyncio.Semaphore(at_work)
        self._refused = ThrottledWarning(LOG, "a request was refused", seconds=10)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        connection = context_of(scope).connection
        is_read = READS.match(scope["path"]) is not None
        try:
            if connection is not None and connection.is_surplus:
                await self._refusals.wait_turn()
                raise Overloaded(f"the service has as many connections as it keeps open; {_REMEDY}.")  # noqa: TRY301  one way to refuse
            slots = self._reads if is_read else self._others
            release = await slots.acquire(1, f"{self._busy}; {_REMEDY}.")
        except Overloaded as error:
            await self._refuse(error, scope, receive, send)
            return
        try:
            if connection is not None and connection.is_gone:
                return  # nobody reads for a client that did not wait
            # What waits for a body keeps nobody from working, and a storage that hangs keeps nobody from the rest.
            is_work = is_read and scope["method"] == "GET"
            await (self._work if is_work else self._app)(scope, receive, send)
        finally:
            release()

    async def _work(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._working.acquire()
        is_working = True

        def stop_working() -> None:
            nonlocal is_working
            if is_working:
                is_working = False
                self._working.release()

        async def send_answer(message: Message) -> None:
            stop_working()  # a client that reads slowly keeps nobody from working
            await send(message)

        try:
            await self._app(scope, receive, send_answer)
        finally:
            stop_working()

    async def _refuse(self, error: Overloaded, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        context.is_logged = False
        self._refused.warn(str(error))
        problem = problems.describe(error, context.request_id, None)
        await problem_response(problem, {"Retry-After": str(self._retry_after)})(scope, receive, send)
