"""Redirects are followed where that is asked for, and whatever httpx does not carry on with is told at once."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import drawpoint
import faulty
from drawpoint import errors
from drawpoint_store import ZarrChunkReader
from faulty import FaultyProxy
from live import LiveService

from .conftest import CALLS

SAMPLE = "param0/run"
LOOP = {"location": "/round"}


@pytest.fixture
def other(service: LiveService) -> Iterator[FaultyProxy]:
    """Another host that has the service behind it, to whoever counts ports."""
    with FaultyProxy(service.url) as other:
        yield other


def redirect(proxy: FaultyProxy, status: int, headers: dict[str, str], body: bytes = b"") -> None:
    proxy.always = proxy.documents = faulty.with_answer(status, headers, body)


def redirect_to(url: str) -> faulty.Fault:
    def fault(reply: faulty.Reply) -> bool:
        return faulty.with_answer(307, {"location": url + reply.request.target})(reply)

    return fault


@pytest.mark.parametrize("read", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("status", [302, 307])
def test_a_loop_ends_at_once(proxy: FaultyProxy, status: int, read: Callable[[Any], Any]) -> None:
    with drawpoint.connect(proxy.url, follow_redirects=True, max_redirects=3) as connection:
        reader = connection.store("made")
        proxy.seen.clear()
        redirect(proxy, status, LOOP)
        with pytest.raises(errors.RequestFailed, match=r"of store 'made' at http.* without an end") as caught:
            read(reader)
    assert caught.type is errors.RequestFailed
    assert (caught.value.store, len(proxy.seen)) == ("made", 4)


@pytest.mark.parametrize(
    "location",
    [
        "ftp://elsewhere/x",
        "file:///etc/passwd",
        "mailto:me",
        "http://host:port/",
        "http://xn--a.de",
        "http://" + "a" * 64,
    ],
)
def test_a_redirect_to_what_is_no_address_of_http_ends_at_once(proxy: FaultyProxy, location: str) -> None:
    redirect(proxy, 307, {"location": location})
    connection = drawpoint.connect(proxy.url, follow_redirects=True)
    with pytest.raises(errors.RequestFailed, match="cannot be carried on") as caught:
        connection.stores()
    assert caught.type is errors.RequestFailed
    assert len(proxy.seen) == 1


def test_a_redirect_to_a_host_without_an_address_ends_at_once(
    proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "nowhere.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return original(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    redirect(proxy, 307, {"location": "http://nowhere.example/x"})
    with pytest.raises(errors.RequestFailed, match=r"redirects to 'nowhere\.example', a name that does not resolve"):
        drawpoint.connect(proxy.url, follow_redirects=True).stores()
    assert len(proxy.seen) == 1


def test_a_hook_that_reads_the_answer_or_refuses_it_is_told_at_once(proxy: FaultyProxy) -> None:
    for hook in (lambda response: response.read(), lambda response: response.raise_for_status()):
        proxy.seen.clear()
        proxy.documents = faulty.with_answer(404, {}, b"x")
        with pytest.raises(errors.RequestFailed, match="cannot be carried on") as caught:
            drawpoint.connect(proxy.url, event_hooks={"response": [hook]}).stores()
        assert isinstance(caught.value.__cause__, Exception)
        assert len(proxy.seen) == 1


def test_a_name_too_long_for_an_address_is_told_at_once(proxy: FaultyProxy) -> None:
    reader = drawpoint.connect(proxy.url).store("made")
    with pytest.raises(errors.RequestFailed, match="longer than"):
        reader.split("x" * 70_000)
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("read", [CALLS["a sample"], CALLS["a batch"]], ids=["a sample", "a batch"])
def test_a_redirect_is_followed_and_the_token_stays_at_home(
    proxy: FaultyProxy, other: FaultyProxy, read: Callable[[Any], Any]
) -> None:
    proxy.always = redirect_to(other.url)
    reader = drawpoint.connect(proxy.url, token="secret", follow_redirects=True).store("made")
    read(reader)
    assert [seen.headers.get("authorization") for seen in proxy.seen] == ["Bearer secret"] * 2
    assert len(other.seen) == 1
    assert not any("secret" in value for value in other.seen[0].headers.values())


def test_a_redirect_within_the_service_keeps_the_token_and_the_draw(proxy: FaultyProxy, local: ZarrChunkReader) -> None:
    proxy.script += [redirect_to(proxy.url)]
    reader = drawpoint.connect(proxy.url, token="secret", follow_redirects=True).store("made")
    drawn = reader.read_coords(SAMPLE, "surface", 5, seed=1)
    assert torch.equal(drawn, local.read_coords(SAMPLE, "surface", 5, seed=1))
    assert {seen.headers["authorization"] for seen in proxy.seen} == {"Bearer secret"}
