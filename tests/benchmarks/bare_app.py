"""The least that a Python server does for an answer: one that sends the same bytes from memory, on uvicorn.

    python tests/benchmarks/bare_app.py NBYTES

It prints its address, and serves until it is terminated.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import uvicorn

from drawpoint_cli.commands.serve import listen

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


def bare_app(body: bytes) -> ASGIApp:
    """Return an application that answers whatever is asked with `body`."""
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(head)
        await send({"type": "http.response.body", "body": body})

    return answer


def main() -> None:
    listener = listen("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        bare_app(os.urandom(int(sys.argv[1]))),
        http="httptools",
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_level="error",
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
