"""Opening a socket by a deadline: resolving a name, trying its addresses, and telling TLS from plain HTTP."""

from __future__ import annotations

import contextvars
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from drawpoint.remote.engine import Deadline, Hopeless, TransportFailure, Unreachable, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

_NO_RECORD = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""What OpenSSL, by version, makes of `HTTP/1.1 400` where a record of TLS should be."""

TLS = "it speaks TLS: write https:// in place of http:// in its address"


def open_socket(
    host: str, port: int, context: ssl.SSLContext | None, timeout: float | None, deadline: Deadline
) -> socket.socket:
    """Return a socket connected to `host`, with TLS if there is a `context`.

    `timeout` and `deadline` bound the name resolution and all addresses of the host together. Each address gets an
    equal share of what is left, so that one that drops packets does not keep the next one from being tried.

    Raises Unreachable, and Hopeless for a certificate that does not check out or where no TLS is spoken.
    """
    end = time.monotonic() + deadline.clip_connect(timeout)
    plain = _connect(_resolve(host, port, end - time.monotonic()), end)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            return plain
        plain.settimeout(deadline.clip_connect(timeout))
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException as error:
        plain.close()
        if isinstance(error, OSError):
            raise name_connect_failure(error) from error
        raise


def name_connect_failure(error: BaseException) -> TransportFailure:
    """Return what an error of connecting, or one that it was caused by, says of the service."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Hopeless(f"its certificate is refused: {cause.verify_message}")
        if isinstance(cause, ssl.SSLError) and cause.reason in _NO_RECORD:
            return Hopeless("it speaks HTTP without TLS: write http:// in place of https:// in its address")
        cause = cause.__cause__ or cause.__context__
    return Unreachable(f"no connection: {reason_of(error)}")


def speaks_tls(url: str, seconds: float) -> bool:
    """Tell whether a TLS handshake succeeds at the `http://` address `url`: many TLS servers hang up on plain HTTP."""
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent to it, and its certificate is checked once the address says https.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        open_socket(str(parts.hostname), parts.port or 80, context, None, Deadline(seconds)).close()
    except (TransportFailure, ValueError):
        return False
    return True


def run_in_thread(call: Callable[[], Result]) -> Future[Result]:
    """Return the future result of a `call` that takes as long as it likes: in a thread of its own it holds nobody."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  it is raised again where the caller waits
            future.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), name="drawpoint", daemon=True).start()
    return future


def _resolve(host: str, port: int, seconds: float) -> list[Any]:
    """Return the addresses of `host`, as socket.getaddrinfo does."""
    found = run_in_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    try:
        return found.result(seconds)
    except TimeoutError as error:
        raise Unreachable(f"no connection: the name {host!r} did not resolve in time") from error
    except OSError as error:
        raise Unreachable(f"no connection: {reason_of(error)}") from error


def _connect(addresses: list[Any], end: float) -> socket.socket:
    """Return a socket connected to the first of `addresses` that answers before the moment `end`."""
    last: OSError = TimeoutError("timed out")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        remaining = end - time.monotonic()
        if remaining <= 0:
            break
        attempt = socket.socket(family, kind, protocol)
        try:
            attempt.settimeout(remaining / (len(addresses) - number))
            attempt.connect(address)
        except BaseException as error:
            attempt.close()
            if not isinstance(error, OSError):
                raise
            last = error
        else:
            return attempt
    raise Unreachable(f"no connection: {reason_of(last)}") from last
