"""`drawpoint demo`: convert the shipped runs, serve them, draw one sample and print it."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

import drawpoint
from drawpoint.errors import DrawpointError
from drawpoint.remote.settings import TOKEN_VARIABLE
from drawpoint_cli.__main__ import main
from drawpoint_cli.arguments import Subparsers, add_command, integer, local
from drawpoint_store import ZarrChunkReader

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    import torch

SHIPPED_RUNS = Path("examples", "data", "ahmed")
STORE_ID = "ahmed"
POINTS = 4096
SEED = 0
REPEATS = 20
READY_SECONDS = 60.0
POLL_SECONDS = 0.05

_DESCRIPTION = """\
Convert the runs that the project ships, measure and serve them, draw one sample and print it. The service stays up
until Ctrl-C.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(subparsers, "demo", "[options]", description=_DESCRIPTION)
    parser.add_argument(
        "--runs", metavar="DIR", type=local("folder"), help=f"runs to convert (default: {SHIPPED_RUNS})"
    )
    parser.add_argument(
        "--folder", metavar="DIR", type=local("folder"), default=Path(".demo"), help="where to work (%(default)s)"
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=integer(0, 65_535),
        default=8000,
        help="port, or a free one if it is taken (%(default)s)",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        default=os.environ.get("DEMO_ONCE", "") not in ("", "0"),
        help="end after the draw; so does the environment's DEMO_ONCE=1",
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo; returns 0 after the draw or Ctrl-C, 1 if a step failed, which has written its error to stderr."""
    runs = find_runs(args.runs)
    root = args.folder / STORE_ID
    port = choose_port(args.port)
    url = f"http://127.0.0.1:{port}"
    # --append takes up what an earlier demo has converted.
    if status := make_store(runs, root, "--append"):
        return status
    with serve(root, port, url, args.folder / "service.log") as service:
        address = show_draw(url, root)
        if not args.once:
            stay_up(service, url, address)
    return 0


def make_store(runs: Path, root: Path | str, *options: str) -> int:
    """Convert `runs` to a store with statistics; returns the exit status of the step that failed, or 0."""
    if status := main(announce("convert", str(runs), str(root), *options)):
        return status
    words = announce("stats", str(root))
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = main(words)
    # The table is longer than the demo; the last line says where the numbers are.
    say(*output.getvalue().splitlines()[-1:])
    return status


def find_runs(named: Path | None) -> Path:
    """Return where the runs are: `named`, or the shipped ones of this folder or of the source tree we run from.

    Raises DrawpointError if there are none.
    """
    shipped = (SHIPPED_RUNS, Path(__file__).resolve().parents[3] / SHIPPED_RUNS)
    places = shipped if named is None else (named,)
    for place in places:
        if place.is_dir():
            return place
    raise DrawpointError(
        f"there are no runs at {places[0]}; call it in a clone of the project, which ships some, or name a folder of "
        "runs with --runs."
    )


def choose_port(preferred: int) -> int:
    """Return `preferred`, or a free port where another program listens on it."""
    try:
        probe = socket.create_server(("127.0.0.1", preferred))
    except OSError:
        probe = socket.create_server(("127.0.0.1", 0))
    with probe:
        chosen: int = probe.getsockname()[1]
    if preferred and chosen != preferred:
        say(f"Port {preferred} is taken; using {chosen}.")
    return chosen


@contextlib.contextmanager
def serve(root: Path | str, port: int, url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the store in a process of its own while the context lasts; raises DrawpointError if it does not start."""
    started = time.monotonic()
    with log.open("wb") as output:
        command = announce("serve", "--store", f"{STORE_ID}={root}", "--port", str(port))
        # Killed, the demo must not leave its service behind: the pipe closes with it.
        process = subprocess.Popen(  # noqa: S603  it is this program
            [sys.executable, "-m", "drawpoint_cli", *command, "--until-stdin-ends"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            # What it proposes to type has no token either.
            env={name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE},
        )
    try:
        # Nor may it when a supervisor ends it.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        wait_until_ready(process, url, log)
        say(f"ready at {url} after {time.monotonic() - started:.1f} s; it logs to {log}")
        yield process
    finally:
        process.terminate()
        process.communicate()


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return once the service can read a chunk; raises DrawpointError if it ends or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(trust_env=False) as client:
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"{url}/readyz").status_code == HTTPStatus.OK:
                    return
            time.sleep(POLL_SECONDS)
    raise DrawpointError(f"the service does not get ready; its log says why: {log}")


def stay_up(service: subprocess.Popen[bytes], url: str, address: str) -> None:
    """Say what to try, and wait for Ctrl-C or SIGTERM, which end the service.

    Raises DrawpointError if it ends in another way.
    """
    # The handler acts by itself: a KeyboardInterrupt that arrives within a destructor would be lost.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: service.terminate())
    program = os.path.relpath(sys.executable)  # as one would type it here
    say(
        "Try, while the service is up:",
        f"  curl -o sample.safetensors '{address}'",
        f"  {program} -c \"from safetensors.torch import load_file; print(load_file('sample.safetensors'))\"",
        f"  {url}/docs",
        "Ctrl-C ends it.",
    )
    if status := service.wait():
        raise DrawpointError(f"the service has ended with status {status}; its log says why.")


def show_draw(url: str, root: Path | str) -> str:
    """Draw one sample through the client, print it and its cost; returns the address of the same draw.

    Raises DrawpointError if the local reader draws anything else.
    """
    importlib.import_module("torch")  # now, so that the second it takes to load is not counted as the draw's
    reader = drawpoint.connect(url, trust_env=False).store(STORE_ID)
    sample_id, entry = next(iter(reader.manifest.samples.items()))
    counts = {domain: min(POINTS, grid.n_points) for domain, grid in entry.domains.items()}
    say(
        "",
        f'>>> reader = drawpoint.connect("{url}").store("{STORE_ID}")',
        f'>>> reader.read_sample("{sample_id}", {counts}, seed={SEED})'.replace("'", '"'),
    )
    draws, milliseconds = [], []
    for seed in range(SEED, SEED + 1 + REPEATS):
        started = time.perf_counter()
        draws.append(reader.read_sample(sample_id, counts, seed=seed))
        milliseconds.append(1000 * (time.perf_counter() - started))
    query = "&".join(f"{domain}={count}" for domain, count in counts.items()) + f"&seed={SEED}"
    address = f"{reader.store_root}/samples/{quote(sample_id)}?{query}"
    on_the_wire = int(httpx.head(f"{address}&dtype=stored", trust_env=False).headers["content-length"])
    local = ZarrChunkReader(root).read_sample(sample_id, counts, seed=SEED)
    same = draws[0].keys() == local.keys() and all(tensor.equal(local[field]) for field, tensor in draws[0].items())
    say(
        *table(draws[0]),
        f"{sum(counts.values()):,} of {sum(grid.n_points for grid in entry.domains.values()):,} points, "
        f"{on_the_wire:,} bytes over the wire, {milliseconds[0]:.1f} ms; the median of {REPEATS} more draws is "
        f"{statistics.median(milliseconds[1:]):.1f} ms",
        f"the local reader gives {'the same' if same else 'OTHER'} tensors for the same seed",
        "",
    )
    if not same:
        raise DrawpointError("the client and the local reader disagree; please report it.")
    return address


def table(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return lines that show each field's shape, dtype and range."""
    lines = ["", f"{'field':<20}{'shape':<14}{'dtype':<15}{'min':>12}{'mean':>12}{'max':>12}"]
    for field, tensor in tensors.items():
        low, mean, high = (f"{float(value):,.4g}" for value in (tensor.min(), tensor.mean(), tensor.max()))
        lines.append(f"{field:<20}{tuple(tensor.shape)!s:<14}{tensor.dtype!s:<15}{low:>12}{mean:>12}{high:>12}")
    return [*lines, ""]


def announce(*arguments: str) -> list[str]:
    """Print a drawpoint command as a user would type it, and return its arguments."""
    say("", f"$ {shlex.join(['drawpoint', *arguments])}")
    return [*arguments]


def say(*lines: Any) -> None:
    """Print lines at once: the next step may take seconds, or be another process that prints."""
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
