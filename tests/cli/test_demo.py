"""`drawpoint demo` as a new user runs it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from conftest import FIELDS, REPOSITORY
from drawpoint_store import StoreManifest
from drawpoint_store.reading.statistics_file import read_statistics
from live import wait_until_refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cli.conftest import Command

DEMO = [sys.executable, "-m", "drawpoint_cli", "demo"]


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "DEMO_ONCE"} | more


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the demo has run once, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    command = [*DEMO, "--port", "0"]
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment(DEMO_ONCE="1", DRAWPOINT_TOKEN="not-its-own"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout


@contextmanager
def staying_up(
    folder: Path, *arguments: str, command: Sequence[str] = DEMO
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A demo that has drawn and stays up, and the lines that it printed."""
    with subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        try:
            lines = []
            for line in demo.stdout:
                lines.append(line)
                if line.startswith("Ctrl-C"):
                    break
            yield demo, lines
        finally:
            demo.kill()


def address(lines: list[str]) -> str:
    (found,) = re.findall(r"^ready at (\S+)", "".join(lines), flags=re.MULTILINE)
    return str(found)


def test_a_first_run_leaves_a_store_and_prints_every_field_and_the_cost_of_the_draw(first: tuple[Path, str]) -> None:
    folder, output = first
    root = folder / ".demo" / "ahmed"
    statistics = read_statistics(root)
    assert statistics is not None
    assert statistics["revision"] == StoreManifest.load(root).revision
    assert statistics["n_samples"] == 2
    assert "\n$ drawpoint stats .demo/ahmed\nstatistics of 2 samples at revision " in output
    fields = {"volume_sdf" if field == "volume_distance_to_surface" else field for field in FIELDS}
    rows = re.findall(r"^(\w+) +\((\d+),.*\) +torch\.float32 +\S+ +\S+ +\S+$", output, flags=re.MULTILINE)
    assert dict(rows) == dict.fromkeys(fields, "4096")
    assert "the local reader gives the same tensors" in output
    # Per point 3 float32 and, as float16, 8 values on the surface and 8 in the volume: 28 bytes.
    assert re.search(r"^8,192 of 109,612 points, 23\d,\d{3} bytes over the wire, [\d.]+ ms", output, re.MULTILINE)
    assert "curl" not in output  # what needs the service is proposed while it is up
    assert "Try, while the service is up" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_again_on_a_port_that_is_taken_it_serves_what_is_converted_until_it_is_told_to_end(
    first: tuple[Path, str], number: signal.Signals
) -> None:
    folder, _ = first
    manifest = (folder / ".demo" / "ahmed" / "manifest.json").read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with staying_up(folder, "--port", str(port)) as (demo, lines):
            url = address(lines)
            assert f"Port {port} is taken" in "".join(lines)
            assert not url.endswith(f":{port}")
            proposed = next(line for line in lines if "curl -o" in line).split("'")[1]
            assert proposed.startswith(f"{url}/stores/ahmed/samples/slant_0?")
            with urlopen(proposed) as answer:
                assert answer.status == 200
            demo.send_signal(number)
            assert demo.wait(60) == 0
    assert (folder / ".demo" / "ahmed" / "manifest.json").read_bytes() == manifest
    with pytest.raises(OSError, match="refused"):
        urlopen(f"{url}/healthz")


def test_killed_the_demo_out_of_a_bucket_leaves_neither_service_nor_s3_server_behind(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "tests" / "demo_s3.py")]
    with staying_up(tmp_path, command=command) as (demo, lines):
        (bucket,) = re.findall(r"^export AWS_ENDPOINT_URL=(\S+)$", "".join(lines), flags=re.MULTILINE)
        demo.kill()
        wait_until_refused(address(lines), bucket)


def test_a_service_that_dies_ends_the_demo_with_status_1(first: tuple[Path, str]) -> None:
    with staying_up(first[0], "--port", "0") as (demo, _):
        (service,) = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text(encoding="utf-8").split()
        os.kill(int(service), signal.SIGKILL)
        assert demo.wait(60) == 1
        assert demo.stdout is not None
        assert "the service has ended with status -9" in demo.stdout.read()


@pytest.mark.parametrize(
    ("given", "status", "problem"),
    [
        ("nowhere", 1, "drawpoint demo: there are no runs at nowhere; call it in a clone of the project, which ships"),
        ("s3:/bucket/runs", 2, "the URL is s3://bucket/runs"),
        ("s3://bucket/runs", 2, "give a local folder"),
    ],
)
def test_runs_that_are_no_local_folder_are_refused_with_the_remedy(
    command: Command, given: str, status: int, problem: str
) -> None:
    ended = command("demo", "--runs", given)
    assert ended.status == status
    assert problem in ended.err
