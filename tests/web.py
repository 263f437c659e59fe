"""Web servers that list their folders: Python's own, which gives files whole, and nginx, which gives ranges, too."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from conftest import need_programs
from waiting import wait_until

_NGINX = """
daemon off; worker_processes 1; pid {home}/pid; error_log {home}/log; events {{}}
http {{
  access_log off; client_body_temp_path {home}/1; proxy_temp_path {home}/2; fastcgi_temp_path {home}/3;
  uwsgi_temp_path {home}/4; scgi_temp_path {home}/5;
  server {{ listen 127.0.0.1:{port}; root {root}; autoindex on; }}
}}
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def python_server(folder: Path) -> Iterator[str]:
    """Serve a folder, and give its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def nginx(folder: Path, home: Path) -> Iterator[str]:
    """Serve a folder, with an empty one for the server itself, and give its URL."""
    need_programs("an nginx that lists folders", "nginx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for each in (folder, *folder.parents):
        if each.owner() and not each.stat().st_mode & 0o1:
            each.chmod(each.stat().st_mode | 0o55)  # nginx reads as a user of its own
    (home / "conf").write_text(_NGINX.format(home=home, port=port, root=folder))
    with subprocess.Popen(["nginx", "-c", str(home / "conf")], stderr=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: _answers(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
