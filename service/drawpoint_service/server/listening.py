"""The listening socket: accepts a few connections at a time, outlives a lack of descriptors, loses none at the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import resource
from typing import TYPE_CHECKING, Any

from drawpoint_service.admission.throttled_warning import ThrottledWarning

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

LOG = logging.getLogger("drawpoint.service")

ACCEPTED_AT_ONCE = 256
"""Connections that are accepted before the event loop goes on with those that it has: some 20 ms."""

SHARED_SECONDS = 0.01
"""How long connections are accepted one by one while more are waiting: workers share the socket, and the first to wake
would take all of a few. Then many are accepted at once."""

TURN_SECONDS = 0.001
"""How long another worker has to wake up and accept the next of them."""

PAUSE_SECONDS = 1.0
"""How long nothing is accepted after a lack of descriptors or memory."""

MOST_FILES = 65_536
"""Descriptors that the service asks for, where it may have them: more than it can have connections."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def raise_file_limit() -> None:
    """Let this process, and those that it starts, have as many open files as its hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # a system may have another bound; it is served with less
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class ServiceLoop(asyncio.SelectorEventLoop):
    """An event loop whose servers accept through a Listener; uvicorn's `loop` setting names it."""

    async def create_server(  # type: ignore[override]  # one way of the many that asyncio has, the one uvicorn takes
        self, protocol_factory: Callable[[], asyncio.Protocol], *, sock: socket.socket, **_: Any
    ) -> Listener:
        return Listener(self, sock, protocol_factory)


class Listener:
    """Accepts the connections of a listening socket, in place of asyncio's Server.

    asyncio accepts a whole backlog before it goes on, tries all of it in vain where descriptors have run out (with a
    line in the log for each), and resets what waits in the kernel's queue when it closes.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listening: socket.socket, factory: Callable[[], asyncio.Protocol]
    ) -> None:
        self._loop = loop
        self._socket = listening
        self._factory = factory
        self._closed = False
        self._exhausted = ThrottledWarning(LOG, "no connection could be accepted", seconds=60)
        self._opening: set[asyncio.Task[Any]] = set()
        listening.setblocking(False)
        self._watch()

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return () if self._closed else (self._socket,)

    def close(self) -> None:
        """Accept what the kernel has accepted already, and close."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket)
        self._accept(MOST_FILES)
        self._socket.close()

    async def wait_closed(self) -> None:
        """Wait for connections that are being set up; uvicorn itself waits for the end of all others."""
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _watch(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket, self._begin)

    def _begin(self) -> None:
        self._loop.remove_reader(self._socket)
        self._go_on(self._loop.time() + SHARED_SECONDS)

    def _go_on(self, shared_until: float) -> None:
        """Accept what is waiting, a turn after the other, until no connection is."""
        if self._closed:
            return
        shared = self._loop.time() < shared_until
        pause = self._accept(1 if shared else ACCEPTED_AT_ONCE)
        if pause is None:
            self._loop.call_later(TURN_SECONDS if shared else 0, self._go_on, shared_until)
        else:
            self._loop.call_later(pause, self._watch)

    def _accept(self, most: int) -> float | None:
        """Accept `most` connections; if there were fewer, return for how many seconds nothing is to be accepted."""
        for _ in range(most):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return 0
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._exhausted.warn(f"{error.strerror}; raise the limit (`ulimit -n`) or lower max_connections.")
                return PAUSE_SECONDS
            opening = self._loop.create_task(self._loop.connect_accepted_socket(self._factory, connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opened)
        return None

    def _opened(self, opening: asyncio.Task[tuple[asyncio.Transport, Any]]) -> None:
        self._opening.discard(opening)
        # A client that has left again is no error.
        if not opening.cancelled() and opening.exception() is None and self._closed:
            opening.result()[1].shutdown()  # the server has shut down all others before it knew of this one
