"""How a service begins with connections, how it ends, and what it outlives: SIGTERM, SIGHUP, a lack of descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn

from drawpoint_service.server import listening
from live import LiveService, wait_until_refused
from served import Served
from waiting import wait_until

DRAW = "/stores/made/samples/param0/run?surface=50&volume=50&seed="
IDLE = 400


class Clients:
    """Draws without a pause while the `with` block lasts; `broken` are requests that were begun and got no answer.

    A connection that is refused is no broken request, and neither is one on a connection that was kept and is closed
    before a byte of the answer: whoever sends on it has to reckon with that (RFC 9110, 9.2.2). It is reset where the
    request was with the kernel of a service that closed meanwhile.
    """

    def __init__(self, url: str, count: int, *, keep: bool) -> None:
        self.answered = 0
        self.broken: list[str] = []
        self._address = urlsplit(url)
        self._keep = keep
        self._over = threading.Event()
        self._answers = threading.Condition()
        self._threads = [threading.Thread(target=self._draw, args=(number,)) for number in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait(self, more: int) -> None:
        """Wait for so many more answers."""
        with self._answers:
            wanted = self.answered + more
            assert self._answers.wait_for(lambda: self.answered >= wanted, timeout=60)

    def _draw(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=30)
        while not self._over.is_set():
            is_new = connection.sock is None
            try:
                if is_new:
                    connection.connect()
            except OSError:
                self._over.wait(0.01)  # a port tells nobody that it is open again
                continue
            answer = None
            try:
                connection.request("GET", f"{DRAW}{number}")
                answer = connection.getresponse()
                answer.read()
                assert answer.status in (200, 503)
                with self._answers:
                    self.answered += 1
                    self._answers.notify_all()
                if not self._keep:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                was_closed = answer is None and isinstance(error, ConnectionResetError | BrokenPipeError)
                if is_new or not was_closed:
                    self.broken.append(f"{'new' if is_new else 'kept'} connection: {error!r}")
                connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_neither_sighup_nor_sigterm_breaks_a_request(
    serve: Callable[..., Served], store_root: Path, workers: int
) -> None:
    served = serve("--store", f"made={store_root}", "--workers", str(workers), config="drain_seconds = 0.2")
    wait_until(lambda: served.log.read_text().count("Application startup complete") == workers)
    with Clients(served.url, 8, keep=True) as keeping, Clients(served.url, 8, keep=False) as coming:
        keeping.wait(50)
        served.process.send_signal(signal.SIGHUP)
        if workers > 1:  # each is replaced
            wait_until(lambda: served.log.read_text().count("Finished server process") == workers)
        for clients in (keeping, coming):
            clients.wait(50)
        assert served.process.poll() is None
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(timeout=60) == 0
    assert keeping.broken == coming.broken == []
    log = served.log.read_text()
    assert log.count("Finished server process") == (1 if workers == 1 else 2 * workers)
    assert "leaked" not in log
    assert "Traceback" not in log


def test_what_was_sent_before_the_end_is_answered_though_it_was_accepted_later(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, all_sent, on_tick = threading.Event(), threading.Event(), uvicorn.Server.on_tick

    async def wait_before_the_end(server: uvicorn.Server, counter: int) -> bool:
        if is_over := await on_tick(server, counter):
            ending.set()
            assert all_sent.wait(60)
        return is_over

    monkeypatch.setattr(uvicorn.Server, "on_tick", wait_before_the_end)
    with contextlib.ExitStack() as stack:
        clients = []
        with LiveService({"made": store_root}) as service:
            service.end()
            assert ending.wait(60)
            for number in range(20):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=30))
                client.sendall(f"GET {DRAW}{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                clients.append(client)
            all_sent.set()
        for client in clients:
            head = client.recv(2**20).lower()
            assert head.startswith(b"http/1.1 200 ")
            assert b"\r\nconnection: close\r\n" in head


def test_a_port_that_nobody_serves_refuses(serve: Callable[..., Served], big_root: Path) -> None:
    config = "drain_seconds = 0\nshutdown_seconds = 600\n"
    served = serve("--store", f"big={big_root}", "--workers", "2", config=config)
    with socket.create_connection(("127.0.0.1", urlsplit(served.url).port or 0)) as stuck:
        stuck.sendall(b"GET /stores/big/samples/s HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stuck.recv(100)
        served.process.send_signal(signal.SIGTERM)
        wait_until_refused(served.url)
        assert served.process.poll() is None  # it still waits for the reader
    assert served.process.wait(timeout=60) == 0


def test_a_lack_of_descriptors_is_said_once_and_outlived(serve: Callable[..., Served], store_root: Path) -> None:
    served = serve("--store", f"made={store_root}", files=64)
    assert httpx.get(f"{served.url}{DRAW}1").status_code == 200
    address = ("127.0.0.1", int(served.url.rpartition(":")[2]))
    with contextlib.ExitStack() as stack:
        served.process.send_signal(signal.SIGSTOP)  # so that they are all there at once
        idle = [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(IDLE)]
        served.process.send_signal(signal.SIGCONT)
        # Those beyond the limit are sent away, and then there is room for a probe.
        for client in idle[IDLE // 2 :]:
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""

        def is_alive() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{served.url}/healthz").status_code == 200
            return False

        wait_until(is_alive)
        assert httpx.get(f"{served.url}/stores").status_code == 503
    wait_until(lambda: httpx.get(f"{served.url}{DRAW}2").status_code == 200)
    lines = served.log.read_text().splitlines()
    assert len([line for line in lines if " WARNING " in line or " ERROR " in line]) <= 2
    assert len([line for line in lines if "no connection could be accepted" in line]) == 1
    assert "Traceback" not in served.log.read_text()


@pytest.mark.parametrize(("seconds", "in_turns"), [(60, [1] * 100), (0, [100])], ids=["at first", "then"])
def test_connections_are_accepted_one_a_turn_at_first_and_many_at_once_then(
    monkeypatch: pytest.MonkeyPatch, seconds: float, in_turns: list[int]
) -> None:
    """Workers share the socket: one that accepted a few connections at once would serve them alone."""
    monkeypatch.setattr(listening, "SHARED_SECONDS", seconds)
    assert accepted_by_turn([100]) == in_turns


def test_connections_are_shared_again_after_a_time_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "SHARED_SECONDS", 60)
    assert accepted_by_turn([1, 5]) == [1] * 6


def accepted_by_turn(bursts: list[int]) -> list[int]:
    """Return how many connections each turn of a listener's event loop accepts; an hour lies between bursts."""
    accepted: list[int] = []
    hours = 0

    class Loop(listening.ServiceLoop):
        def time(self) -> float:
            return hours * 3600 + super().time()

    class Accepted(asyncio.Protocol):
        def __init__(self) -> None:
            accepted[-1] += 1

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.close()

        def shutdown(self) -> None:
            """Stand for that of uvicorn's protocols, which a server that ends calls."""

    async def accept(stack: contextlib.ExitStack, bound: socket.socket) -> None:
        nonlocal hours
        server = await asyncio.get_running_loop().create_server(Accepted, sock=bound)
        deadline = time.monotonic() + 30  # the loop's own clock leaps
        for number, count in enumerate(bursts):
            for _ in range(count):
                stack.enter_context(socket.create_connection(bound.getsockname()))
            while sum(accepted) < sum(bursts[: number + 1]):
                assert time.monotonic() < deadline, f"{sum(accepted)} of {bursts} were accepted"
                accepted.append(0)
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)  # that none is waiting any more is seen by the next turn
            hours += 1
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)

    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))
        loop = Loop()
        try:
            loop.run_until_complete(accept(stack, bound))
        finally:
            loop.close()
    return [count for count in accepted if count]
