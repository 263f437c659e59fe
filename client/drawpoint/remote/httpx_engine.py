"""Sending through httpx, and the rule for what must: whatever can be configured there holds."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING
from urllib.request import getproxies

import httpx

import drawpoint
from drawpoint.remote.engine import (
    Answer,
    Deadline,
    Hopeless,
    Interrupted,
    TimedOut,
    Truncated,
    Unreachable,
    check_length,
    limit_body,
    reason_of,
)
from drawpoint.remote.http_engine import HttpEngine
from drawpoint.remote.settings import NOT_SHARED
from drawpoint.remote.sockets import name_connect_failure, run_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drawpoint.remote.settings import ConnectionSettings

PLAIN_OPTIONS = frozenset({"headers", "cookies", "timeout", "verify", "cert", "trust_env"})
"""Options of httpx.Client that HttpEngine honours; any other one sends everything through httpx."""

DEFAULT_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
"""Of one step of one attempt, in seconds. A large read may keep the service busy before its first byte."""


def start_engine(settings: ConnectionSettings) -> HttpEngine | HttpxEngine:
    """Return what sends the requests of this process: through httpx unless all that was told is plain."""
    address = httpx.URL(settings.url)
    if isinstance(settings.client, httpx.Client):
        if settings.pid != os.getpid():
            raise RuntimeError(f"the httpx.Client that was given to connect() belongs to another process; {NOT_SHARED}")
        return HttpxEngine(settings.client, address, owned=False)
    if settings.client is not None:
        return HttpxEngine(settings.client(), address, owned=True)
    options = dict(settings.options)
    trust_env = options.get("trust_env", True)
    tls = httpx.create_ssl_context(options.pop("verify", True), options.pop("cert", None), trust_env)
    headers = httpx.Headers(options.pop("headers", None))
    headers.setdefault("user-agent", f"drawpoint/{drawpoint.__version__}")
    client = httpx.Client(**{"timeout": DEFAULT_TIMEOUT, **options}, verify=tls, headers=headers)
    if not _is_plain(address, settings.options):
        return HttpxEngine(client, address, owned=True)
    with client:
        sent = client.build_request("GET", address).headers.raw
    return HttpEngine(address, sent, client.timeout, tls if address.scheme == "https" else None)


def _is_plain(address: httpx.URL, options: Mapping[str, object]) -> bool:
    """Tell whether nothing stands between the client and the service but HTTP/1.1 over TCP or TLS."""
    if not options.keys() <= PLAIN_OPTIONS or address.userinfo:
        return False
    return not options.get("trust_env", True) or not _has_proxy(address, getproxies())


def _has_proxy(address: httpx.URL, proxies: Mapping[str, str]) -> bool:
    """Tell whether httpx would send what goes to `address` through a proxy of the environment.

    It says yes for a few forms of NO_PROXY that httpx knows and this does not (URLs, ports): httpx then decides.
    """
    if not proxies.get(address.scheme) and not proxies.get("all"):
        return False
    exempt = [name.strip().lower() for name in proxies.get("no", "").split(",")]
    return not any(
        name and (name in ("*", address.host) or address.host.endswith(f".{name.lstrip('.')}")) for name in exempt
    )


class HttpxEngine:
    """Sends requests to `address` through `client`; `owned` tells whether it is this engine's to close."""

    def __init__(self, client: httpx.Client, address: httpx.URL, *, owned: bool) -> None:
        self._client = client
        self._address = address
        self._timeout = client.timeout
        self._owned = owned
        self._pid = os.getpid()

    def send(
        self, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline, limit: int
    ) -> Answer:
        """Send a GET of `target`, or a POST of `body`, and return the whole answer, of `limit` bytes at most.

        Raises a TransportFailure, and ValueError for headers that cannot be sent.
        """
        connecting = threading.Event()
        abandoned = threading.Event()

        def note_connecting(event: str, _: object) -> None:
            if event == "connection.connect_tcp.started":
                connecting.set()
            elif event.startswith("connection.connect_tcp."):
                connecting.clear()

        def exchange() -> Answer:
            with (
                _named_failures(self._address.host) as answered,
                self._client.stream(
                    "GET" if body is None else "POST",
                    str(self._address).rstrip("/") + target,
                    content=body,
                    headers=headers,
                    timeout=httpx.Timeout(
                        connect=deadline.clip_connect(self._timeout.connect),
                        read=deadline.clip(self._timeout.read),
                        write=deadline.clip(self._timeout.write),
                        pool=deadline.clip(self._timeout.pool),
                    ),
                    extensions={"trace": note_connecting},
                ) as response,
            ):
                answered.set()
                received = _read_body(response, limit, deadline, abandoned)
                return Answer(
                    response.status_code, {name.lower(): value for name, value in response.headers.items()}, received
                )

        # httpx bounds no whole: each address of a name has a timeout of its own, resolving the name has none, and
        # that of reading begins anew with each byte. In a thread of its own it holds nobody.
        answer = run_in_thread(exchange)
        try:
            wait([answer], deadline.clip_connect(self._timeout.connect))
            if not connecting.is_set():
                wait([answer], deadline.remaining())
        finally:
            abandoned.set()
        if answer.done():
            return answer.result()
        if connecting.is_set():
            raise Unreachable("no connection: timed out")
        raise TimedOut("the answer was not complete in time")

    def close_idle(self) -> None:
        """Do nothing: httpx reuses no connection that broke the rules."""

    def close(self) -> None:
        # In a forked child the client's lock may be held by a thread that exists in the parent only.
        if self._owned and os.getpid() == self._pid:
            self._client.close()

    def __del__(self) -> None:
        self.close()


