"""As much of the Hugging Face Hub as lists the files of a data set and gives ranges of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, *arguments: Any) -> None:
        self.folder = folder
        super().__init__(*arguments)

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if "/resolve/" in path:
            self._give_range(self.folder / path.partition("/resolve/main/")[2])
        elif "/tree/" in path:
            below = self.folder / path.partition("/tree/main")[2].strip("/")
            is_recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() == "true"
            found = below.rglob("*") if is_recursive else below.iterdir()
            self._answer(200, json.dumps([self._entry(each) for each in sorted(found)]).encode())
        else:
            self._answer(200, json.dumps({"id": "owner/set", "sha": "0" * 40, "siblings": []}).encode())

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["content-length"])).decode()
        try:
            paths = json.loads(asked)["paths"]
        except ValueError:
            paths = parse_qs(asked)["paths"]
        found = [self.folder / path for path in ([paths] if isinstance(paths, str) else paths)]
        self._answer(200, json.dumps([self._entry(each) for each in found if each.exists()]).encode())

    def _entry(self, path: Path) -> dict[str, Any]:
        name = str(path.relative_to(self.folder))
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
        return {
            "type": "file",
            "path": name,
            "size": path.stat().st_size,
            "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
        }

    def _give_range(self, path: Path) -> None:
        data = path.read_bytes()
        begin, _, end = self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        self._answer(206 if "range" in self.headers else 200, data[int(begin) : int(end or len(data)) + 1])

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.send_header("content-type", "application/json")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def hub(folder: Path) -> Iterator[str]:
    """Serve a folder as the data set `owner/set`, and give the endpoint."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
