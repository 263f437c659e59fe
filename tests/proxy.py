"""A proxy before a real bucket: it delays, counts and spoils what goes through, as networks and storages do.

python tests/proxy.py UPSTREAM_PORT LATENCY_SECONDS [BYTES_PER_SECOND]    # prints its port, and runs until it is ended
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Self

Kind = Literal["status", "reset", "truncate", "blackhole", "drip"]


@dataclass(frozen=True)
class Fault:
    """What happens to an answer.

    `status`: another one, with `body`, and the storage is not asked. `reset`: the connection is reset before the
    answer. `truncate`: it is closed after half of the body. `blackhole`: nothing ever comes. `drip`: the body comes
    at ten bytes a second.
    """

    kind: Kind
    status: int = 0
    body: bytes = b""


def status(code: int, name: str, extra: str = "") -> Fault:
    """Return the fault of an S3 error with that status and `<Code>`."""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{name}</Code><Message>of {name}</Message>{extra}</Error>'
    )
    return Fault("status", code, body.encode())


@dataclass
class Passed:
    """A request that went through: what was asked, when it came, and when its answer was sent."""

    method: str
    target: str
    span: str
    came: float
    answered: float = float("inf")


class BucketProxy:
    """Forwards to a port of loopback while the `with` block lasts; `latency` is the round trip added, in seconds.

    `bytes_per_second` is what all bodies together get of the line.

    `fault` is asked about every request and returns what to do to its answer, or None.
    """

    def __init__(self, upstream: int, latency: float = 0.0, bytes_per_second: float = float("inf")) -> None:
        self.latency = latency
        self._seconds_a_byte = 1 / bytes_per_second
        self._line_is_free = 0.0
        self.fault: Callable[[Passed], Fault | None] = lambda _: None
        self.passed: list[Passed] = []
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def fail_first(self, count: int, fault: Fault, where: str = "") -> None:
        """Spoil the first `count` requests whose target matches `where`, and no more."""
        left = count

        def choose(request: Passed) -> Fault | None:
            nonlocal left
            if left and re.search(where, request.target):
                left -= 1
                return fault
            return None

        self.fault = choose

    def round_trips(self) -> int:
        """Return the length of the longest chain of requests each of which came after the one before was answered."""
        longest: list[tuple[float, int]] = []
        for request in sorted(self.passed, key=lambda passed: passed.came):
            before = max((depth for answered, depth in longest if answered <= request.came), default=0)
            longest.append((request.answered, before + 1))
        return max((depth for _, depth in longest), default=0)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        # Others than the connections are accepting one; it is there when they end.
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for connection in self._connections:
                connection.cancel()
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # the connections are closed in the loop's next round

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(
            lambda _: writer.transport.abort()
        )  # one that is cancelled before its first step closes nothing

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # either end has hung up
                back, there = await asyncio.open_connection("127.0.0.1", self._upstream)
                ends.append(there)
                while await self._exchange(reader, writer, back, there):
                    pass
            for end in ends:
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()
        finally:
            for end in ends:
                end.transport.abort()  # a client that is slow to read would keep it open beyond the end of the loop

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        there: asyncio.StreamWriter,
    ) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        request = Passed(method, target, _header(head, "range"), time.monotonic())
        body = await reader.readexactly(int(_header(head, "content-length") or 0))
        self.passed.append(request)
        fault = self.fault(request)
        if self.latency:
            await asyncio.sleep(self.latency)
        try:
            if fault is None or fault.kind in ("truncate", "drip"):
                there.write(head + body)
                return await _relay(method, back, writer, fault, self._use_line)
            if fault.kind == "status":
                writer.write(_answer(method, fault))
                await writer.drain()
                return True
            if fault.kind == "blackhole":
                await reader.read()  # until the client gives up
            else:
                _reset(writer)
            return False
        finally:
            request.answered = time.monotonic()

    async def _use_line(self, nbytes: int) -> None:
        """Wait until the line has carried so many bytes, after all that came before."""
        self._line_is_free = max(self._line_is_free, time.monotonic()) + nbytes * self._seconds_a_byte
        await asyncio.sleep(self._line_is_free - time.monotonic())


async def _relay(
    method: str,
    back: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    fault: Fault | None,
    use_line: Callable[[int], Awaitable[None]],
) -> bool:
    head = await back.readuntil(b"\r\n\r\n")
    bodiless = method == "HEAD" or head[9:12] in (b"204", b"304")
    if "chunked" in _header(head, "transfer-encoding"):
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += await back.readuntil(b"\r\n")
    else:
        body = b"" if bodiless else await back.readexactly(int(_header(head, "content-length") or 0))
    if fault is not None and fault.kind == "drip":
        writer.write(head)
        for place in range(len(body)):
            writer.write(body[place : place + 1])
            await writer.drain()
            await asyncio.sleep(0.1)
        return False
    await use_line(len(body))
    writer.write(head + (body if fault is None else body[: len(body) // 2]))
    await writer.drain()
    return fault is None


def _answer(method: str, fault: Fault) -> bytes:
    head = f"HTTP/1.1 {fault.status} X\r\ncontent-type: application/xml\r\ncontent-length: {len(fault.body)}\r\n\r\n"
    return head.encode() + (b"" if method == "HEAD" else fault.body)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _header(head: bytes, name: str) -> str:
    found = re.search(rf"(?im)^{name}: *(.*?)\r$", head.decode("latin-1"))
    return found[1] if found else ""


if __name__ == "__main__":
    with BucketProxy(int(sys.argv[1]), *map(float, sys.argv[2:])) as running:
        sys.stdout.write(f"{running.port}\n")
        sys.stdout.flush()
        threading.Event().wait()
