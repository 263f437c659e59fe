"""The deadline of a call holds while it is connecting: over name resolution, and over all addresses of a host."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from drawpoint import errors
from drawpoint.remote import retry
from drawpoint_store import ZarrChunkReader
from faulty import FaultyProxy
from live import LiveService

from .conftest import OpenStore

SAMPLE = "param0/run"
HOST = "many.example"
PATIENCE = 30.0
"""Seconds that no call with a deadline of half a second takes, however busy the machine is."""

Resolve = Callable[[list[int]], None]


@pytest.fixture(params=[{}, {"http2": False}], ids=["http.client", "httpx"])
def call(request: pytest.FixtureRequest, open_unasked: OpenStore) -> Callable[..., object]:
    """Ask the service at an address for a draw."""
    return lambda url, **options: open_unasked(url, **{**request.param, **options}).read_sample(SAMPLE)


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Let the name HOST have an address for each of some ports of this machine."""
    original = socket.getaddrinfo

    def resolve_to(ports: list[int]) -> None:
        def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
            if host not in (HOST, HOST.encode()):
                return original(host, *arguments, **options)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return resolve_to


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that drops what is sent to it: its queue of connections is full."""
    with contextlib.ExitStack() as sockets, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with contextlib.suppress(TimeoutError):
            while True:
                filler = sockets.enter_context(socket.socket())
                filler.settimeout(0.2)
                filler.connect(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_addresses_that_do_not_answer_share_the_deadline(
    call: Callable[..., object], resolve: Resolve, dead_port: int, timeout: float | None
) -> None:
    resolve([dead_port] * 200)
    begun = time.monotonic()
    with pytest.raises(errors.ServiceUnavailable, match="no connection"):
        call(f"http://{HOST}", deadline=0.5, timeout=timeout)
    assert time.monotonic() - begun < PATIENCE


def test_addresses_that_do_not_answer_share_the_time_of_first_contact(
    call: Callable[..., object], resolve: Resolve, dead_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_CONTACT_SECONDS", 0.5)
    resolve([dead_port] * 200)
    begun = time.monotonic()
    with pytest.raises(errors.ServiceUnavailable, match="no connection"):
        call(f"http://{HOST}")
    assert time.monotonic() - begun < PATIENCE


def test_a_draw_reaches_the_address_behind_one_that_does_not_answer(
    service: LiveService,
    local: ZarrChunkReader,
    open_unasked: OpenStore,
    resolve: Resolve,
    dead_port: int,
) -> None:
    resolve([dead_port, service.port])
    reader = open_unasked(f"http://{HOST}", timeout=httpx.Timeout(60, connect=1.0))
    drawn = reader.read_coords(SAMPLE, "surface", 5, seed=1)
    assert drawn.equal(local.read_coords(SAMPLE, "surface", 5, seed=1))


def test_a_name_that_takes_its_time_to_resolve_ends_with_the_deadline(
    call: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    resolved = []

    def getaddrinfo(*_: Any, **__: Any) -> Any:
        over.wait(PATIENCE)
        resolved.append(True)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(errors.ServiceUnavailable, match=r"no connection: .*time"):
        call(f"http://{HOST}", deadline=0.3, timeout=None)
    assert not resolved
    over.set()


def test_a_deadline_without_an_end_is_taken(proxy: FaultyProxy, call: Callable[..., object]) -> None:
    assert call(proxy.url, deadline=float("inf"))
