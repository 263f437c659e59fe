"""The engines that go through httpx, and the rule for what must: whatever can be configured there holds.

Documents travel over httpx. Draws do as well wherever httpx was told of something that plain HTTP/1.1 lacks.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

import httpx

import drawpoint
from drawpoint.remote.engine import (
    Answer,
    Deadline,
    Interrupted,
    Refused,
    TimedOut,
    Truncated,
    Unreachable,
    check_length,
    limit_body,
    reason_of,
)
from drawpoint.remote.http import HttpEngine
from drawpoint.remote.settings import NOT_SHARED
from drawpoint.remote.sockets import name_connect_failure, run_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from drawpoint.remote.engine import Engine
    from drawpoint.remote.settings import ConnectionSettings

PLAIN_OPTIONS = frozenset({"headers", "cookies", "timeout", "verify", "cert", "trust_env"})
"""Options of httpx.Client that the engine for draws honours; any other one sends everything through httpx."""

DEFAULT_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
"""Of one step of one attempt, in seconds. A large read may keep the service busy before its first byte."""


def start_engines(settings: ConnectionSettings) -> dict[str, Engine]:
    """Return the engines of one process, for `documents` and `draws`: the same one unless all is plain."""
    address = httpx.URL(settings.url)
    if settings.client is not None:
        through = _engine_of(settings.client, settings.pid, address)
        return {"documents": through, "draws": through}
    options = _client_options(settings)
    client = httpx.Client(**options)
    through = HttpxEngine(client, address, client.timeout, owned=True)
    if not _is_plain(address, settings.options):
        return {"documents": through, "draws": through}
    headers = client.build_request("GET", address).headers.raw
    tls = options["verify"] if address.scheme == "https" else None
    return {"documents": through, "draws": HttpEngine(address, headers, client.timeout, tls)}


def _client_options(settings: ConnectionSettings) -> dict[str, Any]:
    """Return the options of the httpx client that the settings ask for."""
    options = dict(settings.options)
    trust_env = options.get("trust_env", True)
    options["verify"] = httpx.create_ssl_context(options.pop("verify", True), options.pop("cert", None), trust_env)
    options["headers"] = httpx.Headers(options.get("headers"))
    options["headers"].setdefault("user-agent", f"drawpoint/{drawpoint.__version__}")
    options.setdefault("timeout", DEFAULT_TIMEOUT)
    return options


def _engine_of(client: httpx.Client | Callable[[], httpx.Client], pid: int, address: httpx.URL) -> HttpxEngine:
    if isinstance(client, httpx.Client):
        if pid != os.getpid():
            raise RuntimeError(f"the httpx.Client that was given to connect() belongs to another process; {NOT_SHARED}")
        return HttpxEngine(client, address, client.timeout, owned=False)
    made = client()
    return HttpxEngine(made, address, made.timeout, owned=True)


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
    """Sends requests through `client`; `address` is the service's, `timeout` bounds the steps of an attempt.

    `owned` tells whether the client is this engine's to close.
    """

    def __init__(self, client: httpx.Client, address: httpx.URL, timeout: httpx.Timeout, *, owned: bool) -> None:
        self._client = client
        self._address = address
        self._timeout = timeout
        self._owned = owned
        self._pid = os.getpid()

    def send(
        self,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
        limit: int,
        *,
        fresh_connection: bool,  # noqa: ARG002  httpx reuses no connection that broke the rules
    ) -> Answer:
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
                return Answer(response.status_code, _headers(response), received)

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
            raise Refused(f"it redirects to {error.request.url.host!r}, a name that does not resolve") from error
        raise name_connect_failure(error) from error
    except httpx.TimeoutException as error:
        raise TimedOut("the body stopped coming" if answered.is_set() else "it did not answer in time") from error
    except httpx.LocalProtocolError as error:
        raise ValueError(f"the request cannot be sent: {reason_of(error)}.") from error
    except httpx.TooManyRedirects as error:
        raise Refused("it redirects again and again, without an end") from error
    except httpx.TransportError as error:
        # To httpx a redirect to what is no address is the service's breach of HTTP, or a protocol that it lacks.
        if isinstance(error, httpx.UnsupportedProtocol) or "location header" in str(error):
            raise Refused(f"the request cannot be carried on: {reason_of(error)}") from error
        if answered.is_set():
            raise Truncated(f"the connection broke in the body: {reason_of(error)}") from error
        raise Interrupted(f"the connection broke before an answer: {reason_of(error)}") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        # What hooks, authentication and redirects raise; the last one is of a host that has no name.
        raise Refused(f"the request cannot be carried on: {reason_of(error)}") from error


def _is_of_no_host(error: BaseException) -> bool:
    """Tell whether a name has no address, which is another thing than a name server that does not answer."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, socket.gaierror):
        cause = cause.__cause__ or cause.__context__
    return cause is not None and cause.errno == socket.EAI_NONAME


def _read_body(response: httpx.Response, limit: int, deadline: Deadline, abandoned: threading.Event) -> bytearray:
    """Return the body as it was sent; it ends at the latest a chunk after it was abandoned."""
    limit = _limit(response, limit)
    body = bytearray()
    for chunk in response.iter_raw():
        check_length(len(body) + len(chunk), limit)
        body += chunk
        if abandoned.is_set() or deadline.remaining() <= 0:
            raise TimedOut("the answer was not complete in time")
    return body


def _limit(response: httpx.Response, limit: int) -> int:
    """Return how many bytes of body the response may have; raises Oversized if it announces more."""
    most = limit_body(response.status_code, limit)
    announced = response.headers.get("content-length", "")
    # h11 has refused what is no number, and one of more than 20 digits.
    if announced.isascii() and announced.isdigit():
        check_length(int(announced), most)
    return most


def _headers(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
