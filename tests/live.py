"""A real service on a loopback port, in a thread of the test process."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import uvicorn

from drawpoint_cli.commands.serve import listen
from drawpoint_service.app import create_app
from drawpoint_service.server.connection import bound_connections
from drawpoint_service.settings import Settings
from drawpoint_store import ZarrChunkReader
from waiting import wait_until

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


def is_refused(url: str) -> bool:
    """Whether nobody listens at the port of `url`."""
    parts = urlsplit(url)
    try:
        socket.create_connection((str(parts.hostname), parts.port or 80)).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # it is closed at this moment
    return False


def wait_until_refused(*urls: str) -> None:
    """Return once nobody listens at any of `urls`."""
    wait_until(lambda: all(is_refused(url) for url in urls))


class LiveService:
    """Serves `stores` (id -> root or ZarrChunkReader) while the `with` block lasts; `url` is where.

    Keyword arguments are settings: `LiveService({"made": root}, token=["secret"], max_requests=2)`.
    """

    def __init__(self, stores: Mapping[str, str | os.PathLike[str] | ZarrChunkReader], **settings: Any) -> None:
        self.stores = {
            store_id: store if isinstance(store, ZarrChunkReader) else ZarrChunkReader(str(store))
            for store_id, store in stores.items()
        }
        self.settings = Settings(**settings)
        self.app = create_app(self.stores, self.settings)
        self._socket = listen("127.0.0.1", 0)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = _Server(
            uvicorn.Config(
                self.app,
                http=bound_connections(self.settings),
                loop="drawpoint_service.server.listening:ServiceLoop",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=10,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._server.up.wait(timeout=30):
            raise RuntimeError("the service did not start within 30 s")
        return self

    def end(self) -> None:
        """End soon, as at SIGTERM; the `with` block waits for it."""
        self._server.should_exit = True

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.join(timeout=30)
        self._socket.close()


class _Server(uvicorn.Server):
    """A server that says when it is up, so that nobody has to poll."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()
