"""What server/connection.py and server/listening.py need of uvicorn's inside, and what breaks without it."""

from __future__ import annotations

import inspect

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.server import Server

PROTOCOL = inspect.getsource(httptools_impl.HttpToolsProtocol)
REQUEST = inspect.getsource(httptools_impl.RequestResponseCycle)
LISTENING = inspect.getsource(Server)
NEEDED = {
    "def connection_made(": (PROTOCOL, "surplus connections are served like others"),
    "def connection_lost(": (PROTOCOL, "timers outlive their connections"),
    "def data_received(": (PROTOCOL, "heads have no bound"),
    "def send_400_response(": (PROTOCOL, "what is no HTTP is answered in plain text"),
    "def on_message_begin(": (PROTOCOL, "heads have no bound"),
    "def on_headers_complete(": (PROTOCOL, "a request in time is cut off as if its head were late"),
    "def on_message_complete(": (PROTOCOL, "the second head on a connection has no bound"),
    "def pause_writing(": (PROTOCOL, "a client that never reads is never cut off"),
    "def resume_writing(": (PROTOCOL, "a client that reads slowly is cut off"),
    "def shutdown(": (PROTOCOL, "SIGTERM breaks requests on idle connections"),
    "self.app_state.copy()": (PROTOCOL, "a request does not know its connection"),
    "self.connections.add(self)": (PROTOCOL, "connections are not counted"),
    "self.cycle = RequestResponseCycle(": (PROTOCOL, "a refusal is taken for the answer to the request before"),
    "self.headers.append(": (PROTOCOL, "a refusal does not name its request"),
    "self.server_state.default_headers": (PROTOCOL, "a refusal has no date"),
    "self.timeout_keep_alive_task = ": (PROTOCOL, "an idle connection is closed as if its next head were late"),
    **{
        f"self.{name} = ": (REQUEST, "a refusal spoils the answer before it")
        for name in (
            "disconnected",
            "keep_alive",
            "message_event",
            "more_body",
            "response_complete",
            "response_started",
        )
    },
    "loop.create_server(create_protocol, sock=sock": (LISTENING, "connections are accepted without a bound"),
    "server.close()": (LISTENING, "connections that the kernel has accepted are reset at the end"),
    "server.wait_closed()": (LISTENING, "the last connections are not waited for"),
}


@pytest.mark.parametrize("code", NEEDED)
def test_uvicorn_has_what_our_server_is_built_on(code: str) -> None:
    source, breakage = NEEDED[code]
    assert code in source, f"uvicorn {uvicorn.__version__} has changed: {breakage}"
