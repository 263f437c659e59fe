"""The command as a user runs it, and a service with a store that tests share."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from drawpoint_store import FileMap, ZarrStoreWriter
from live import LiveService
from served import Served


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    with contextlib.ExitStack() as stack:

        def start(
            *options: str, config: str = "", stdin: int | None = None, files: int | None = None, **environment: str
        ) -> Served:
            log = stack.enter_context((tmp_path / "log").open("w"))
            (tmp_path / "drawpoint.toml").write_text(config)
            configured = ["--config", str(tmp_path / "drawpoint.toml")]
            limited = [] if files is None else ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"]
            command = [*limited, sys.executable, "-m", "drawpoint_cli", "serve", "--port", "0", *configured, *options]
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env={**os.environ, **environment},
                )
            )
            stack.callback(process.kill)
            return Served(process, tmp_path / "log")

        yield start


@pytest.fixture(autouse=True)
def refusals_come_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second in the queue is for real clients; a test that fills the service need not wait for so long."""
    monkeypatch.setattr("drawpoint_service.admission.admission.QUEUE_SECONDS", 0.05)


@pytest.fixture(scope="session")
def service(store_root: Path) -> Iterator[LiveService]:
    """A service of the store `made`, with the settings that it has unless told otherwise."""
    with LiveService({"made": store_root}) as running:
        yield running


@pytest.fixture(scope="module")  # as the services of modules that have one with settings of their own
def http(service: LiveService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url) as client:
        yield client


@pytest.fixture(scope="session")
def big_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one sample of 24 MiB, more than sockets hold: whoever does not read it keeps the service waiting."""
    root = tmp_path_factory.mktemp("big")
    writer = ZarrStoreWriter(root, FileMap(volume_position="p"), "big", chunk_points=2**17, compression_level=0)
    writer.write_sample("s", {"volume_position": np.arange(3 * 2**21, dtype=np.float32).reshape(-1, 3)})
    writer.save_manifest()
    return root
