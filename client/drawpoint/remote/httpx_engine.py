"""The engines that go through httpx: whatever can be configured there (proxies, auth flows, hooks) holds here."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import ssl
import threading
from typing import TYPE_CHECKING

import httpx

from drawpoint.remote.tls import NO_TLS, is_no_tls
from drawpoint.remote.wire import (
    Answer,
    Deadline,
    Interrupted,
    Refused,
    TimedOut,
    TransportFailure,
    Truncated,
    Unreachable,
    Untrusted,
    check_length,
    limit_body,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class HttpxEngine:
    """Sends requests through `client`; `address` is the service's, `timeout` bounds the steps of an attempt.

    `owned` tells whether the client is this engine's to close.
    """

    def __init__(self, client: httpx.Client, address: httpx.URL, timeout: httpx.Timeout, *, owned: bool) -> None:
        self._client = client
        self._prefix = str(address).rstrip("/")
        self._timeout = timeout
        self._owned = owned
        self._pid = os.getpid()

    def send(
        self, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline, limit: int
    ) -> Answer:
        # httpx has no total timeout: a service that drips its headers, and a name that does not resolve, hold
        # `send` for as long as they like. In a thread of its own it holds nobody.
        attempt = _Attempt(self._client, self._prefix + target, headers, body, self._timeout, deadline, limit)
        thread = threading.Thread(target=contextvars.copy_context().run, args=(attempt.run,), daemon=True)
        thread.start()
        try:
            thread.join(max(deadline.remaining(), 0))
        finally:
            attempt.abandoned = True
        if attempt.failure is not None:
            raise attempt.failure
        if attempt.answer is None:
            raise TimedOut("the answer was not complete in time")
        return attempt.answer

    def drop_idle(self) -> None:
        """Do nothing: httpx reuses no connection that broke the rules, and none of a parent process is used at all."""

    def close(self) -> None:
        # In a forked child the client's lock may be held by a thread that exists in the parent only.
        if self._owned and os.getpid() == self._pid:
            self._client.close()

    def __del__(self) -> None:
        self.close()


class _Attempt:
    """One request; it ends by an answer or a failure, and at the latest a chunk after it was abandoned."""

    def __init__(
        self,
        client: httpx.Client,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: httpx.Timeout,
        deadline: Deadline,
        limit: int,
    ) -> None:
        self._client = client
        self._url = url
        self._headers = headers
        self._body = body
        self._timeout = timeout
        self._deadline = deadline
        self._limit = limit
        self.abandoned = False
        self.answer: Answer | None = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.answer = self._send()
        except BaseException as error:  # noqa: BLE001  it is raised again where the caller waits
            self.failure = error

    def _send(self) -> Answer:
        limits = httpx.Timeout(
            connect=self._deadline.clip(self._timeout.connect),
            read=self._deadline.clip(self._timeout.read),
            write=self._deadline.clip(self._timeout.write),
            pool=self._deadline.clip(self._timeout.pool),
        )
        method = "GET" if self._body is None else "POST"
        with (
            _named_failures() as answered,
            self._client.stream(
                method, self._url, content=self._body, headers=self._headers, timeout=limits
            ) as response,
        ):
            answered.set()
            return Answer(response.status_code, _headers(response), self._read_body(response))

    def _read_body(self, response: httpx.Response) -> bytearray:
        limit = _limit(response, self._limit)
        body = bytearray()
        for chunk in response.iter_raw():
            check_length(len(body) + len(chunk), limit)
            body += chunk
            if self.abandoned or self._deadline.remaining() <= 0:
                raise TimedOut("the answer was not complete in time")
        return body


class AsyncHttpxEngine:
    """Sends requests through `client`, from the event loop that it belongs to; it closes the client with itself."""

    def __init__(self, client: httpx.AsyncClient, address: httpx.URL) -> None:
        self._client = client
        self._prefix = str(address).rstrip("/")

    async def send(
        self, target: str, headers: Mapping[str, str], body: bytes | None, deadline: Deadline, limit: int
    ) -> Answer:
        """GET `target`, a quoted path and query below the service's address, or POST `body` to it.

        Raises Oversized for an answer of more than `limit` bytes, before it is in memory.
        """
        timeout = self._client.timeout
        limits = httpx.Timeout(
            connect=deadline.clip(timeout.connect),
            read=deadline.clip(timeout.read),
            write=deadline.clip(timeout.write),
            # Many calls at once wait for one another here, which is no failure.
            pool=deadline.clip(None),
        )
        method, url = "GET" if body is None else "POST", self._prefix + target
        try:
            # httpx has no total timeout.
            async with asyncio.timeout(deadline.remaining()):
                with _named_failures() as answered:
                    stream = self._client.stream(method, url, content=body, headers=headers, timeout=limits)
                    async with stream as response:
                        answered.set()
                        most = _limit(response, limit)
                        received = bytearray()
                        async for chunk in response.aiter_raw():
                            check_length(len(received) + len(chunk), most)
                            received += chunk
                        return Answer(response.status_code, _headers(response), received)
        except TimeoutError as error:
            raise TimedOut("the answer was not complete in time") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


@contextlib.contextmanager
def _named_failures() -> Iterator[threading.Event]:
    """Make transport failures of httpx's errors; the event is to be set once there is an answer."""
    answered = threading.Event()
    try:
        yield answered
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _name_connect_failure(error) from error
    except httpx.TimeoutException as error:
        raise TimedOut("the body stopped coming" if answered.is_set() else "it did not answer in time") from error
    except httpx.LocalProtocolError as error:
        raise ValueError(f"the request cannot be sent: {_reason(error)}.") from error
    except httpx.TooManyRedirects as error:
        raise Refused("it redirects again and again, without an end") from error
    except httpx.TransportError as error:
        # To httpx a redirect to what is no address is the service's breach of HTTP, or a protocol that it lacks.
        if isinstance(error, httpx.UnsupportedProtocol) or "location header" in str(error):
            raise Refused(f"the request cannot be carried on: {_reason(error)}") from error
        if answered.is_set():
            raise Truncated(f"the connection broke in the body: {_reason(error)}") from error
        raise Interrupted(f"the connection broke before an answer: {_reason(error)}") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        # What hooks, authentication and redirects raise; the last one is of a host that has no name.
        raise Refused(f"the request cannot be carried on: {_reason(error)}") from error


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


def _name_connect_failure(error: httpx.TransportError) -> TransportFailure:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Untrusted(f"its certificate is refused: {cause.verify_message}")
        if is_no_tls(cause):
            return Refused(NO_TLS)
        cause = cause.__cause__ or cause.__context__
    return Unreachable(f"no connection: {_reason(error)}")


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).rstrip(".")
