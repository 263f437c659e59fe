"""What httpx can be told holds, and draws leave httpx exactly where all that was told is plain."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import trustme

import drawpoint
import faulty
from children import make_client
from drawpoint import errors
from drawpoint.remote.http_engine import HttpEngine
from drawpoint.remote.httpx_engine import start_engine
from drawpoint.remote.settings import ConnectionSettings
from drawpoint_store import ZarrChunkReader
from faulty import FaultyProxy
from live import LiveService

from .conftest import OpenStore

SAMPLE = "param0/run"


def is_plain(url: str, **options: Any) -> bool:
    engine = start_engine(ConnectionSettings(url, None, 300.0, None, options))
    engine.close()
    return isinstance(engine, HttpEngine)


@pytest.fixture(autouse=True)
def no_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    "options",
    [
        *({}, {"timeout": httpx.Timeout(5, connect=1)}, {"headers": {"x-a": "b"}}, {"cookies": {"a": "b"}}),
        *({"verify": False}, {"trust_env": False}),
    ],
    ids=str,
)
def test_plain_options_leave_draws_to_http_client(options: dict[str, Any]) -> None:
    assert is_plain("http://host:8000", **options)
    assert is_plain("https://host", **options)


@pytest.mark.parametrize(
    "options",
    [
        *({"proxy": "http://proxy:3128"}, {"auth": ("user", "word")}, {"event_hooks": {}}, {"mounts": {}}),
        *({"transport": httpx.HTTPTransport()}, {"http2": False}, {"follow_redirects": True}, {"params": {"a": "b"}}),
        {"limits": httpx.Limits()},
    ],
    ids=lambda options: next(iter(options)),
)
def test_other_options_send_everything_through_httpx(options: dict[str, Any]) -> None:
    assert not is_plain("http://host:8000", **options)
    assert not is_plain("http://user:word@host:8000")


class TestProxiesOfTheEnvironment:
    @pytest.mark.parametrize(
        ("variables", "address"),
        [
            ({"HTTP_PROXY": "{proxy}"}, "http://127.0.0.1:{port}"),
            ({"ALL_PROXY": "{proxy}"}, "http://127.0.0.1:{port}"),
            ({"HTTPS_PROXY": "{proxy}"}, "http://127.0.0.1:{port}"),
            ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "example.com, 127.0.0.1"}, "http://127.0.0.1:{port}"),
            ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "*"}, "http://127.0.0.1:{port}"),
            ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "LOCALHOST"}, "http://localhost:{port}"),
            ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "localhost:1"}, "http://localhost:{port}"),
            ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "0.0.1"}, "http://127.0.0.1:{port}"),
            ({"HTTP_PROXY": "{proxy}", "NO_PROXY": ",,"}, "http://127.0.0.1:{port}"),
        ],
        ids=str,
    )
    def test_are_used_where_httpx_uses_them(
        self,
        proxy: FaultyProxy,
        service: LiveService,
        monkeypatch: pytest.MonkeyPatch,
        variables: dict[str, str],
        address: str,
    ) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(proxy=proxy.url))
        url = address.format(port=service.port)
        httpx.get(f"{url}/healthz")
        used = bool(proxy.seen)
        proxy.seen.clear()
        drawpoint.connect(url).store("made").read_coords(SAMPLE, "surface", 5)
        assert bool(proxy.draws) == used
        assert len(proxy.seen) == (2 if used else 0)

    @pytest.mark.parametrize(
        ("host", "exempt", "other"),
        [
            ("host.example.com", "example.com", "host.notexample.com"),
            ("host.example.com", ".example.com", "example.com"),
            ("host", "host", "nothost"),
        ],
    )
    def test_leave_hosts_of_the_exempt_domains_to_http_client(
        self, monkeypatch: pytest.MonkeyPatch, host: str, exempt: str, other: str
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
        assert not is_plain(f"http://{host}")
        assert is_plain(f"http://{host}", trust_env=False)
        monkeypatch.setenv("NO_PROXY", exempt)
        assert is_plain(f"http://{host}")
        assert not is_plain(f"http://{other}")


def draw_over_both(url: str, **options: Any) -> None:
    for more in ({}, {"http2": False}):
        with drawpoint.connect(url, **{**options, **more}) as connection:
            reader = connection.store("made")
            reader.read_coords(SAMPLE, "surface", 5, seed=1)
            reader.read_batch([{"id": SAMPLE, "seed": 1}], {"surface": 5, "volume": 5})


class TestHeaders:
    def test_are_the_same_from_both_engines(self, proxy: FaultyProxy) -> None:
        headers = {"X-Site": "cfd", "User-Agent": "job/1"}
        draw_over_both(proxy.url, headers=headers, cookies={"a": "b"}, token="secret")
        coords, batch, *through = ((seen.target, {**seen.headers, "x-request-id": ""}) for seen in proxy.draws)
        assert [coords, batch] == through
        sent = coords[1]
        assert (sent["x-site"], sent["user-agent"], sent["cookie"]) == ("cfd", "job/1", "a=b")
        assert (sent["authorization"], sent["accept-encoding"]) == ("Bearer secret", "identity")

    def test_given_several_times_are_all_sent(self, proxy: FaultyProxy) -> None:
        headers = [("X-A", "1"), ("x-a", "2"), ("X-B", "3"), ("Cookie", "a=b"), ("cookie", "c=d"), ("X-A", "4")]
        draw_over_both(proxy.url, headers=headers)
        assert [seen.headers["x-a"] for seen in proxy.seen] == ["1, 2, 4"] * 6
        assert {seen.headers["cookie"] for seen in proxy.seen} == {"a=b, c=d"}

    def test_give_way_to_what_a_request_must_say(self, proxy: FaultyProxy) -> None:
        headers = [("X-Request-ID", "1"), ("X-Request-ID", "2"), ("Authorization", "Basic x")]
        draw_over_both(proxy.url, headers=headers, token="secret")
        assert all(len(seen.headers["x-request-id"]) == 16 for seen in proxy.seen)
        assert {seen.headers["authorization"] for seen in proxy.seen} == {"Bearer secret"}


class TestWhatIsSent:
    def test_names_the_draw_completely(self, proxy: FaultyProxy, open_store: OpenStore) -> None:
        reader = open_store(proxy.url)
        reader.read_sample(SAMPLE, {"volume": 7, "surface": 5}, fields=["volume_sdf", "surface_area"], seed=3, part=1)
        reader.read_sample(SAMPLE, {"surface": None}, seed=3)
        reader.read_coords(SAMPLE, "surface", None, seed=3)
        end = f"dtype=stored&revision={reader.manifest.revision}"
        assert [seen.target for seen in proxy.draws] == [
            f"/stores/made/samples/param0/run?surface=5&volume=7&fields=surface_area,volume_sdf&seed=3&part=1&{end}",
            f"/stores/made/samples/param0/run?seed=3&{end}",
            f"/stores/made/coords/param0/run?surface=all&seed=3&{end}",
        ]

    def test_goes_below_the_address_given(self, proxy: FaultyProxy, open_store: OpenStore) -> None:
        proxy.prefix = "/cfd/v1"
        open_store(f"{proxy.url}/cfd/v1/").read_coords(SAMPLE, "surface", 5)
        assert len(proxy.seen) == 2
        assert all(seen.target.startswith("/cfd/v1/stores/made/") for seen in proxy.seen)

    def test_fetches_a_manifest_once(self, proxy: FaultyProxy) -> None:
        connection = drawpoint.connect(proxy.url)
        first, second = connection.store("made"), connection.store("made")
        assert second.manifest is first.manifest
        assert proxy.seen[0].headers.keys() ^ proxy.seen[1].headers.keys() == {"if-none-match"}
        assert "gzip" in proxy.seen[0].headers["accept-encoding"]


class TestAClient:
    def test_that_is_given_carries_everything_and_stays_open(self, proxy: FaultyProxy) -> None:
        with httpx.Client(headers={"x-mine": "yes"}) as client:
            with drawpoint.connect(proxy.url, client=client) as connection:
                connection.store("made").read_coords(SAMPLE, "surface", 5)
            assert not client.is_closed
        assert [seen.headers["x-mine"] for seen in proxy.seen] == ["yes", "yes"]

    def test_that_is_made_carries_everything(self, proxy: FaultyProxy) -> None:
        with drawpoint.connect(proxy.url, client=make_client) as connection:
            connection.store("made").read_coords(SAMPLE, "surface", 5)
        assert [seen.headers["x-made"] for seen in proxy.seen] == ["here", "here"]


class TestTls:
    @pytest.fixture(scope="session")
    @staticmethod
    def authority() -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def secure(self, service: LiveService, authority: trustme.CA) -> Iterator[FaultyProxy]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        with FaultyProxy(service.url, tls=context) as proxy:
            yield proxy

    def test_is_checked_against_the_authority_given(
        self,
        secure: FaultyProxy,
        local: ZarrChunkReader,
        authority: trustme.CA,
        open_store: OpenStore,
        tmp_path: Path,
    ) -> None:
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        reader = open_store(secure.url, verify=ssl.create_default_context(cafile=tmp_path / "ca.pem"))
        for seed in range(3):
            remote = reader.read_sample(SAMPLE, seed=seed)
            assert torch.equal(remote["volume_velocity"], local.read_sample(SAMPLE)["volume_velocity"])
        assert len({seen.port for seen in secure.draws}) == 1

    def test_refuses_a_certificate_that_it_does_not_know_at_once(
        self, secure: FaultyProxy, open_store: OpenStore
    ) -> None:
        with pytest.raises(errors.RequestFailed, match="certificate") as caught:
            open_store(secure.url)
        assert caught.type is errors.RequestFailed
        assert "attempts" not in str(caught.value)


@pytest.mark.parametrize("does", ["hangs up", "resets", "answers as nginx does"])
def test_http_to_a_service_of_tls_is_told_at_once_with_the_remedy(open_unasked: OpenStore, does: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if self.request.recv(1, socket.MSG_PEEK) == b"\x16":
                with contextlib.suppress(OSError), context.wrap_socket(self.request, server_side=True) as secure:
                    secure.recv(1)
            elif does == "answers as nginx does":
                self.request.recv(65_536)
                body = b"<center>The plain HTTP request was sent to HTTPS port</center>"
                self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            elif does == "hangs up":
                self.request.recv(65_536)  # what is unread when a socket closes makes a reset of it

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        with pytest.raises(errors.RequestFailed, match=r"it speaks TLS: write https:// in place of http://") as caught:
            open_unasked(f"http://127.0.0.1:{server.server_address[1]}").read_sample(SAMPLE)
        assert "attempts" not in str(caught.value)
        server.shutdown()
        thread.join()


def test_a_service_that_hangs_up_and_speaks_no_tls_is_tried_again(proxy: FaultyProxy, open_unasked: OpenStore) -> None:
    proxy.script.append(faulty.hang_up)
    assert open_unasked(proxy.url).read_sample(SAMPLE, seed=1)
    assert len(proxy.draws) == 2


def test_https_to_a_service_without_tls_is_told_at_once_with_the_remedy(
    service: LiveService, open_store: OpenStore
) -> None:
    with pytest.raises(errors.RequestFailed, match="HTTP without TLS: write http:// in place of https://") as caught:
        open_store(service.url.replace("http:", "https:"))
    assert "attempts" not in str(caught.value)


class TestTheTokenOfTheEnvironment:
    @pytest.mark.parametrize(
        ("variable", "sent"), [("ours", "Bearer ours"), (" a,b ", "Bearer a"), (" ", None), (None, None)]
    )
    def test_is_sent_unless_it_is_blank(
        self, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, variable: str | None, sent: str | None
    ) -> None:
        monkeypatch.delenv("DRAWPOINT_TOKEN", raising=False)
        if variable is not None:
            monkeypatch.setenv("DRAWPOINT_TOKEN", variable)
        drawpoint.connect(proxy.url).store("made").read_coords(SAMPLE, "surface", 5)
        assert {seen.headers.get("authorization") for seen in proxy.seen} == {sent}

    @pytest.mark.parametrize(
        ("options", "sent"),
        [
            ({"token": "given"}, "Bearer given"),
            ({"auth": ("user", "word")}, "Basic dXNlcjp3b3Jk"),
            ({"headers": {"Authorization": "Negotiate x"}}, "Negotiate x"),
            ({"trust_env": False}, None),
            ({"client": httpx.Client}, None),
        ],
        ids=str,
    )
    def test_gives_way_to_what_is_given(
        self, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], sent: str | None
    ) -> None:
        monkeypatch.setenv("DRAWPOINT_TOKEN", "of-the-environment")
        with drawpoint.connect(proxy.url, **options) as connection:
            connection.store("made").read_coords(SAMPLE, "surface", 5)
        assert {seen.headers.get("authorization") for seen in proxy.seen} == {sent}


class TestConnect:
    def test_refuses_options_that_httpx_does_not_know(self) -> None:
        with pytest.raises(TypeError, match="tiemout"):
            drawpoint.connect("http://host", tiemout=5)

    @pytest.mark.parametrize("options", [{}, {"http2": False}], ids=["http.client", "httpx"])
    @pytest.mark.parametrize("headers", [{"x-a": "b\r\nx-evil: 1"}, {"x-a\r\nx-evil": "b"}], ids=["value", "name"])
    def test_sends_no_header_that_holds_another(
        self, proxy: FaultyProxy, open_unasked: OpenStore, headers: dict[str, str], options: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match="cannot"):
            open_unasked(proxy.url, headers=headers, **options).read_sample(SAMPLE)
        assert not proxy.seen


def test_a_password_in_the_address_is_shown_nowhere(service: LiveService) -> None:
    host = service.url.removeprefix("http://")
    reader = drawpoint.connect(f"http://me:secret@{host}").store("made")
    away = drawpoint.connect("http://me:secret@127.0.0.1:1/below", deadline=0.5)
    with pytest.raises(errors.RequestFailed, match=r"at http://127\.0\.0\.1:1/below: ") as failed:
        away.store("made")
    with pytest.raises(ValueError, match="is not the address of a service") as refused:
        drawpoint.connect("http://me:secret@")
    assert reader.store_root == f"{service.url}/stores/made"
    shown = (repr(away), repr(reader), str(failed.value), str(refused.value))
    assert not any("secret" in text for text in shown)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        *(
            ({"token": token}, "DRAWPOINT_TOKEN")
            for token in ("", " ", "a b", "\u00e4", "a\r\nX-Evil: 1", 5, b"x", ["x"])
        ),
        *(({"deadline": seconds}, "deadline must be") for seconds in (0, -1, None, "3", float("nan"))),
        *(
            ({"url": url}, "is not the address of a service")
            for url in (
                *("", "host:8000", "ftp://host", "http://", "http://host?x=1", "http://host#x", "http://host:99999"),
                *("http://host:port", "http://[::1", "http://host\n", "http://..", "http://xn--a.de"),
                *("http://" + "a" * 64, "http://" + "a" * 70_000),
            )
        ),
        ({"url": "http://me:secret@127.0.0.1:1", "token": "token"}, "leave one of them out"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_invalid_is_refused_when_it_is_given(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        drawpoint.connect(**{"url": "http://host", **arguments})
    assert not isinstance(caught.value, httpx.InvalidURL)
    assert len(str(caught.value)) < 300
