"""What server/connection.py and server/listening.py need of uvicorn's inside, and what breaks without it."""

from __future__ import annotations

import inspect

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.server import Server

PROTOCOL = httptools_impl.HttpToolsProtocol
CYCLE = httptools_impl.RequestResponseCycle
OVERRIDDEN = {
    "connection_made": "surplus connections are served like others",
    "connection_lost": "timers outlive their connections",
    "data_received": "heads have no bound",
    "send_400_response": "what is no HTTP is answered in plain text",
    "on_message_begin": "heads have no bound",
    "on_headers_complete": "a request in time is cut off as if its head were late",
    "on_message_complete": "the second head on a connection has no bound",
    "pause_writing": "a client that never reads is never cut off",
    "resume_writing": "a client that reads slowly is cut off",
    "shutdown": "SIGTERM breaks requests on idle connections",
}
USED = {
    "app_state": "a request does not know its connection",
    "connections": "connections are not counted",
    "cycle": "a refusal is taken for the answer to the request before",
    "headers": "a refusal does not name its request",
    "server_state": "a refusal has no date",
    "timeout_keep_alive_task": "an idle connection is closed as if its next head were late",
    "transport": "nothing can be closed",
}
OF_A_REQUEST = (
    "disconnected",
    "keep_alive",
    "message_event",
    "more_body",
    "response_complete",
    "response_started",
)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_uvicorn_calls_what_a_connection_overrides(name: str) -> None:
    assert inspect.isfunction(vars(PROTOCOL).get(name)), f"uvicorn {uvicorn.__version__}: {OVERRIDDEN[name]}"


@pytest.mark.parametrize("name", USED)
def test_uvicorn_keeps_what_a_connection_looks_at(name: str) -> None:
    assert f"self.{name}" in inspect.getsource(PROTOCOL), f"uvicorn {uvicorn.__version__}: {USED[name]}"


@pytest.mark.parametrize("name", OF_A_REQUEST)
def test_uvicorn_keeps_what_a_connection_looks_at_of_a_request(name: str) -> None:
    assert f"self.{name}" in inspect.getsource(CYCLE), f"uvicorn {uvicorn.__version__}: refusals spoil answers"


def test_uvicorn_listens_through_the_loop_that_it_is_given() -> None:
    source = inspect.getsource(Server)
    for call in ("loop.create_server(create_protocol, sock=sock", "server.close()", "server.wait_closed()"):
        assert call in source, f"uvicorn {uvicorn.__version__}: connections that the kernel has accepted are reset"