@contextlib.contextmanager
def _named_failures(host: str) -> Iterator[threading.Event]:
    """Make transport failures of httpx's errors with `host`; the event is to be set once there is an answer."""
    answered = threading.Event()
    try:
        yield answered
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        if _is_of_no_host(error) and error.request.url.host != host:
            raise Hopeless(f"it redirects to {error.request.url.host!r}, a name that does not resolve") from error
        raise name_connect_failure(error) from error
    except httpx.TimeoutException as error:
        raise TimedOut("the body stopped coming" if answered.is_set() else "it did not answer in time") from error
    except httpx.LocalProtocolError as error:
        raise ValueError(f"the request cannot be sent: {reason_of(error)}.") from error
    except httpx.TooManyRedirects as error:
        raise Hopeless("it redirects again and again, without an end") from error
    except httpx.TransportError as error:
        # To httpx a redirect to what is no address is the service's breach of HTTP, or a protocol that it lacks.
        if isinstance(error, httpx.UnsupportedProtocol) or "location header" in str(error):
            raise Hopeless(f"the request cannot be carried on: {reason_of(error)}") from error
        if answered.is_set():
            raise Truncated(f"the connection broke in the body: {reason_of(error)}") from error
        raise Interrupted(f"the connection broke before an answer: {reason_of(error)}") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        # What hooks, authentication and redirects raise; the last one is of a host that has no name.
        raise Hopeless(f"the request cannot be carried on: {reason_of(error)}") from error


def _is_of_no_host(error: BaseException) -> bool:
    """Tell whether a name has no address, which is another thing than a name server that does not answer."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, socket.gaierror):
        cause = cause.__cause__ or cause.__context__
    return cause is not None and cause.errno == socket.EAI_NONAME


def _read_body(response: httpx.Response, limit: int, deadline: Deadline, abandoned: threading.Event) -> bytearray:
    """Return the body as it was sent; it ends at the latest a chunk after it was abandoned."""
    limit = limit_body(response.status_code, limit)
    announced = response.headers.get("content-length", "")
    if announced.isdecimal():
        check_length(int(announced), limit)
    body = bytearray()
    for chunk in response.iter_raw():
        check_length(len(body) + len(chunk), limit)
        body += chunk
        if abandoned.is_set() or deadline.remaining() <= 0:
            raise TimedOut("the answer was not complete in time")
    return body
