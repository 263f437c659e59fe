"""`drawpoint serve` as a user runs it: a process that starts, says what it does, and ends in order."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import safetensors.numpy

from drawpoint.remote.settings import TOKEN_VARIABLE
from drawpoint_cli.__main__ import main
from drawpoint_cli.commands.serve import introduce, listen, open_worker, warn_if_open
from drawpoint_service.settings import Settings
from drawpoint_store import StoreManifest
from live import wait_until_refused
from served import Served
from waiting import wait_until

TESTS = Path(__file__).resolve().parents[1]
SAMPLE = "/stores/made/samples/param0/run?surface=5&volume=5&seed=1"


def test_it_says_what_it_serves_and_a_line_to_try_until_ctrl_c(serve: Callable[..., Served], store_root: Path) -> None:
    config = f'drain_seconds = 0\n[stores.first]\nroot = "{store_root}"\n'
    served = serve("--store", f"made={store_root}", config=config, DRAWPOINT_TOKEN="secret-of-ours")
    assert "2 store(s)" in served.lines[0]
    assert served.lines[1].startswith("first: 2 samples, 10 fields, revision ")
    assert served.lines[2].endswith(f"from {store_root}")
    command = served.lines[3].removeprefix("try: ").replace(f"${TOKEN_VARIABLE}", "secret-of-ours")
    _, _, _, option, header, url = shlex.split(command)
    assert option == "-H"
    answer = httpx.get(url, headers=dict([header.split(": ")]))
    assert sorted(safetensors.numpy.load(answer.content)) == sorted(StoreManifest.load(store_root).fields)
    assert httpx.get(served.url + SAMPLE).status_code == 401
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(timeout=60) == 0
    log = served.log.read_text()
    assert '"GET /stores/first/samples/param0/run" 200' in log
    assert "secret-of-ours" not in log
    assert "Traceback" not in log


def test_sigterm_ends_it_after_it_has_said_so_and_sent_what_it_had_begun(
    serve: Callable[..., Served], big_root: Path
) -> None:
    served = serve("--store", f"big={big_root}", config="drain_seconds = 600")
    port = int(served.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET /stores/big/samples/s HTTP/1.1\r\nHost: x\r\n\r\n")
        received = bytearray(slow.recv(1000))
        assert httpx.get(f"{served.url}/readyz", timeout=60).status_code == 200
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{served.url}/readyz").status_code == 503)
        assert "shutting down" in httpx.get(f"{served.url}/readyz").json()["detail"]
        assert httpx.get(f"{served.url}/stores/big/samples/s?volume=10").status_code == 200
        served.process.send_signal(signal.SIGTERM)
        wait_until_refused(served.url)
        while received.find(b"\r\n\r\n") < 0:
            received += slow.recv(2**20)
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        length = int(dict(line.lower().split(b": ") for line in head.split(b"\r\n")[1:])[b"content-length"])
        size = len(body)
        while piece := slow.recv(2**20):
            size += len(piece)
        assert size == length
    assert served.process.wait(timeout=60) == 0


def test_it_ends_with_the_program_that_holds_its_standard_input(serve: Callable[..., Served], store_root: Path) -> None:
    served = serve("--store", f"made={store_root}", "--workers", "2", "--until-stdin-ends", stdin=subprocess.PIPE)
    assert httpx.get(f"{served.url}/readyz", timeout=60).status_code == 200
    assert served.process.stdin is not None
    served.process.stdin.close()
    assert served.process.wait(timeout=60) == 0
    wait_until_refused(served.url)


def test_workers_end_with_a_service_that_is_killed(serve: Callable[..., Served], store_root: Path) -> None:
    served = serve("--store", f"made={store_root}", "--workers", "2")
    assert httpx.get(f"{served.url}/readyz", timeout=60).status_code == 200
    served.process.kill()
    served.process.wait()
    wait_until_refused(served.url)


def test_a_service_that_has_sent_a_sample_has_not_loaded_torch(store_root: Path) -> None:
    script = f"""
import json, sys, urllib.request
sys.path.insert(0, {str(TESTS)!r})
from live import LiveService
with LiveService({{"made": {str(store_root)!r}}}) as service:
    size = len(urllib.request.urlopen(service.url + {SAMPLE!r}).read())
    urllib.request.urlopen(service.url + "/readyz").read()
print(json.dumps([size, sorted(name for name in ("torch", "safetensors", "zarr", "httpx") if name in sys.modules)]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    size, loaded = json.loads(done.stdout)
    assert size > 100
    assert "torch" not in loaded


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        (["--store", "made=/nothing", "--port", "0"], 1, "drawpoint serve: there is no store at /nothing"),
        (["--store", "made={store}", "--port", "{taken}"], 1, "port {taken} of 127.0.0.1 is in use; choose another"),
        (["--store", "made={store}", "--host", "192.0.2.1"], 1, "port 8000 of 192.0.2.1 cannot be listened on"),
        ([], 2, "there is no store to serve; name one with --store ID=ROOT"),
        (["--store", "m=memory://x", "--workers", "2"], 2, "'m' lies in the memory of one process"),
        (["--store", "a=x", "--store", "a=y"], 2, "--store a= is given twice"),
        (["--store", "a=x", "--port", "70000"], 2, "setting port"),
        (["--config", "nothing.toml"], 2, "nothing.toml cannot be read"),
        (["--store", "made"], 2, "'made' is not ID=ROOT"),
        (["--store", "../a=x"], 2, "store id '../a' is not made of letters"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_sentence(
    capsys: pytest.CaptureFixture[str], store_root: Path, options: list[str], status: int, sentence: str
) -> None:
    with listen("127.0.0.1", 0) as listener:
        names = {"store": store_root, "taken": listener.getsockname()[1]}
        assert main(["serve", *(option.format(**names) for option in options)]) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert sentence.format(**names) in output.err
    assert "Traceback" not in output.err
    if status == 1:
        assert output.err.count("\n") == 1


def test_a_worker_whose_store_is_gone_ends_for_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        open_worker(Settings.model_validate({"stores": {"made": {"root": str(tmp_path)}}}))
    assert ended.value.code == 3
    assert "there is no store" in capsys.readouterr().err


def test_answers_do_not_wait_for_acknowledgements() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_line_to_try_holds_a_hostile_id_together(store_root: Path) -> None:
    manifest = StoreManifest.load(store_root)
    manifest.samples["a'; rm -rf ~/ &?#/é"] = manifest.samples.pop("param0/run")
    del manifest.samples["param1/run"]
    settings = Settings.model_validate({"stores": {"made": {"root": "x"}}, "token": "secret"})
    with listen("127.0.0.1", 0) as listener:
        lines = introduce({"made": manifest}, settings, listener).splitlines()
    words = shlex.split(lines[2].removeprefix("try: "))
    assert words[:3] == ["curl", "-o", "sample.safetensors"]
    assert len(words) == 6
    assert httpx.URL(words[-1]).path == "/stores/made/samples/a'; rm -rf ~/ &?#/é"
    assert "secret" not in "".join(lines)


@pytest.mark.parametrize(
    ("host", "token", "warned"), [("127.0.0.1", (), False), ("0.0.0.0", (), True), ("0.0.0.0", ("secret",), False)]
)
def test_a_port_that_is_open_to_other_machines_without_a_token_is_logged(
    caplog: pytest.LogCaptureFixture, host: str, token: tuple[str, ...], warned: bool
) -> None:
    settings = Settings.model_validate({"token": token} if token else {})
    with listen(host, 0) as listener:
        warn_if_open(settings, listener)
    assert ("no token" in caplog.text) is warned
