"""A proxy before a real service that does to its answers what networks, caches and dying servers do."""

from __future__ import annotations

import contextlib
import http.client
import socket
import socketserver
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from io import BufferedReader


@dataclass(frozen=True)
class Seen:
    """A request as it came in, and the client's port, which tells its connection."""

    target: str
    headers: dict[str, str]
    port: int
    method: str = "GET"
    body: bytes = b""


@dataclass
class Reply:
    """An answer of the service on its way to the client, and the means to spoil it."""

    request: Seen
    status: int
    headers: dict[str, str]
    body: bytes
    connection: socket.socket
    closing: threading.Event = field(default_factory=threading.Event)

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Fault = Callable[[Reply], bool]
"""Sends a reply in its own way, and tells whether the connection goes on."""


class FaultyProxy:
    """Forwards to the service at `upstream`, and lets `script` have its way with answers to draws, one fault each."""

    def __init__(self, upstream: str, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.upstream = upstream
        self._tls = tls
        self._closing = threading.Event()
        self.script: deque[Fault] = deque()
        self.always: Fault = send
        self.documents: Fault = send
        self.prefix = ""
        self.seen: list[Seen] = []
        self._connections: set[socket.socket] = set()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy._serve(self.request)

        self._server = _Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self.hang_up_all()
        self._server.server_close()

    def hang_up_all(self) -> None:
        """End all connections, as a service does that restarts or has waited long enough."""
        for connection in tuple(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def draws(self) -> list[Seen]:
        """Requests for samples, coordinates and batches."""
        return [seen for seen in self.seen if _is_draw(seen)]

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._connections.add(connection)
            with connection, connection.makefile("rb") as incoming:
                while (request := _read_request(incoming, connection)) is not None:
                    self.seen.append(request)
                    if not self._answer(request, connection):
                        return

    def _answer(self, request: Seen, connection: socket.socket) -> bool:
        reply = replace(self._forward(request, connection), closing=self._closing)
        if _is_draw(request):
            return (self.script.popleft() if self.script else self.always)(reply)
        return self.documents(reply)

    def _forward(self, request: Seen, connection: socket.socket) -> Reply:
        address = urlsplit(request.target if request.target.startswith("http") else self.upstream)
        target = request.target.removeprefix(f"{address.scheme}://{address.netloc}").removeprefix(self.prefix)
        upstream = http.client.HTTPConnection(address.hostname or "", address.port)
        try:
            headers = {**request.headers, "connection": "close"}
            upstream.request(request.method, target, body=request.body or None, headers=headers)
            response = upstream.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            headers.pop("connection", None)
            return Reply(request, response.status, headers, response.read(), connection)
        finally:
            upstream.close()


def _read_request(incoming: BufferedReader, connection: socket.socket) -> Seen | None:
    line = incoming.readline().decode("latin-1")
    if not line.strip():
        return None
    found = http.client.parse_headers(incoming)
    headers = {name.lower(): ", ".join(found.get_all(name, [])) for name in found}
    method, target, _ = line.split(" ")
    body = incoming.read(int(headers.get("content-length", "0")))
    return Seen(target, headers, connection.getpeername()[1], method, body)


def _is_draw(request: Seen) -> bool:
    return any(part in request.target for part in ("/samples/", "/coords/", "/batch"))


def send(reply: Reply) -> bool:
    """Send the reply as it is."""
    reply.connection.sendall(reply.head() + reply.body)
    return True


def hint(reply: Reply) -> bool:
    """Send interim answers before it."""
    reply.connection.sendall(b"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 102 X\r\n\r\nHTTP/1.1 103 X\r\nlink: </x>\r\n\r\n")
    return send(reply)


def reset(reply: Reply) -> bool:
    """Send half of it, then reset the connection."""
    reply.connection.sendall(reply.head() + reply.body[: len(reply.body) // 2])
    reply.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def truncate(reply: Reply) -> bool:
    """Send half of it, then end as if that were all."""
    reply.connection.sendall(reply.head() + reply.body[: len(reply.body) // 2])
    return False


def cut_head(reply: Reply) -> bool:
    """Send half of its head, up to the end of a line, then end as if that were all."""
    lines = reply.head().splitlines(keepends=True)
    reply.connection.sendall(b"".join(lines[: len(lines) // 2]))
    return False


def hang_up(_reply: Reply) -> bool:
    """Close the connection without an answer."""
    return False


def babble(reply: Reply) -> bool:
    """Send what is no HTTP."""
    reply.connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    return False


def drip(reply: Reply) -> bool:
    """Send the head, and then the body byte by byte for as long as anybody listens."""
    reply.connection.sendall(reply.head())
    return _drip(reply, reply.body)


def drip_head(reply: Reply) -> bool:
    """Send the head byte by byte for as long as anybody listens."""
    return _drip(reply, reply.head() + reply.body)


def _drip(reply: Reply, data: bytes) -> bool:
    for byte in data:
        if reply.closing.wait(0.02):
            break
        reply.connection.sendall(bytes([byte]))
    return False


def stall(reply: Reply) -> bool:
    """Send nothing until the proxy closes."""
    reply.closing.wait()
    return False


def flip(reply: Reply) -> bool:
    """Change one bit in the middle of the body."""
    body = bytearray(reply.body)
    body[len(body) // 2] ^= 1
    return send(replace(reply, body=bytes(body)))


def chunk(reply: Reply) -> bool:
    """Send the body in chunks, as proxies do."""
    pieces = [reply.body[begin : begin + 10_000] for begin in range(0, len(reply.body), 10_000)]
    coded = b"".join(b"%x;note=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nTrailer: 1\r\n\r\n"
    return send(replace(_without_length(reply, in_chunks=True), body=coded))


def end_with_the_connection(reply: Reply) -> bool:
    """Send the body without saying how long it is."""
    send(_without_length(reply))
    return False


def _without_length(reply: Reply, *, in_chunks: bool = False) -> Reply:
    headers = {name: value for name, value in reply.headers.items() if name != "content-length"}
    return replace(reply, headers={**headers, **({"transfer-encoding": "chunked"} if in_chunks else {})})


def say_more(reply: Reply) -> bool:
    """Send, behind the answer, the beginning of one that nobody asked for."""
    return send(replace(reply, body=reply.body + reply.head()))


def with_header(name: str, value: str | None) -> Fault:
    """Change one header, or leave it out."""

    def fault(reply: Reply) -> bool:
        headers = {key: text for key, text in reply.headers.items() if key != name}
        return send(replace(reply, headers=headers if value is None else {**headers, name: value}))

    return fault


def with_answer(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Fault:
    """Answer in the service's place, as a proxy before it would."""

    def fault(reply: Reply) -> bool:
        return send(
            replace(reply, status=status, headers={**(headers or {}), "content-length": str(len(body))}, body=body)
        )

    return fault


def pour(reply: Reply) -> bool:
    """Send a body that never ends, and does not say so."""
    return _pour(_without_length(reply), bytes(65_536))


def pour_chunks(reply: Reply) -> bool:
    """Send a body in chunks, and never the last one."""
    return _pour(_without_length(reply, in_chunks=True), b"10000\r\n" + bytes(65_536) + b"\r\n")


def _pour(reply: Reply, data: bytes) -> bool:
    reply.connection.sendall(reply.head())
    while not reply.closing.is_set():
        reply.connection.sendall(data)
    return False


def with_chunks(coded: Callable[[bytes], bytes]) -> Fault:
    """Send the body as what `coded` makes of it, announced as chunks, and keep the connection open."""
    return lambda reply: send(replace(_without_length(reply, in_chunks=True), body=coded(reply.body)))


def announce_chunk(size: bytes) -> Fault:
    """Begin a chunk of so many bytes (hexadecimal), and send one of them."""
    return with_chunks(lambda _: size + b"\r\nx")
